"""A domain of two attributes without order, as a stranger would write it: its counterfactuals, areas and pictures."""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from latentedit.core.plugins import DOMAINS
from latentedit_bench.data.counterfactual import SIZES, counterfactual
from latentedit_bench.data.loading import load_dataset
from latentedit_bench.domains import base
from latentedit_bench.domains.areas import measured_areas
from latentedit_bench.domains.base import Domain, Split, domain

SIDES = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 255, 0)}


class Halves:
    """Pictures of two colours; a scene is both. There are nine, so splits are by their order in a shuffle."""

    name = "halves"
    values: ClassVar[Mapping[str, Sequence[str]]] = {"left": tuple(SIDES), "right": tuple(SIDES)}
    ordered: ClassVar[Mapping[str, Sequence[str]]] = {}
    tied: ClassVar[Mapping[str, str]] = {}
    plain_changes: ClassVar[Mapping[str, tuple[str, str]]] = {"left": ("red", "blue"), "right": ("red", "blue")}

    def draw(self, split: Split, count: int, seed: int) -> list[tuple[str, str]]:
        scenes = sorted(itertools.product(SIDES, SIDES))
        return random.Random(f"{split}/{seed}").choices(scenes, k=count)

    def attributes(self, scene: tuple[str, str]) -> dict[str, str]:
        return dict(zip(self.values, scene, strict=True))

    def alternatives(self, scene: tuple[str, str]) -> dict[str, list[str]]:
        return {name: [one for one in SIDES if one != own] for name, own in self.attributes(scene).items()}

    def change(self, scene: tuple[str, str], change: Mapping[str, str]) -> tuple[str, ...]:
        return tuple({**self.attributes(scene), **change}.values())

    def render(self, scene: tuple[str, str]) -> np.ndarray:
        return np.repeat(np.array([[SIDES[one] for one in scene]], np.uint8), 8, axis=1).repeat(16, axis=0)

    def phrases(self, scene: tuple[str, str]) -> list[str]:
        return [f"{colour} {side}" for side, colour in self.attributes(scene).items()]

    def caption(self, phrases: Sequence[str]) -> str:
        return ", ".join(phrases)

    def paraphrase(self, scene: tuple[str, str], generator: random.Random) -> str:
        return ", ".join(reversed(self.phrases(scene)))

    def words(self, caption: str) -> list[str]:
        return caption.split()

    def read(self, pixels: torch.Tensor) -> list[tuple[str, ...]]:
        names = list(SIDES)
        order = [0, 2, 1]  # channels: red, green, blue
        return [tuple(names[order[int(one[:, 8, x].argmax())]] for x in (4, 12)) for one in pixels]

    def pictures(self, model: str, count: int) -> list[Image.Image] | None:
        return None


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(type(DOMAINS), "load", lambda *_: Halves)
    base.domain.cache_clear()
    yield
    base.domain.cache_clear()


@pytest.mark.parametrize("captions", ["full", "partial"])
def test_a_strangers_world_is_a_data_set(captions: str) -> None:
    data = load_dataset("counterfactual-halves", split="test", captions=captions)
    assert data.name == f"counterfactual-halves/test/{captions}"
    assert len(data.items) == SIZES["test"]
    assert {item.kind for item in data.items} == {"single", "pair", "triple", "nothing", "contradiction"}
    assert data.fingerprint == counterfactual("halves", "test", captions=captions).fingerprint
    for item in data.items[:20]:
        assert item.truth is not None
        assert item.mask is not None
        differ = (np.asarray(item.picture()) != np.asarray(item.truth())).any(2)
        assert np.array_equal(item.mask(), differ)
        assert differ.any() == bool(item.about["asked"])
        for side in filter(None, item.about["asked"].split(",")):
            assert side in item.target_caption


def test_areas_and_readings_are_those_of_the_renderer() -> None:
    assert isinstance(Halves(), Domain)
    assert measured_areas(domain("halves"), scenes=2) == {"left": 0.5, "right": 0.5}
    scenes = Halves().draw("test", 4, 0)
    pixels = torch.stack([torch.from_numpy(Halves().render(scene).copy()).permute(2, 0, 1) for scene in scenes])
    assert Halves().read(pixels.float() / 127.5 - 1) == scenes
