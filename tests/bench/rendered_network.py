"""A model whose latents are the pictures themselves, at the renderer's size, and editors that know the answers."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.levels import LevelGrid, uniform_grid
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, stream
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.capabilities import Capabilities
from latentedit_bench.data.counterfactual import Rendered, counterfactual
from latentedit_bench.data.items import Item
from latentedit_bench.data.prepared import Prepared, prepare, to_tensor
from latentedit_portraits.attributes import VALUES
from latentedit_portraits.captions import parse

PLACES = {(name, value): index for index, (name, value) in enumerate((n, v) for n in VALUES for v in VALUES[n])}
COLOURS = 0.2 * torch.randn((len(PLACES), 3), generator=stream(5, "tests"))
"""What each value of each attribute adds to the velocity, everywhere in the picture."""

KINDS = ("single", "pair", "graded", "triple", "nothing", "contradiction")


class CaptionedNetwork(Backbone):
    """Latents are the pictures themselves; a text is a one for each value of an attribute that it states."""

    def __init__(self, *, name: str, side: int, dtype: torch.dtype) -> None:
        capabilities = Capabilities(sizes=(side, side, side), size_multiple=8)
        super().__init__(name=name, fingerprint=f"{name}-1", capabilities=capabilities)
        self._dtype = dtype

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        return (3, height_px, width_px)

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        return uniform_grid(steps)

    def embed(self, texts: Sequence[str]) -> Condition:
        tokens = torch.zeros(len(texts), 1, len(PLACES), dtype=self.dtype)
        for row, text in enumerate(texts):
            for stated in parse(text).items():
                tokens[row, 0, PLACES[stated]] = 1
        return Condition(tokens=tokens, pooled=tokens[:, 0, :0])

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.dtype)

    def decode(self, z: Tensor) -> Tensor:
        return z


class RenderedNetwork(CaptionedNetwork):
    """``v = z / 2 - s B c`` on pictures of 128 x 128 pixels.

    Args:
        reads: the bundled reader reads its pictures.
    """

    def __init__(self, *, reads: bool = True) -> None:
        super().__init__(name="rendered-network", side=128, dtype=torch.float32)
        self.defaults = {"captioner": "portraits"} if reads else {}
        self.asked = 0

    def _velocity(self, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        self.asked += len(z)
        said = condition.tokens[:, 0] @ COLOURS
        return z / 2 - (s[:, None] * said)[:, :, None, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Knowing(Editor):
    """``z + strength * share * (answer - z)``, where the answers are looked up by latent and text.

    Args:
        steps: calls of the network, whose results are not used.
        share: of the way to the answer.
        highest: strength that is allowed.
    """

    name: ClassVar[str] = "knowing"
    answers: ClassVar[dict[bytes, Tensor]] = {}

    steps: int = 1
    share: float = 1.0
    highest: float = 2.0

    @property
    def keeps_equal_texts(self) -> bool:
        return False

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        if not 0 <= strength <= self.highest:
            raise ConfigError(f"expected a strength from 0 to {self.highest:g}; got {strength:g}")
        return self.steps

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        self.evaluations(latent, strength=strength)
        if not self.share:
            return latent.z.clone()
        for _ in range(self.steps):
            latent.backbone.velocity(latent.z, torch.full((len(latent),), 0.5), target)
        rows = zip(latent.z, target.tokens, strict=True)
        answers = torch.stack([self.answers[_key(z, tokens)] for z, tokens in rows])
        return answers if strength * self.share == 1 else latent.z + strength * self.share * (answers - latent.z)


Idle = functools.partial(Knowing, steps=0, share=0.0)
"""Returns the latents."""


Answer = Callable[[Item], Image.Image]


def told(batch: Prepared, answer: Answer | None = None) -> type[Knowing]:
    """An editor that knows an answer to each item, the right one by default, and the way back from there."""
    answers = to_tensor([_truth(item) if answer is None else answer(item) for item in batch.items])
    known: dict[bytes, Tensor] = {}
    for z, end, there, back in zip(
        batch.latent.z, answers, batch.target.tokens, batch.latent.condition.tokens, strict=True
    ):
        known[_key(z, there)] = end
        known[_key(end, back)] = z
    return type("Told", (Knowing,), {"answers": known})


def _truth(item: Item) -> Image.Image:
    assert item.truth is not None
    return item.truth()


def _key(z: Tensor, tokens: Tensor) -> bytes:
    return z.numpy().tobytes() + tokens.numpy().tobytes()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept(Rendered):
    """A picture that was rendered once, for all tests."""

    image: Image.Image
    name: str

    def __call__(self) -> Image.Image:
        return self.image

    def fingerprint(self) -> str:
        return self.name


@functools.cache
def some_items() -> tuple[Item, ...]:
    """The first twelve items of the calibration split, rendered; the tenth asks for nothing."""
    found: list[Item] = []
    for item in counterfactual("portraits", "calibration").head(12).items:
        assert item.truth is not None
        assert item.mask is not None
        mask = item.mask()
        picture = _kept(item.picture, f"{item.id} picture")
        truth = picture if item.kind in ("nothing", "contradiction") else _kept(item.truth, f"{item.id} truth")
        found.append(dataclasses.replace(item, picture=picture, truth=truth, mask=lambda mask=mask: mask))
    return tuple(found)


def _kept(drawn: Any, name: str) -> Kept:
    return Kept(scene=drawn.scene, world=drawn.world, image=drawn(), name=name)


@functools.cache
def prepared(count: int = 12, *, reads: bool = True) -> Prepared:
    """Those, encoded by a model of their own."""
    return prepare(RenderedNetwork(reads=reads), some_items()[:count])


def constructed(
    paths: Mapping[str, Mapping[str, Sequence[tuple[float, float, float]]]], **more: Any
) -> list[dict[str, Any]]:
    """Rows of methods on items, from (strength, effect, leakage) of each; ``more`` is in every row."""
    return [
        {
            "method": method,
            "item": item,
            "group": item.split("-")[0],
            "kind": "single",
            "change": "short hair => long hair",
            "asked": "hair",
            "strength": strength,
            "seed": 0,
            "effect": along,
            "leakage": beside,
            "error": (1 - along) ** 2 + beside**2,
            "changed_rms": (along**2 + beside**2) ** 0.5,
            "evaluations": 28.0,
            **more,
        }
        for method, items in paths.items()
        for item, points in items.items()
        for strength, along, beside in points
    ]
