"""SplitFlow against its published loop written flow by flow, its two rules by hand, and FlowEdit, which is in it."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.rng import draw
from latentedit.editors.baselines.splitflow import SplitFlow, agreeing_mean, projected
from latentedit.latents.joint import JointLatent
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of


def test_a_projection_by_hand() -> None:
    """Along (3, 4)/5 the parts (1, 2) and (5, 0) have 2.2 and 3; where the whole is zero, nothing is left."""
    whole = torch.tensor([[[3.0, 0.0], [4.0, 0.0]]])
    parts = torch.tensor([[[[1.0, 1.0], [2.0, 1.0]]], [[[5.0, 1.0], [0.0, 1.0]]]])
    found = projected(parts, whole)
    assert found[0, :, 0].tolist() == pytest.approx([2.6 * 0.6, 2.6 * 0.8])
    assert found[0, :, 1].tolist() == [0, 0]
    assert relative_error(projected(whole[None], whole), whole) < 1e-6


def test_an_agreeing_mean_by_hand() -> None:
    """Two alike and one across: agreements 2, 2 and 1; one alone is itself, and two opposite ones weigh the same."""
    parts = torch.tensor([[[2.0, 0.0]], [[1.0, 0.0]], [[0.0, 3.0]]])
    both, other = math.e**2 / (2 * math.e**2 + math.e), math.e / (2 * math.e**2 + math.e)
    assert agreeing_mean(parts)[0].tolist() == pytest.approx([3 * both, 3 * other])
    assert torch.equal(agreeing_mean(parts[:1]), parts[0])
    assert agreeing_mean(torch.tensor([[[2.0, 0.0]], [[-1.0, 0.0]]]))[0].tolist() == pytest.approx([0.5, 0])


@pytest.mark.parametrize("captions", [("a c", "b"), ()])
@pytest.mark.parametrize("strength", [1.0, -0.6])
def test_is_the_published_loop(places: JointLatent, captions: tuple[str, ...], strength: float) -> None:
    """Three steps apart, one joined, one whole; channels and places; the weights from a matrix of cosines."""
    backbone, x = places.backbone, places.z
    source, whole = backbone.embed(["a"]).expand(3), backbone.embed(["c"]).expand(3)
    subs = [backbone.embed([one]).expand(3) for one in captions] or [source + 0.5 * (whole - source), whole]

    def guided(z: Tensor, s: float, text: Condition, weight: float) -> Tensor:
        empty, there = (backbone.velocity(z, levels_of(z, s), one) for one in (backbone.embed([""]).expand(3), text))
        return empty + weight * (there - empty)

    flows, y = [x, x, x], x
    for index, (s, s_next) in enumerate(itertools.pairwise([1.0, 0.8, 0.6, 0.4, 0.2, 0.0])):
        texts = [*subs, whole] if index < 3 else subs if index == 3 else [whole]
        noise = draw((len(texts), 2, 3), seed=5, purpose="flowedit", index=index).to(x)
        differences = []
        for text, e, at in zip(texts, noise, flows if index < 3 else [y] * 3, strict=False):
            z = (1 - s) * x + s * e
            differences.append(guided(at + z - x, s, text, 2.0) - guided(z, s, source, 1.5))
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
    found = editor.edit(places, backbone.embed(["c"]), [strength], seed=5)[0].z
    assert relative_error(found, y) < 1e-12


def test_sub_targets_are_read_from_the_phrases_of_each_picture(latent: JointLatent) -> None:
    """Of three pictures; those that are given stay; other numbers of pictures or of sub-targets are refused."""
    sources, targets = ("a, b", "a", "b, c"), ("c, b", "c", "a, b")
    found = SplitFlow(parts=2).for_captions(sources, targets)
    assert isinstance(found, SplitFlow)
    assert found.captions == (("c, b", "c, b"), ("c", "c"), ("b, a", "b, a"))
    assert found.for_captions(targets, sources) is found
    assert SplitFlow.from_dict(found.to_dict()) == found
    assert found.evaluations(latent) == SplitFlow(parts=2).evaluations(latent)
    target = latent.backbone.embed(["c"])
    with pytest.raises(ShapeError, match="each of 3 pictures"):
        SplitFlow(captions=(("a",), ("b",))).edit(latent, target, [1.0])
    for wrong in ((("a",), ("b", "c")), ((),)):
        with pytest.raises(ConfigError, match="captions"):
            SplitFlow(captions=wrong)


def test_each_picture_has_its_own_sub_targets(latent: JointLatent) -> None:
    """As when it is edited alone with them."""
    target, own = latent.backbone.embed(["c"]), (("a c",), ("b",), ("c",))
    together = SplitFlow(steps=5, captions=own).edit(latent, target, [1.0], seed=1)[0].z
    for index in range(3):
        alone = SplitFlow(steps=5, captions=(own[index],)).edit(latent, target, [1.0], seed=1)[0].z
        assert relative_error(together[index], alone[index]) < 1e-12
        assert relative_error(together[index], alone[index - 1]) > 1e-3
