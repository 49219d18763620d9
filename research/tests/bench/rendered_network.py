"""A model whose latents are the images themselves, at the renderer's size, and editors that know the answers."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit import Backbone, Condition
from latentedit.core import ConfigError
from latentedit.editors import Edit, Editor
from latentedit.models import Capabilities
from latentedit.numerics import LevelGrid, stream, uniform_grid
from latentedit_bench.data.counterfactual import Rendered, counterfactual
from latentedit_bench.data.items import Item
from latentedit_bench.data.prepared import Prepared, prepare, to_tensor
from latentedit_portraits.attributes import VALUES
from latentedit_portraits.captions import parse

COLUMNS = {(name, value): index for index, (name, value) in enumerate((n, v) for n in VALUES for v in VALUES[n])}
COLORS = 0.2 * torch.randn((len(COLUMNS), 3), generator=stream(5, "tests"))
"""What each value of each attribute adds to the velocity, everywhere in the image."""


class RenderedNetwork(Backbone):
    """``v = z / 2 - s B c`` on images of 128 x 128 pixels; c is 1 for each value of an attribute that a text states.

    Args:
        reads: whether the bundled classifier reads its images.
    """

    def __init__(self, *, reads: bool = True) -> None:
        capabilities = Capabilities(sizes=(128, 128, 128), size_multiple=8)
        super().__init__(name="rendered-network", fingerprint="rendered-network-1", capabilities=capabilities)
        self.defaults = {"captioner": "portraits"} if reads else {}

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        return (3, height_px, width_px)

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        return uniform_grid(steps)

    def embed(self, texts: Sequence[str]) -> Condition:
        tokens = torch.zeros(len(texts), 1, len(COLUMNS))
        for row, text in enumerate(texts):
            for stated in parse(text).items():
                tokens[row, 0, COLUMNS[stated]] = 1
        return Condition(tokens=tokens, pooled=tokens[:, 0, :0])

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.dtype)

    def decode(self, z: Tensor) -> Tensor:
        return z

    def _velocity(self, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        color = condition.tokens[:, 0] @ COLORS
        return z / 2 - (s[:, None] * color)[:, :, None, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OracleEditor(Editor):
    """``z + strength * share * (answer - z)``, where the answers are looked up by latent and text.

    Args:
        steps: calls of the network, whose results are not used.
        share: share of the change that is made.
        highest: highest strength that is allowed.
    """

    name: ClassVar[str] = "oracle"
    answers: ClassVar[dict[bytes, Tensor]] = {}

    steps: int = 1
    share: float = 1.0
    highest: float = 2.0

    @property
    def keeps_equal_texts(self) -> bool:
        return False

    def cost(self, edit: Edit) -> int:
        if not 0 <= edit.strength <= self.highest:
            raise ConfigError(f"expected a strength from 0 to {self.highest:g}; got {edit.strength:g}")
        return self.steps

    def move(self, edit: Edit) -> Float[Tensor, "b *latent"]:
        self.cost(edit)
        latent, strength = edit.latent, edit.strength
        if not self.share:
            return latent.z.clone()
        for _ in range(self.steps):
            latent.backbone.velocity(latent.z, torch.full((len(latent),), 0.5), edit.target)
        rows = zip(latent.z, edit.target.tokens, strict=True)
        answers = torch.stack([self.answers[_key(z, tokens)] for z, tokens in rows])
        return answers if strength * self.share == 1 else latent.z + strength * self.share * (answers - latent.z)


Idle = functools.partial(OracleEditor, steps=0, share=0.0)  # returns the latents


def oracle(batch: Prepared) -> type[OracleEditor]:
    """An editor that knows the right answer to each item, and the way back from there."""
    answers = to_tensor([_truth(item)() for item in batch.items])
    known: dict[bytes, Tensor] = {}
    for z, end, there, back in zip(
        batch.latent.z, answers, batch.target.tokens, batch.latent.condition.tokens, strict=True
    ):
        known[_key(z, there)] = end
        known[_key(end, back)] = z
    return type("Oracle", (OracleEditor,), {"answers": known})


def _truth(item: Item) -> Callable[[], Image.Image]:
    assert item.truth is not None
    return item.truth


def _key(z: Tensor, tokens: Tensor) -> bytes:
    return z.numpy().tobytes() + tokens.numpy().tobytes()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RenderedOnce(Rendered):
    """An image that is rendered once for all tests."""

    image: Image.Image
    name: str

    def __call__(self) -> Image.Image:
        return self.image

    def fingerprint(self) -> str:
        return self.name


@functools.cache
def some_items() -> tuple[Item, ...]:
    """The first twelve items of the calibration split, rendered; the tenth requests nothing."""
    found: list[Item] = []
    for item in counterfactual("portraits", "calibration").head(12).items:
        assert item.mask is not None
        mask = item.mask()
        image = _once(item.image, f"{item.id} image")
        truth = image if item.kind in ("nothing", "contradiction") else _once(item.truth, f"{item.id} truth")
        found.append(dataclasses.replace(item, image=image, truth=truth, mask=lambda mask=mask: mask))
    return tuple(found)


def _once(drawn: Any, name: str) -> RenderedOnce:
    return RenderedOnce(scene=drawn.scene, domain=drawn.domain, image=drawn(), name=name)


@functools.cache
def prepared(count: int = 12, *, reads: bool = True) -> Prepared:
    """The first of `some_items`, encoded by a model of their own."""
    return prepare(RenderedNetwork(reads=reads), some_items()[:count])
