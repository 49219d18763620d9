"""Editors along FlowEdit's path, and the path itself, against closed forms and the published loops."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.editors import DVRF, FlowAlign, FlowEdit, FlowSlider, SplitFlow, SteeringFields
from latentedit.editors.base import Editor
from latentedit.editors.baselines.flow_paths import follow_difference
from latentedit.editors.baselines.splitflow import agreeing_mean, projected_onto
from latentedit.encoding.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import LevelGrid
from latentedit.numerics.rng import draw
from tests.editors.baselines.cases import edit_of
from tests.identification.mixtures import levels_of
from tests.testing.tolerances import relative_error

GRID = LevelGrid(levels=(0.8, 0.5, 0.45, 0.1, 0.0))


EXACT = 1e-12


def on(latent: JointLatent, grid: LevelGrid) -> JointLatent:
    return dataclasses.replace(latent, levels=grid)


def test_noises_are_averaged_for_each_image(spatial_latent: JointLatent) -> None:
    """Each image gets the mean over its own rows: ``(1 - s) x + s mean(e)``, with the noises of the step."""
    seen: list[tuple[Tensor, Tensor]] = []

    def at_a(a: Tensor, s: Tensor, _: float) -> Tensor:
        seen.append((a, s))
        return -a

    edit = edit_of(on(spatial_latent, GRID), seed=3)
    found = follow_difference(FlowEdit(noises=4), edit, at_a, lambda b, s, _: torch.zeros_like(b))
    expected = spatial_latent.z.clone()
    for index, (s, s_next) in enumerate(itertools.pairwise(GRID.levels)):
        e = draw((4, 2, 3), seed=3, purpose="flowedit", index=index).double()
        a, levels = seen[index]
        assert levels.tolist() == [s] * 12
        assert relative_error(a.reshape(4, 3, 2, 3), (1 - s) * spatial_latent.z + s * e[:, None]) < EXACT
        expected += (s_next - s) * ((1 - s) * spatial_latent.z + s * e.mean(0))
    assert relative_error(found, expected) < EXACT


Rule = Callable[[Callable[[Tensor, str], Tensor], Tensor, Tensor, float], tuple[Tensor, Tensor]]
"""Maps velocities by text, source and edit points, and strength to the velocities of edit and source."""


def flowslider(v: Callable[[Tensor, str], Tensor], a: Tensor, b: Tensor, m: float) -> tuple[Tensor, Tensor]:
    """Fidelity and steering."""
    return v(b, "a") + m * (v(b, "c") - v(b, "a")), v(a, "a")


def guided_flowslider(v: Callable[[Tensor, str], Tensor], a: Tensor, b: Tensor, m: float) -> tuple[Tensor, Tensor]:
    """The target's weight is on both velocities at b, the source's on that at a."""
    return flowslider(lambda z, text: v(z, "") + (1.5 if z is a else 3.0) * (v(z, text) - v(z, "")), a, b, m)


def steered(v: Callable[[Tensor, str], Tensor], a: Tensor, b: Tensor, m: float, repel: float) -> tuple[Tensor, Tensor]:
    attraction, repulsion = 1.5 * m, repel * m
    return (v(b, "") + attraction * v(b, "c") - repulsion * v(b, "a")) / (1 + attraction - repulsion), v(a, "")


@pytest.mark.slow_except("flowedit-strengths0-0.0-<lambda>", "steering-fields-strengths4-0.0-<lambda>")
@pytest.mark.parametrize(
    ("editor", "strengths", "pull", "rule"),
    [
        (FlowEdit(target_guidance=1.0), [1.0], 0.0, lambda v, a, b, m: (v(b, "c"), v(a, "a"))),
        (FlowSlider(), [-0.7, 0.4, 2.5], 0.0, flowslider),
        (FlowSlider(source_guidance=1.5, target_guidance=3.0), [-0.7, 1.0], 0.0, guided_flowslider),
        (FlowAlign(guidance=4.0, pull=0.15), [1.0, -0.4], 0.15, lambda v, a, b, m: flowslider(v, a, b, 4 * m)),
        *[
            (SteeringFields(attract=1.5, repel=r), [-0.4, 1.0], 0.0, lambda v, a, b, m, r=r: steered(v, a, b, m, r))
            for r in (0.0, 0.6, 1.5)
        ],
    ],
    ids=lambda value: value.name if isinstance(value, Editor) else None,
)
def test_editors_match_their_published_loops(
    latent: JointLatent, editor: Editor, strengths: list[float], pull: float, rule: Rule
) -> None:
    """One noise for each step, on a grid that starts at a real level; the pull (T8) is towards Tweedie's estimate."""
    z, backbone = latent.z, latent.backbone
    editor = type(editor).from_dict({**editor.to_dict(), "level": 0.77, "steps": 5})
    for strength in strengths:
        y = z.clone()
        for index, (s, s_next) in enumerate(itertools.pairwise([0.77, 0.6, 0.4, 0.2, 0.0])):
            a = (1 - s) * z + s * draw((6,), seed=2, purpose="flowedit", index=index).to(z)
            b, s_batch = y + a - z, levels_of(z, s)
            p, q = rule(
                lambda x, text, s_batch=s_batch: backbone.velocity(x, s_batch, backbone.embed([text])), a, b, strength
            )
            y = y + (s_next - s) * (p - q) + pull * ((a - s * q) - (b - s * p))
        found = editor.edit(latent, backbone.embed(["c"]), [strength], seed=2)[0].z
        assert relative_error(found, y) < EXACT


