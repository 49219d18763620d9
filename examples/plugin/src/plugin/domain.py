"""A domain: images that can be drawn, described, changed and read. See `latentedit_bench.domains.base`."""

import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "black": (0, 0, 0)}
SPLITS = ("train", "calibration", "test")
Scene = tuple[int, str, str]  # where the square is, its color, the wall's


class Squares:
    """A square on a wall, 64 x 64 pixels; the place of the square tells the splits apart."""

    name = "plugin-domain"
    values: ClassVar = {"square": tuple(COLORS), "wall": tuple(COLORS)}
    ordered: ClassVar = {}
    part_of: ClassVar = {}
    plain_changes: ClassVar = {"square": ("red", "blue"), "wall": ("red", "blue")}

    def draw(self, split: str, count: int, seed: int) -> list[Scene]:
        places = range(SPLITS.index(split), 900, len(SPLITS))
        scenes = [(place, one, other) for place in places for one in COLORS for other in COLORS if one != other]
        return random.Random(seed).sample(scenes, count)

    def attributes(self, scene: Scene) -> dict[str, str]:
        return {"square": scene[1], "wall": scene[2]}

    def alternatives(self, scene: Scene) -> dict[str, list[str]]:
        return {name: [one for one in COLORS if one not in scene[1:]] for name in self.values}

    def change(self, scene: Scene, change: Mapping[str, str]) -> Scene:
        return (scene[0], *(self.attributes(scene) | dict(change)).values())

    def render(self, scene: Scene) -> np.ndarray:
        return self.render_at(scene, 64)

    def render_at(self, scene: Scene, side: int) -> np.ndarray:
        image = np.full((side, side, 3), COLORS[scene[2]], np.uint8)
        x, y, end_x, end_y = (place * side // 64 for place in (*self._place(scene), *self._place(scene, 30)))
        image[y:end_y, x:end_x] = COLORS[scene[1]]
        return image

    def _place(self, scene: Scene, beyond: int = 0) -> tuple[int, int]:
        return scene[0] % 30 + beyond, scene[0] // 30 + beyond

    def phrases(self, scene: Scene) -> list[str]:
        return [f"a {scene[1]} square", f"a {scene[2]} wall"]

    def caption(self, phrases: Sequence[str]) -> str:
        return " and ".join(phrases)

    def paraphrase(self, scene: Scene, generator: random.Random) -> str:
        return f"{generator.choice(('one', 'a'))} {scene[1]} square on a {scene[2]} wall"

    def words(self, caption: str) -> list[str]:
        return caption.split()

    def read(self, pixels: object) -> list[Scene]:
        raise NotImplementedError("train a classifier for this domain")

    def images(self, model: str, count: int) -> None:
        return None
