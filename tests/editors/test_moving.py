"""An edit of latents between two conditions is that of the images, refined and local, without pictures or texts."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

import latentedit as le
from latentedit.core.condition import Condition
from latentedit.core.flow import LevelGrid, uniform_grid
from latentedit.directions.identification import local_change
from latentedit.editing.request import EditRequest
from latentedit.editors.moving import edit_latent
from latentedit.latents.joint import JointLatent
from tests.editors.colors import ColorBackbone
from tests.editors.edits import noisy


@pytest.fixture(scope="module")
def latent() -> JointLatent:
    return le.encode(ColorBackbone(), [noisy(1), noisy(2)], source_prompt=["red", "red"])


def edited(latent: JointLatent, strength: float | list[float] = 1.0, method: str = "eim", **options: object) -> Tensor:
    source, target = latent.condition[:1], latent.backbone.embed(["green"])
    steps = edit_latent(latent.backbone, latent.z, source, target, strength, method, **options)
    return torch.stack([step.z for step in steps])


@pytest.mark.parametrize("method", ["eim", "flowedit", "dvrf", "flowslider", "flowalign"])
@pytest.mark.parametrize("refine", [None, True, False])
def test_a_session_moves_the_same_latents_by_the_same_path(latent: JointLatent, method: str, refine: bool) -> None:
    strengths = [-0.5, 0.0, 0.5, 1.0]
    request = EditRequest.of(prompt="green", method=method, refine=refine, auto_mask=False, seed=4)
    rows = le.Session(latent).run(request, strengths)
    ours = edited(latent, strengths, method, refine=refine, auto_mask=False, seed=4)
    for index, row in enumerate(rows):
        assert torch.equal(torch.cat([result.latent.z for result in row]), ours[:, index])


def test_strength_0_is_the_latents_and_the_mask_keeps_the_strong_part(latent: JointLatent) -> None:
    still, whole = edited(latent, [0.0, 1.0], "flowedit", auto_mask=True)
    assert torch.equal(still, latent.z)
    free = edited(latent, 1.0, "flowedit")[0]  # FlowEdit has no mask unless somebody wants it
    assert torch.equal(whole, latent.z + local_change(free - latent.z))
    assert torch.equal(edited(latent), edited(latent, auto_mask=True)), "eim has one"


def test_given_levels_replace_level_and_steps(latent: JointLatent) -> None:
    levels = uniform_grid(6, start=0.7)
    seen: list[tuple[int, int]] = []
    ours = edited(latent, 1.0, "flowedit", levels=levels, progress=lambda _, done, total, z: seen.append((done, total)))
    editor = le.editors.FlowEdit(level=0.7, steps=6)
    grid = le.CallableBackbone(
        latent.backbone.velocity,
        embed=latent.backbone.embed,
        latent_shape=latent.backbone.latent_shape,
        grid=lambda steps: levels,
    )
    at = JointLatent(backbone=grid, z=latent.z, condition=latent.condition, captions=latent.captions)
    assert torch.equal(ours[0], editor.edit(at, grid.embed(["green"]), [1.0])[0].z)
    assert seen == [(step + 1, 6) for step in range(6)]
    given = JointLatent(backbone=grid, z=latent.z, condition=latent.condition, captions=("",) * 2, levels=levels)
    assert given.path(28, 0.2) == given.repeat(2).path(3) == levels
    assert given.level(28, "14/28") == levels.levels[3]


@pytest.mark.parametrize("method", ["eim", "flowedit", "dvrf", "flowalign"])
def test_progress_carries_an_estimate_that_ends_at_the_edit(latent: JointLatent, method: str) -> None:
    seen: list[Tensor] = []
    whole = edited(latent, 1.0, method, auto_mask=False, refine=False, progress=lambda *step: seen.append(step[-1]))
    away = [float((z - latent.z).norm()) for z in seen]
    assert away[0] > 0
    assert away[0] < away[-1]
    assert torch.allclose(seen[-1], whole[0], atol=0.05 * away[-1])


def test_a_host_guides_both_branches_in_one_call() -> None:
    colors, calls = ColorBackbone(), list[tuple[int, float]]()

    def guided(z: Tensor, s: Tensor, condition: Condition, empty: Condition, weight: float) -> Tensor:
        calls.append((len(z), weight))
        null = colors.velocity(z, s, empty)
        return null + weight * (colors.velocity(z, s, condition) - null)

    parts = {"embed": colors.embed, "latent_shape": colors.latent_shape}
    ours, plain = (
        le.CallableBackbone(colors.velocity, guided=own, **parts)  # type: ignore[arg-type]
        for own in (guided, None)
    )
    z, levels = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), LevelGrid(levels=(0.9, 0.4, 0.0))
    results: list[Tensor] = []
    for backbone in (ours, plain):
        with backbone.count() as cost:
            results += [s.z for s in edit_latent(backbone, z, *map(colors.embed, (["red"], ["blue"])), levels=levels)]
        assert cost.evaluations == 2 * 2 * (1 + 2)  # the target is guided by default
    assert torch.allclose(*results, atol=1e-6)
    assert calls == [(2, 2.0)] * 2


def test_no_model_library_is_loaded() -> None:
    code = (
        "import sys, latentedit as le; le.edit_latent, le.CallableBackbone; from latentedit.editors.base import "
        "make_editor; [make_editor(n, le.CallableBackbone(len, embed=len, latent_shape=len)) for n in ('eim', 'dvrf')];"
        "assert not {'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
