"""The sheet of edits: a row a method, a column an item, gaps where there is no picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit.benchmark.items import Item
from latentedit.benchmark.sheet import draw_edits
from latentedit.errors import OutputError


def plain(colour: str) -> Image.Image:
    return Image.new("RGB", (20, 20), colour)


def items() -> list[Item]:
    texts = {"source_caption": "a", "target_caption": "b"}
    first = Item(id="1", picture=lambda: plain("red"), truth=lambda: plain("lime"), about={"change": "hue"}, **texts)
    return [first, Item(id="2", picture=lambda: plain("red"), **texts)]


def test_every_picture_has_its_place(tmp_path: Path) -> None:
    """Rows: the pictures, the right answers, and the methods in their order; what is missing stays white."""
    place = tmp_path / "sheet.png"
    draw_edits(items(), {"one": [plain("blue"), None], "two": [plain("cyan"), plain("magenta")]}, place, title="T")
    with Image.open(place) as sheet:
        pixels = np.asarray(sheet)
    rows = {}
    for name, colour in {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "cyan": (0, 255, 255)}.items():
        rows[name] = np.argwhere((pixels == colour).all(2))
    assert rows["red"][:, 0].max() < rows["lime"][:, 0].min()
    assert rows["lime"][:, 0].max() < rows["blue"][:, 0].min() <= rows["blue"][:, 0].max() < rows["cyan"][:, 0].min()
    assert len(rows["red"]) == 2 * len(rows["lime"]) == 2 * len(rows["blue"]) == 2 * len(rows["cyan"])
    second = np.argwhere((pixels == (255, 0, 255)).all(2))
    assert second[:, 1].min() > rows["cyan"][:, 1].max()
    assert second[:, 0].min() == rows["cyan"][:, 0].min()


def test_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="missing"):
        draw_edits(items(), {}, tmp_path / "missing" / "sheet.png", title="T")
