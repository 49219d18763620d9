"""The sheet of edits: a row a method, a column an item, gaps where there is no picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit.api.manifests.items import Item
from latentedit.core.errors import OutputError
from latentedit_bench.report.sheet import draw_edits


def plain(colour: str) -> Image.Image:
    return Image.new("RGB", (20, 20), colour)


def items() -> list[Item]:
    texts = {"source_caption": "a", "target_caption": "b"}
    first = Item(id="1", picture=lambda: plain("red"), about={"change": "hue"}, **texts)
    return [first, Item(id="2", picture=lambda: plain("red"), **texts)]


def test_every_picture_has_its_place(tmp_path: Path) -> None:
    """Rows in their order; what is missing stays white."""
    place = tmp_path / "sheet.png"
    rows = {
        "picture": [plain("red"), plain("red")],
        "right answer": [plain("lime"), None],
        "one": [plain("blue"), None],
        "two": [plain("cyan"), plain("magenta")],
    }
    draw_edits(items(), rows, place, title="T")
    with Image.open(place) as sheet:
        pixels = np.asarray(sheet)
    found = {}
    for name, colour in {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "cyan": (0, 255, 255)}.items():
        found[name] = np.argwhere((pixels == colour).all(2))
    assert found["red"][:, 0].max() < found["lime"][:, 0].min()
    assert (
        found["lime"][:, 0].max() < found["blue"][:, 0].min() <= found["blue"][:, 0].max() < found["cyan"][:, 0].min()
    )
    assert len(found["red"]) == 2 * len(found["lime"]) == 2 * len(found["blue"]) == 2 * len(found["cyan"])
    second = np.argwhere((pixels == (255, 0, 255)).all(2))
    assert second[:, 1].min() > found["cyan"][:, 1].max()
    assert second[:, 0].min() == found["cyan"][:, 0].min()


def test_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="missing"):
        draw_edits(items(), {"one": [None, None]}, tmp_path / "missing" / "sheet.png", title="T")
