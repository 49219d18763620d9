"""The sheet of edits: a row a method, a column an item, gaps where there is no picture."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

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
    rows = {"picture": [plain("red"), plain("red")], "right answer": [plain("lime"), None]}
    rows |= {"one": [plain("blue"), None], "two": [plain("cyan"), plain("magenta")]}
    draw_edits(items(), rows, place, title="T")
    with Image.open(place) as sheet:
        pixels = np.asarray(sheet)
    colours = ("red", "lime", "blue", "cyan", "magenta")
    found = [np.argwhere((pixels == ImageColor.getrgb(colour)).all(2)) for colour in colours]
    for above, below in itertools.pairwise(found[:4]):
        assert above[:, 0].max() < below[:, 0].min()
    assert {len(found[0])} == {2 * len(places) for places in found[1:]}
    assert found[4][:, 1].min() > found[3][:, 1].max()
    assert found[4][:, 0].min() == found[3][:, 0].min()


def test_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="missing"):
        draw_edits(items(), {"one": [None, None]}, tmp_path / "missing" / "sheet.png", title="T")