def guided_by(backbone: Backbone) -> Callable[[Tensor, float, Condition, float], Tensor]:
    """The velocity under a text with a guidance weight."""

    def guided(z: Tensor, s: float, text: Condition, weight: float) -> Tensor:
        texts = (backbone.embed([""]).expand(len(z)), text.expand(len(z)))
        empty, conditional = (backbone.velocity(z, levels_of(z, s), one) for one in texts)
        return empty + weight * (conditional - empty)

    return guided


def test_dvrf_matches_the_published_loop(latent: JointLatent) -> None:
    """Equations 6 and 8, with the offset that grows from 0 and a constant step, both branches guided."""
    backbone, x, y, guided = latent.backbone, latent.z, latent.z, guided_by(latent.backbone)
    source, target = (backbone.embed([text]) for text in ("a", "c"))
    for index, t in enumerate([1.0, 0.8, 0.6, 0.4, 0.2]):
        eta, e = index / 5, draw((6,), seed=7, purpose="flowedit", index=index).to(x)
        z_source = (1 - t) * x + t * e
        z_target = (1 - t) * y + t * e + eta * t * (y - x)
        dv = guided(z_target, t, target, 3.0) - guided(z_source, t, source, 1.5)
        y = y - 0.3 * (dv + (1 - eta) * (y - x))
    editor = DVRF(steps=5, step_size=0.3, source_guidance=1.5, target_guidance=3.0)
    assert relative_error(editor.edit(latent, target, [1.0], seed=7)[0].z, y) < 1e-12


@pytest.mark.parametrize("noises", [1, 3])
@pytest.mark.parametrize("strength", [1.0, -0.7])
def test_dvrf_with_the_whole_offset_is_flowedit(latent: JointLatent, noises: int, strength: float) -> None:
    """Both take the steps of the path; a smaller offset gives another result."""
    same = {"level": 0.85, "steps": 9, "source_guidance": 1.5, "target_guidance": 2.5, "noises": noises}
    target = latent.backbone.embed(["c"])

    def found(offset: tuple[float, float]) -> torch.Tensor:
        return DVRF.from_dict({**same, "offset": offset}).edit(latent, target, [strength], seed=2)[0].z

    flowedit = FlowEdit.from_dict(same).edit(latent, target, [strength], seed=2)[0].z
    assert relative_error(found((1.0, 1.0)), flowedit) < 1e-13
    assert relative_error(found((0.9, 1.0)), flowedit) > 1e-3


def test_projections_of_example_vectors() -> None:
    """Along (3, 4)/5 the parts (1, 2) and (5, 0) have 2.2 and 3; where the whole is zero, so is the projection."""
    whole = torch.tensor([[[3.0, 0.0], [4.0, 0.0]]])
    parts = torch.tensor([[[[1.0, 1.0], [2.0, 1.0]]], [[[5.0, 1.0], [0.0, 1.0]]]])
    found = projected_onto(parts, whole)
    assert found[0, :, 0].tolist() == pytest.approx([2.6 * 0.6, 2.6 * 0.8])
    assert found[0, :, 1].tolist() == [0, 0]
    assert relative_error(projected_onto(whole[None], whole), whole) < 1e-6


