"""An edit of latents between two conditions is that of the images, refined and local, without pictures or texts."""

import dataclasses
import subprocess
import sys
from typing import Any, cast

import pytest
import torch
from torch import Tensor

import latentedit as le
from latentedit.core.errors import ConfigError
from latentedit.core.recipe import Recipe
from latentedit.editing.request import EditRequest
from latentedit.editors.base import make_editor, resolve
from latentedit.editors.eim import EIM
from latentedit.editors.moving import Aim, Move, Moved, Sliders, edit_latent
from latentedit.encoding.joint import JointLatent
from latentedit.identification.locality import local_change
from latentedit.models.capabilities import Capabilities
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import LevelGrid, uniform_grid
from tests.editors.colors import ColorBackbone
from tests.editors.edits import noisy


@pytest.fixture(scope="module")
def latent() -> JointLatent:
    return le.encode(ColorBackbone(), [noisy(1), noisy(2)], source_prompt=["red", "red"])


def edited(latent: JointLatent, strength: float | list[float] = 1.0, method: str = "eim", **options: object) -> Tensor:
    source, target = latent.condition[:1], latent.backbone.embed(["green"])
    steps = edit_latent(latent.backbone, latent.z, source, target, strength, method, **options)
    return torch.stack([step.z for step in steps])


@pytest.mark.slow_except("eim-None")
@pytest.mark.parametrize(
    ("method", "refine"),
    [("eim", None), ("eim", True), ("flowedit", True), ("dvrf", False), ("flowslider", None), ("flowalign", False)],
)
def test_a_session_moves_the_same_latents_by_the_same_path(
    latent: JointLatent, method: str, refine: bool | None
) -> None:
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


def seeing(weight: float) -> JointLatent:
    """Two latents under an instruction of a model that sees them, with image guidance built into its velocity.

    Texts act in one corner, a change that is small enough to be refined.
    """
    corner = torch.zeros(4, 4)
    corner[0, 0] = 0.1

    def velocity(z: Tensor, s: Tensor, c: Condition) -> Tensor:
        text = corner * c.tokens[..., None] * torch.cos(z)
        if c.reference is None:
            return z + text
        return z + text + weight * (c.reference[0] * (1 + text) - 0.5 * z)

    model = le.CallableBackbone(
        velocity,
        embed=lambda texts: Condition(
            tokens=torch.tensor([[[float(len(t))]] for t in texts]), pooled=torch.zeros(len(texts), 0)
        ),
        latent_shape=lambda *_: (1, 4, 4),
        capabilities=Capabilities(pixels=False, references=1),
    )
    z = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    own = dataclasses.replace(model.embed(["no"]).expand(2), reference=(z,))
    return JointLatent(backbone=model, z=z, condition=own, captions=("no", "no"))


def guided_move(
    latent: JointLatent, weight: float, method: str, strengths: list[float], *, refine: bool = True, **settings: Any
) -> Moved:
    recipe = Recipe(method=method, settings=settings, refine=refine, image_guidance=weight)
    made = resolve(recipe, latent.backbone, instructed=True)
    aim = Aim(condition=latent.embed_with_references(["do it"]))
    return Move(recipe=made, latent=latent, strengths=strengths, shares=[1.0], seed=3).run([aim])


@pytest.mark.slow_except("sdedit-settings5")
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("eim", {}),
        ("eim", {"guidance": 2.0, "gamma": 0.5, "step_size": 0.4}),
        ("eim", {"gamma": 0.5, "one_sided": True, "step_size": 0.4}),
        ("eim", {"arm": "joint", "level": 0.5}),
        ("flowedit", {}),
        ("sdedit", {}),
        ("flowalign", {}),
    ],
)
def test_image_guidance_is_the_edit_of_the_guided_network_at_every_strength(
    method: str, settings: dict[str, Any]
) -> None:
    """A network with the weight built in gives the same, at half of the cost; weight 1 is the network, bit for bit."""
    strengths = [0.0, 0.5, 1.0] if method == "sdedit" else [-0.5, 0.0, 0.5, 1.0, 1.5]
    latent, built_in = seeing(1.0), seeing(1.5)
    ours = guided_move(latent, 1.5, method, strengths, **settings)
    expected, plain = (guided_move(at, 1.0, method, strengths, **settings) for at in (built_in, latent))
    near = [index for index, strength in enumerate(strengths) if 0 <= strength <= 1]  # others are clamped by verdicts
    for index in near:
        assert torch.allclose(ours.steps[index].z, expected.steps[index].z, atol=2e-4)
        assert torch.equal(ours.steps[index].z, plain.steps[index].z) == (strengths[index] == 0)
    assert torch.equal(ours.steps[strengths.index(0.0)].z, latent.z)
    assert [ours.evaluations[index] for index in near] == [2 * plain.evaluations[index] for index in near]
    assert ours.target.image_guidance is None, "verdicts are those of the network itself"


