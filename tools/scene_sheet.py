"""The pictures of the page on scenes: every kind of change with its masks, and graded ones with what lies between.

Run: ``python -m tools.scene_sheet`` (some minutes on one core); it writes ``docs/pictures/rendered/``.
"""

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from latentedit_scenes.attributes import Attributes, draw_split
from latentedit_scenes.edits import KINDS, Edit, draw_edits
from latentedit_scenes.masks import ChangeMasks, change_masks
from latentedit_scenes.parameters import between
from latentedit_scenes.render import render_array

FOLDER = Path("docs/pictures/rendered")
SIDE = 144
_TEXT = 46  # pixels below a picture
_GAP = 8
_TINTS = ((230, 40, 40), (30, 170, 60))  # of the change, and of its side effects


def main() -> None:
    """Write all sheets."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    edits = [edit for edit in draw_edits("test", 2 * len(KINDS), 11) if edit.kind != "graded"][: len(KINDS) - 1]
    rows = [_edit_row(edit) for edit in edits]
    left, right = rows[: (len(rows) + 1) // 2], rows[(len(rows) + 1) // 2 :]
    blank = np.full_like(rows[0], 255)
    _save("changes.webp", [np.hstack(pair) for pair in itertools.zip_longest(left, right, fillvalue=blank)])
    scene = next(one for one in draw_split("test", 200, 3) if len(one.places()) == 3)
    _save("graded.webp", [_graded_row(*pair) for pair in _graded(scene)])


def _graded(scene: Attributes) -> Sequence[tuple[str, Attributes, Attributes]]:
    scene = scene.replace(lamp_side="left", lamp_softness="soft", lamp_warmth="white", time="evening", camera="high")
    place = scene.places()[1]
    ends = {
        f"{place}_size": ("small", "large"),
        f"{place}_material": ("rubber", "metal"),
        "lamp_side": ("left", "right"),
    }
    return [
        (f"{name.replace('_', ' ')}: {first} to {last}", scene.replace(**{name: first}), scene.replace(**{name: last}))
        for name, (first, last) in ends.items()
    ]


def _edit_row(edit: Edit) -> NDArray[np.uint8]:
    before, after = (render_array(edit.at(strength), SIDE) for strength in (0, 1))
    shown = _tinted(after, change_masks(edit.at(0), edit.at(1), SIDE))
    return _captioned([before, after, shown], [f"{edit.kind}: {edit.instruction}"])


def _graded_row(told: str, source: Attributes, target: Attributes) -> NDArray[np.uint8]:
    pictures = [render_array(between(source, target, share), SIDE) for share in (0, 0.25, 0.5, 0.75, 1)]
    return _captioned(pictures, [told])


def _tinted(picture: NDArray[np.uint8], masks: ChangeMasks) -> NDArray[np.uint8]:
    shown = picture.mean(axis=2, keepdims=True).repeat(3, axis=2)
    for mask, tint in zip((masks.change, masks.side_effects), _TINTS, strict=True):
        shown[mask] = 0.5 * shown[mask] + 0.5 * np.array(tint)
    return shown.astype(np.uint8)


def _captioned(pictures: Sequence[NDArray[np.uint8]], lines: Sequence[str]) -> NDArray[np.uint8]:
    """Pictures beside each other, with a text below."""
    gap = np.full((SIDE, _GAP, 3), 255, np.uint8)
    row = np.hstack([part for picture in pictures for part in (picture, gap)])
    sheet = Image.new("RGB", (row.shape[1], SIDE + _TEXT), "white")
    sheet.paste(Image.fromarray(row))
    text = "\n".join(part for line in lines for part in textwrap.wrap(line, row.shape[1] // 7))
    ImageDraw.Draw(sheet).multiline_text((2, SIDE + 4), text, fill="black", font=ImageFont.load_default(13))
    return np.asarray(sheet)


def _save(name: str, rows: Sequence[NDArray[np.uint8]]) -> None:
    Image.fromarray(np.vstack(list(rows))).save(FOLDER / name, quality=88)
    print(FOLDER / name)


if __name__ == "__main__":
    main()
