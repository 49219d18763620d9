"""The picture of the page on scenes: kinds of change, each with its right answer and where it shows.

Run: ``python -m tools.scene_sheet`` (half a minute on one core); it writes ``docs/pictures/rendered/changes.webp``.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from latentedit_scenes.attributes import NONE, Attributes, draw_split
from latentedit_scenes.domain import SCENES
from latentedit_scenes.masks import changed_pixels
from latentedit_scenes.parameters import parameters_of

FOLDER = Path("docs/pictures/rendered")
SIDE = 144
_TEXT = 46  # pixels below a picture
_GAP = 8
_TINTS = ((230, 40, 40), (30, 170, 60))  # of the change, and of its side effects


CHANGES: Sequence[Mapping[str, str]] = (
    {"middle_shape": "cone"},
    {"middle_color": "yellow"},
    {"middle_material": "metal"},
    {"middle_size": "small"},
    {"middle_shape": NONE},
    {"floor_texture": "striped"},
    {"wall_color": "blue"},
    {"lamp_side": "left"},
    {"camera": "low"},
    {"left_material": "plastic", "time": "night"},
)
"""Of the same scene; two in a row of the sheet."""


def main() -> None:
    """Write the sheet."""
    scene = next(one for one in draw_split("test", 200, 3) if len(one.places()) == 3).replace(
        middle_shape="ball", middle_color="red", middle_material="rubber", middle_size="large", lamp_side="right",
        left_material="metal", floor_texture="plain", wall_color="gray", camera="high", time="day",
    )  # fmt: skip
    rows = [_row(scene, change) for change in CHANGES]
    pairs = zip(rows[: len(rows) // 2], rows[len(rows) // 2 :], strict=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    sheet = np.vstack([np.hstack(pair) for pair in pairs])
    Image.fromarray(sheet).save(FOLDER / "changes.webp", quality=88)


def _row(scene: Attributes, change: Mapping[str, str]) -> NDArray[np.uint8]:
    answer = SCENES.change(scene, change)
    before, after = (SCENES.render_at(one, SIDE) for one in (scene, answer))
    changed = changed_pixels(parameters_of(scene), parameters_of(answer), SIDE)
    shown = _tinted(after, (changed, SCENES.side_effects(scene, answer, before, after)))
    told = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in change.items())
    return _captioned([before, after, shown], told)


def _tinted(picture: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    shown = picture.mean(axis=2, keepdims=True).repeat(3, axis=2)
    for mask, tint in zip(masks, _TINTS, strict=True):
        shown[mask] = 0.5 * shown[mask] + 0.5 * np.array(tint)
    return shown.astype(np.uint8)


def _captioned(pictures: Sequence[NDArray[np.uint8]], words: str) -> NDArray[np.uint8]:
    """Pictures beside each other, with a text below."""
    gap = np.full((SIDE, _GAP, 3), 255, np.uint8)
    row = np.hstack([part for picture in pictures for part in (picture, gap)])
    sheet = Image.new("RGB", (row.shape[1], SIDE + _TEXT), "white")
    sheet.paste(Image.fromarray(row))
    text = "\n".join(textwrap.wrap(words, row.shape[1] // 7))
    ImageDraw.Draw(sheet).multiline_text((2, SIDE + 4), text, fill="black", font=ImageFont.load_default(13))
    return np.asarray(sheet)


if __name__ == "__main__":
    main()
