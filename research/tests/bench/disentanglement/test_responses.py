"""Responses and scores of a network whose velocity is linear in the text, so that both are known."""

from typing import ClassVar

import pytest
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.editors import Edit, Editor
from latentedit.encoding import embed_targets
from latentedit_bench.disentanglement.attributes import Swaps
from latentedit_bench.disentanglement.responses import LEVEL, NOISES, attribute_responses
from latentedit_bench.disentanglement.scoring import score_methods
from research.tests.bench.rendered_network import COLORS, RenderedNetwork, prepared

_PHRASES = {"glasses": "glasses", "beard": "a full beard", "smile": "a sad mouth"}
_CAPTION = "a person with no glasses, no beard, a smile"


def _captions(*changed: str) -> str:
    old = {"glasses": "no glasses", "beard": "no beard", "smile": "a smile"}
    return f"a person with {', '.join(_PHRASES[name] if name in changed else text for name, text in old.items())}"


def _colors(model: RenderedNetwork, *changed: str) -> Float[Tensor, " 3"]:
    """The velocity that a change of text adds, without its sign and level."""
    source, target = model.embed([_CAPTION, _captions(*changed)]).tokens[:, 0]
    return (target - source) @ COLORS


def test_the_response_is_the_change_of_the_reconstruction_for_any_noise() -> None:
    """``x_hat = z - s v`` and ``v = z / 2 - s B c``, so the response is ``s^2 B (c_k - c)``, without noise."""
    latent = prepared(3, reads=False).latent
    targets = [embed_targets(latent, [_captions(name)] * 3) for name in _PHRASES]
    with latent.backbone.count() as spent:
        found = attribute_responses(latent, targets, seed=1)
    assert spent.evaluations == 3 * NOISES * 4
    source = latent.condition.tokens[:, 0]
    for target, own in zip(targets, found, strict=True):
        expected = LEVEL**2 * (target.tokens[:, 0] - source) @ COLORS
        # float32, of differences of values of about 4
        assert torch.allclose(own, expected[:, :, None, None].expand_as(own), atol=1e-5)


class Known(Editor):
    """Adds a share of the response to the text, or the responses to all changes in ``more`` together."""

    name: ClassVar[str] = "known"
    share: ClassVar[float] = 1.0
    more: ClassVar[tuple[str, ...]] = ()

    def cost(self, edit: Edit) -> int:
        return 0

    def move(self, edit: Edit) -> Tensor:
        wanted = edit.target.tokens[:, 0] - edit.latent.condition.tokens[:, 0]
        color = _colors(RenderedNetwork(), *self.more).expand(len(wanted), 3) if self.more else wanted @ COLORS
        return edit.x + LEVEL**2 * self.share * color[:, :, None, None]


class Ideal(Known):
    name: ClassVar[str] = "ideal"


class Idle(Known):
    name: ClassVar[str] = "idle"
    share: ClassVar[float] = 0.0


class Half(Known):
    name: ClassVar[str] = "half"
    share: ClassVar[float] = 0.5


class Entangled(Known):
    name: ClassVar[str] = "entangled"
    more: ClassVar[tuple[str, ...]] = tuple(_PHRASES)


@pytest.fixture(scope="module")
def swaps() -> Swaps:
    images = [Image.new("RGB", (128, 128), (90 + 10 * index, 120, 150)) for index in range(10)]
    targets = {name: [_captions(name)] * 10 for name in _PHRASES}
    return Swaps(images=images, captions=[_CAPTION] * 10, targets=targets)


def test_ideal_idle_half_and_entangled_editors_have_the_matrices_that_they_must(swaps: Swaps) -> None:
    """Three responses in three colors: any edit is a combination of them, and nothing is left over."""
    editors = {one.name: one() for one in (Ideal, Idle, Half, Entangled)}
    found = {one.method: one for one in score_methods(RenderedNetwork(reads=False), swaps, editors)}
    one = torch.eye(3)
    matrices = {"ideal": one, "idle": 0 * one, "half": 0.5 * one, "entangled": torch.ones(3, 3)}
    for name, expected in matrices.items():
        matrix = torch.tensor([list(row.values()) for row in found[name].transfer.values()])
        assert torch.allclose(matrix, expected, atol=2e-3), name  # float32 colors of a condition number of about 30
        assert list(found[name].transfer) == list(_PHRASES)
    assert {name: round(one.scores["effectiveness"].mean, 3) for name, one in found.items()} == {
        "ideal": 1.0, "idle": 0.0, "half": 0.75, "entangled": 1.0,
    }  # fmt: skip
    assert found["half"].scores["decomposability"].mean == pytest.approx(1, abs=1e-3)
    assert found["ideal"].scores["disentanglement"].mean == pytest.approx(1, abs=1e-3)
    assert found["idle"].scores["disentanglement"].mean == 0
    assert found["idle"].scores["decomposability"].images == 0, "nothing changed, so nothing can be shared"
    sizes = torch.stack([_colors(RenderedNetwork(), name) for name in _PHRASES]).square().sum(1)
    expected = (sizes / sizes.sum()).sqrt()
    for name, share in zip(_PHRASES, expected.tolist(), strict=True):
        assert found["entangled"].attributes[name]["decomposability"].mean == pytest.approx(share, abs=2e-3)
    assert (found["ideal"].scores["effectiveness"].images, found["ideal"].scores["effectiveness"].low) == (
        10, pytest.approx(1, abs=1e-3),
    )  # fmt: skip
