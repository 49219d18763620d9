"""DVRF against its published loop, and its two ends: FlowEdit, and delta denoising score."""

import pytest
import torch

from latentedit.core.levels import LevelGrid
from latentedit.core.rng import draw, noise_like
from latentedit.editors.baselines import dds
from latentedit.editors.baselines.dds import DDS
from latentedit.editors.baselines.dvrf import DVRF
from latentedit.editors.baselines.flowedit import FlowEdit
from latentedit.latents.joint import JointLatent
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of


def test_is_the_published_loop(latent: JointLatent) -> None:
    """Equations 6 and 8, with the shift that grows from 0 and a constant step, both branches guided."""
    backbone, x, y = latent.backbone, latent.z, latent.z

    def guided(z: torch.Tensor, s: float, text: str, weight: float) -> torch.Tensor:
        empty, there = (backbone.velocity(z, levels_of(z, s), backbone.embed([words])) for words in ("", text))
        return empty + weight * (there - empty)

    for index, t in enumerate([1.0, 0.8, 0.6, 0.4, 0.2]):
        eta, e = index / 5, draw((6,), seed=7, purpose="flowedit", index=index).to(x)
        z_source = (1 - t) * x + t * e
        z_target = (1 - t) * y + t * e + eta * t * (y - x)
        dv = guided(z_target, t, "c", 3.0) - guided(z_source, t, "a", 1.5)
        y = y - 0.3 * (dv + (1 - eta) * (y - x))
    editor = DVRF(steps=5, step_size=0.3, source_guidance=1.5, target_guidance=3.0)
    assert relative_error(editor.edit(latent, backbone.embed(["c"]), [1.0], seed=7)[0].z, y) < 1e-12


@pytest.mark.parametrize("noises", [1, 3])
@pytest.mark.parametrize("strength", [1.0, -0.7])
def test_with_the_whole_shift_it_is_flowedit(latent: JointLatent, noises: int, strength: float) -> None:
    """On the path's own steps; with any less shift it is not."""
    same = {"level": 0.85, "steps": 9, "source_guidance": 1.5, "target_guidance": 2.5, "noises": noises}
    target = latent.backbone.embed(["c"])

    def found(shift: tuple[float, float]) -> torch.Tensor:
        return DVRF.from_dict({**same, "shift": shift}).edit(latent, target, [strength], seed=2)[0].z

    flowedit = FlowEdit.from_dict(same).edit(latent, target, [strength], seed=2)[0].z
    assert relative_error(found((1.0, 1.0)), flowedit) < 1e-13
    assert relative_error(found((0.9, 1.0)), flowedit) > 1e-3


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_without_a_shift_it_is_delta_denoising_score(
    latent: JointLatent, monkeypatch: pytest.MonkeyPatch, guidance: float
) -> None:
    """All steps of DDS at one level; DVRF's are as near to it as its falling grid allows, 2e-9 apart.

    DDS weighs the bracket by ``1 - s`` and draws from a stream of its own.
    """
    s, steps, target = 0.6, 5, latent.backbone.embed(["c"])
    falling = LevelGrid(levels=(*(s - 2e-9 * step for step in range(steps)), 0.0))
    monkeypatch.setattr(latent.backbone, "grid", lambda steps, height_px=0, width_px=0: falling)
    monkeypatch.setattr(
        dds, "noise_like", lambda z, seed, purpose, index: noise_like(z, seed=seed, purpose="flowedit", index=index)
    )
    expected = (
        DDS(levels=(s, s), steps=steps, step_size=0.5, guidance=guidance).edit(latent, target, [1.0], seed=1)[0].z
    )

    def found(shift: tuple[float, float]) -> torch.Tensor:
        editor = DVRF(
            steps=steps, shift=shift, step_size=0.5 * (1 - s), source_guidance=guidance, target_guidance=guidance
        )
        return editor.edit(latent, target, [1.0], seed=1)[0].z

    assert relative_error(found((0.0, 0.0)), expected) < 1e-7
    assert relative_error(found((0.1, 0.1)), expected) > 1e-3
