"""Identities between editors: T9 and T10 of the conformance list, and annealing as FlowEdit."""

import itertools

import pytest
import torch
from torch import Tensor

from latentedit.core.levels import LevelGrid, shifted_grid
from latentedit.core.rng import draw, noise_like
from latentedit.core.solvers.euler import EulerSolver
from latentedit.directions import hsds
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import identify
from latentedit.editors.baselines.flowedit import FlowEdit
from latentedit.editors.eim import EIM
from latentedit.latents.joint import JointLatent
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of


@pytest.mark.parametrize(("s", "s_next"), [(0.9, 0.7), (0.3, 0.0), (0.4, 0.6)])
def test_t9_asyrps_rule_without_an_edit_is_an_euler_step(latent: JointLatent, s: float, s_next: float) -> None:
    """``(1 - s') x_hat + s' e_hat``, with both estimates in closed form."""
    posterior = latent.backbone.at(latent.z, levels_of(latent.z, s), latent.condition)
    e_hat = latent.z + (1 - s) * posterior.velocity
    asyrp = (1 - s_next) * posterior.clean + s_next * e_hat
    euler = EulerSolver().step(lambda z, at: latent.backbone.velocity(z, at, latent.condition), latent.z, s, s_next)
    assert relative_error(asyrp, euler) < 1e-12
    swapped = (1 - s_next) * e_hat + s_next * posterior.clean
    assert relative_error(swapped, euler) > 1e-2


@pytest.mark.parametrize("arm", ["image", "text", "joint"])
def test_t10_the_sign_flips_the_edit_to_first_order(latent: JointLatent, arm: str) -> None:
    """As `test_laws` has it of other editors; for the arms it holds of their scale.

    Strengths of either sign are read off curves that meet at 0 with a kink.
    """
    editor = EIM.from_dict({"arm": arm, "search": {"steps": 2}, "steps": 6})
    direction = editor.direction(latent, latent.backbone.embed(["c"]).expand(len(latent)), seed=0)

    def even_share(scale: float) -> float:
        scales = torch.tensor([[scale], [-scale]], dtype=torch.float64).expand(2, len(latent))
        forth, back = editor.slider(latent, direction, seed=0).move(scales) - latent.z
        return float(torch.linalg.vector_norm(forth + back) / torch.linalg.vector_norm(forth - back))

    assert even_share(1e-2) < 0.1
    assert even_share(1e-4) < 2e-2 * even_share(1e-2) + 1e-10


@pytest.fixture
def flowedits_noises(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search draws what FlowEdit draws; otherwise the two use streams of their own."""

    def renamed(z: Tensor, *, seed: int, purpose: str, index: int, count: int) -> Tensor:
        assert purpose == "hsds"
        return noise_like(z, seed=seed, purpose="flowedit", index=index, count=count)

    monkeypatch.setattr(hsds, "noise_like", renamed)


@pytest.mark.usefixtures("flowedits_noises")
@pytest.mark.parametrize(
    ("level", "shift", "noises", "guidance"), [(1.0, 1.0, 1, 2.5), (0.8, 1.0, 3, 1.0), (1.0, 3.0, 3, 2.5)]
)
def test_annealing_with_the_flows_own_steps_is_flowedit(
    latent: JointLatent, monkeypatch: pytest.MonkeyPatch, level: float, shift: float, noises: int, guidance: float
) -> None:
    """To the clean end, where FlowEdit's displacement is the direction itself."""

    def grid(steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        return shifted_grid(steps, shift)

    monkeypatch.setattr(latent.backbone, "grid", grid)
    target = latent.backbone.embed(["c"])
    editor = FlowEdit(level=level, steps=10, source_guidance=guidance, target_guidance=guidance, noises=noises)
    steps = latent.path(10, level).steps
    search = HSDS(levels=(level, 0.0), shift=shift, steps=steps, step_size=None, noises=noises, guidance=guidance)
    expected = editor.edit(latent, target, [1.0], seed=6)[0].z
    direction = identify(latent, target, search, seed=6)
    assert relative_error(direction.z, expected - latent.z) < 1e-12
    assert relative_error(EIM(search=search).edit(latent, target, [1.0], seed=6)[0].z, expected) < 1e-12
    assert search.evaluations() == editor.evaluations(latent)
    other = HSDS(levels=(level, 0.0), shift=shift * 1.1, steps=steps, step_size=None, noises=noises, guidance=guidance)
    assert relative_error(identify(latent, target, other, seed=6).z, expected - latent.z) > 1e-4


@pytest.mark.usefixtures("flowedits_noises")
def test_on_the_way_flowedits_displacement_is_the_directions_share_of_x(latent: JointLatent) -> None:
    """FlowEdit moves ``z(s)``, of which the clean latent has the share ``1 - s``: its displacement is that of ours."""
    levels, target, moved = [0.8, 0.6, 0.4, 0.2, 0.0], latent.backbone.embed(["c"]), torch.zeros_like(latent.z)
    for index, (s, s_next) in enumerate(itertools.pairwise(levels)):
        a = (1 - s) * latent.z + s * draw((6,), seed=6, purpose="flowedit", index=index).to(latent.z)
        at = levels_of(a, s)
        dv = latent.backbone.velocity(a + moved, at, target) - latent.backbone.velocity(a, at, latent.condition)
        moved = moved + (s_next - s) * dv
        search = HSDS(levels=(0.8, s_next), steps=index + 1, step_size=None)
        if index:  # a single step goes all the way, whatever its step size
            found = identify(latent, target, search, seed=6).z
            assert relative_error((1 - s_next) * found, moved) < 1e-12
            assert relative_error(found, moved) > 1e-2 or s_next == 0