@pytest.mark.parametrize(
    ("method", "strength", "settings"),
    [
        *(("eim", strength, {}) for strength in (0.5, 1.0, 2.0)),
        ("eim", 1.0, {"gamma": 0.5, "step_size": 0.4}),
        ("eim", 0.5, {"arm": "text", "level": 0.5}),
        ("flowedit", 0.5, {}),
        ("sdedit", 1.0, {}),
    ],
)
def test_the_cost_of_image_guidance_is_what_it_spends(method: str, strength: float, settings: dict[str, Any]) -> None:
    latent = seeing(1.0)
    local = method != "sdedit"  # whose change is that of all of an image, which is not refined
    with latent.backbone.count() as spent:
        moved = guided_move(latent, 2.0, method, [strength], refine=local, **settings)
    assert spent.evaluations == len(latent) * moved.evaluations[0]


def test_other_texts_of_guided_latents_are_guided(latent: JointLatent) -> None:
    """Such as the empty text of an inversion."""
    seen = seeing(1.0)
    guided = dataclasses.replace(seen, condition=seen.condition.guided_by_image(1.5))
    assert guided.with_prompt("").condition.image_guidance == 1.5
    assert latent.with_prompt("").condition.image_guidance is None


def test_an_editor_states_the_cost_of_guided_latents() -> None:
    seen = seeing(1.0)
    guided = dataclasses.replace(seen, condition=seen.condition.guided_by_image(1.5))
    editor = make_editor("eim", seen.backbone, instructed=True)
    with seen.backbone.count() as spent:
        editor.edit(guided, guided.embed_with_references(["do it"]), [1.0])
    assert spent.evaluations == len(guided) * editor.evaluations(guided) == 2 * len(seen) * editor.evaluations(seen)


def test_a_session_measures_again_for_another_image_guidance() -> None:
    """An inversion under one weight is not that of another."""
    seen, shared = seeing(1.0), Sliders({})
    editor = make_editor("eim", seen.backbone, instructed=True, settings={"arm": "joint", "level": 0.5})
    found = cast("EIM", editor).direction(seen, seen.embed_with_references(["do it"]), seed=0)

    def moved(weight: float, sliders: Sliders) -> Tensor:
        recipe = Recipe(method=editor, image_guidance=weight, settings={"arm": "joint", "level": 0.5})
        move = Move(recipe=recipe, latent=seen, strengths=[1.0], shares=[1.0], sliders=sliders)
        return move.run([], [found]).steps[0].z

    assert not torch.equal(moved(1.0, shared), moved(1.5, shared))
    assert torch.equal(moved(2.0, shared), moved(2.0, Sliders({})))


def test_image_guidance_is_refused_where_the_model_sees_no_image(latent: JointLatent) -> None:
    with pytest.raises(ConfigError):
        guided_move(latent, 1.5, "eim", [1.0])
    for name, text in (("change", "=> hat"), ("prompt", "a hat")):
        with pytest.raises(ConfigError):
            EditRequest.of(image_guidance=1.5, settings={}, **{name: text})
    assert EditRequest.of(instruction="add a hat", image_guidance=1.5).image_guidance == 1.5


@pytest.mark.slow
def test_no_model_library_is_loaded() -> None:
    code = (
        "import sys, latentedit as le; le.edit_latent, le.CallableBackbone; from latentedit.editors.base import "
        "make_editor; [make_editor(n, le.CallableBackbone(len, embed=len, latent_shape=len)) for n in ('eim', 'dvrf')];"
        "assert not {'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