def test_agreeing_means_of_example_vectors() -> None:
    """Two parallel and one orthogonal vector: agreements 2, 2 and 1. Two opposite ones weigh the same."""
    parts = torch.tensor([[[2.0, 0.0]], [[1.0, 0.0]], [[0.0, 3.0]]])
    both, other = math.e**2 / (2 * math.e**2 + math.e), math.e / (2 * math.e**2 + math.e)
    assert agreeing_mean(parts)[0].tolist() == pytest.approx([3 * both, 3 * other])
    assert torch.equal(agreeing_mean(parts[:1]), parts[0])
    assert agreeing_mean(torch.tensor([[[2.0, 0.0]], [[-1.0, 0.0]]]))[0].tolist() == pytest.approx([0.5, 0])


@pytest.mark.parametrize("captions", [("a c", "b"), ()])
@pytest.mark.parametrize("strength", [1.0, -0.6])
def test_splitflow_matches_the_published_loop(
    spatial_latent: JointLatent, captions: tuple[str, ...], strength: float
) -> None:
    """Three separate steps, one aggregated, one with the whole target; weights from a matrix of cosines."""
    backbone, x = spatial_latent.backbone, spatial_latent.z
    source, whole = backbone.embed(["a"]).expand(3), backbone.embed(["c"]).expand(3)
    subs = [backbone.embed([one]).expand(3) for one in captions] or [source + 0.5 * (whole - source), whole]
    flows, y, guided = [x, x, x], x, guided_by(backbone)
    for index, (s, s_next) in enumerate(itertools.pairwise([1.0, 0.8, 0.6, 0.4, 0.2, 0.0])):
        texts = [*subs, whole] if index < 3 else subs if index == 3 else [whole]
        noise = draw((len(texts), 2, 3), seed=5, purpose="flowedit", index=index).to(x)
        differences = []
        for text, e, state in zip(texts, noise, flows if index < 3 else [y] * 3, strict=False):
            z = (1 - s) * x + s * e
            differences.append(guided(state + z - x, s, text, 2.0) - guided(z, s, source, 1.5))
        if index < 3:
            flows = [z + strength * (s_next - s) * dv for z, dv in zip(flows, differences, strict=True)]
            unit = flows[-1] / flows[-1].norm(dim=1, keepdim=True)
            y = torch.stack([(one * unit).sum(1, keepdim=True) * unit for one in flows[:-1]]).mean(0)
        elif index == 3:
            cosine = torch.cosine_similarity(*differences, dim=1)[:, None]
            weights = torch.softmax(torch.stack([cosine, cosine]), 0)
            y = y + strength * (s_next - s) * (weights * torch.stack(differences)).sum(0)
        else:
            y = y + strength * (s_next - s) * differences[0]
    editor = SplitFlow(
        level=1.0,
        steps=5,
        until=0.5,
        captions=(captions,) if captions else (),
        parts=2,
        source_guidance=1.5,
        target_guidance=2.0,
    )
    found = editor.edit(spatial_latent, backbone.embed(["c"]), [strength], seed=5)[0].z
    assert relative_error(found, y) < 1e-12


def test_sub_targets_are_read_from_the_phrases_of_each_image(latent: JointLatent) -> None:
    """Given sub-targets are kept; other numbers of images or of sub-targets are rejected."""
    sources, targets = ("a, b", "a", "b, c"), ("c, b", "c", "a, b")
    found = SplitFlow(parts=2).for_captions(sources, targets)
    assert isinstance(found, SplitFlow)
    assert found.captions == (("c, b", "c, b"), ("c", "c"), ("b, a", "b, a"))
    assert found.for_captions(targets, sources) is found
    assert SplitFlow.from_dict(found.to_dict()) == found
    assert found.evaluations(latent) == SplitFlow(parts=2).evaluations(latent)
    target = latent.backbone.embed(["c"])
    with pytest.raises(ShapeError):
        SplitFlow(captions=(("a",), ("b",))).edit(latent, target, [1.0])
    for wrong in ((("a",), ("b", "c")), ((),)):
        with pytest.raises(ConfigError):
            SplitFlow(captions=wrong)


def test_each_image_has_its_own_sub_targets(latent: JointLatent) -> None:
    """An image is edited as it is alone with them."""
    target, own = latent.backbone.embed(["c"]), (("a c",), ("b",), ("c",))
    together = SplitFlow(steps=5, captions=own).edit(latent, target, [1.0], seed=1)[0].z
    for index in range(3):
        alone = SplitFlow(steps=5, captions=(own[index],)).edit(latent, target, [1.0], seed=1)[0].z
        assert relative_error(together[index], alone[index]) < 1e-12
        assert relative_error(together[index], alone[index - 1]) > 1e-3
