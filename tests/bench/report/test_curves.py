"""The plots, as a file and as SVG."""

import re
import warnings
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from PIL import Image

from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.summaries import Summaries
from latentedit_bench.report.curves import curves_svg, write_curves
from latentedit_bench.tuning.search_spaces import Roles
from tests.bench.report.report_runs import SLOPES, rows_of

ROWS = pd.DataFrame([row for name in SLOPES for row in rows_of(name)])


@pytest.mark.nightly
def test_svg_is_sound_readable_and_in_the_colour_of_its_page(tmp_path: Path) -> None:
    found = Summaries.of(ROWS, Roles())
    drawn = curves_svg(found)
    for plot, words in zip(drawn, (("eim", "sdedit", "flow<edit>"), tuple(SLOPES)), strict=True):
        root = ET.fromstring(plot)
        texts = ["".join(part.itertext()).strip() for part in root.iter("{http://www.w3.org/2000/svg}text")]
        assert set(words) <= set(texts), "as text, not as shapes"
        assert "currentColor" in plot
        assert "#010203" not in plot
        assert re.findall(r'href="(?!#)', plot) == []
    assert curves_svg(found) == drawn, "the same run gives the same plot"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_curves(tmp_path / "curves.png", found)
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > 2 * image.height, "both are in one file"
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)


@pytest.mark.nightly
def test_runs_without_ours_or_with_one_strength() -> None:
    curves, _ = curves_svg(Summaries.of(ROWS[ROWS["method"] != "eim"], Roles()))
    named = {name for name in SLOPES if name in {part.text for part in ET.fromstring(curves).iter()}}
    assert named == set(SLOPES) - {"eim", CODEC}
    assert len(curves_svg(Summaries.of(ROWS[ROWS["strength"] == 1], Roles()))) == 1
