import itertools

import pytest
import torch

from latentedit.core.levels import LevelGrid, shifted_grid
from latentedit.core.rng import draw
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import sample
from latentedit.editors.baselines.inversion import Inversion
from latentedit.editors.baselines.rf_inversion import RFInversion
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent
from tests.editors.baselines.vp_models import vp_model


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.fixture
def shifted(latent: JointLatent, monkeypatch: pytest.MonkeyPatch) -> JointLatent:
    """The same pictures of a model whose grid is shifted towards the noise, as FLUX's is."""

    def grid(steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        return shifted_grid(steps, 3.0)

    monkeypatch.setattr(latent.backbone, "grid", grid)
    return latent


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("strength", [1.0, 0.3, -0.5])
def test_is_the_published_method(shifted: JointLatent, legacy: bool, strength: float) -> None:
    """Four steps, gamma 0.4, eta 0.7 on the second and third; a strength makes that ``1 - strength (1 - eta)``."""
    z, v, target = shifted.z, shifted.backbone.velocity, shifted.backbone.embed(["c"])
    e, empty = draw((6,), seed=2, purpose="rf-inversion").to(z), shifted.backbone.embed([""])
    falling = [1.0, 0.9, 0.75, 0.5, 0.0]
    assert shifted.path(4).levels == pytest.approx(falling)
    labels = [0.0, 0.25, 0.5, 0.75] if legacy else falling[:0:-1]
    lengths = [0.1, 0.15, 0.25, 0.5] if legacy else [0.5, 0.25, 0.15, 0.1]
    y = z
    for s, h in zip(labels, lengths, strict=True):
        y = y + h * (0.6 * v(y, levels_of(z, s), empty) + 0.4 * (e - y) / (1 - s))
    for index, (s, s_next) in enumerate(itertools.pairwise(falling)):
        eta = 1 - strength * (1 - (0.7 if index in (1, 2) else 0.0))
        y = y + (s_next - s) * ((1 - eta) * v(y, levels_of(z, s), target) + eta * (y - z) / s)
    editor = RFInversion(steps=4, gamma=0.4, eta=0.7, start=0.25, stop=0.75, legacy=legacy)
    assert relative_error(editor.edit(shifted, target, [strength], seed=2)[0].z, y) < 1e-12


def test_legacy_labels_matter_on_shifted_grids_only(shifted: JointLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a uniform grid the label i/N is the level: equal up to its rounding."""
    target, published, ours = shifted.backbone.embed(["c"]), RFInversion(steps=8, legacy=True), RFInversion(steps=8)
    assert relative_error(published.edit(shifted, target, [1.0])[0].z, ours.edit(shifted, target, [1.0])[0].z) > 1e-2
    monkeypatch.undo()
    assert relative_error(published.edit(shifted, target, [1.0])[0].z, ours.edit(shifted, target, [1.0])[0].z) < 1e-12


@pytest.mark.parametrize("gamma", [0.0, 0.5])
@pytest.mark.parametrize("model", ["flow", "variance-preserving"])
def test_t7_the_straight_way_returns_the_picture_exactly(gamma: float, model: str) -> None:
    """Whatever the target and the strength; also where the clean end of the grid is not level 0."""
    latent = mixture_latent(example_mixture(dimension=6) if model == "flow" else vp_model())
    target = latent.backbone.embed(["c"])
    editor = RFInversion(steps=6, gamma=gamma, eta=1.0, stop=1.0)
    for strength in (1.0, -3.0):
        assert torch.equal(editor.edit(latent, target, [strength])[0].z, latent.z)
    assert editor.keeps_equal_texts
    most = RFInversion(steps=6, gamma=gamma, eta=1.0, stop=0.8)
    assert not most.keeps_equal_texts
    assert relative_error(most.edit(latent, target, [1.0])[0].z, latent.z) > 1e-2


def test_without_control_it_is_the_inversion_under_the_empty_text(latent: JointLatent) -> None:
    target = latent.backbone.embed(["c"])
    plain = Inversion(steps=8, level=0.8, guidance=1.7).edit(latent.under(""), target, [1.0])[0].z
    found = RFInversion(steps=8, level=0.8, gamma=0.0, eta=0.0, guidance=1.7).edit(latent, target, [1.0])[0].z
    assert relative_error(found, plain) < 1e-13


@pytest.mark.parametrize("level", [1.0, 0.8])
def test_a_whole_control_of_the_way_up_adds_the_noise_that_sdedit_adds(latent: JointLatent, level: float) -> None:
    """``gamma = 1`` goes along ``(1 - s) x + s e``, in one step or many, on which Euler is exact."""
    noise = draw((6,), seed=5, purpose="rf-inversion").to(latent.z)
    target, start = latent.backbone.embed(["c"]).expand(3), (1 - level) * latent.z + level * noise
    walk = sample(
        lambda z, s: latent.backbone.velocity(z, s, target), start, latent.path(8, level), EulerSolver()
    ).final
    found = RFInversion(steps=8, level=level, gamma=1.0, eta=0.0).edit(latent, target, [1.0], seed=5)[0].z
    assert relative_error(found, walk) < 1e-12


def test_towards_strength_zero_it_is_the_picture_exactly(latent: JointLatent) -> None:
    assert torch.equal(
        RFInversion(steps=6)._edit(latent, latent.backbone.embed(["c"]), strength=0.0, seed=0, progress=None), latent.z
    )
