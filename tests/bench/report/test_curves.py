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


@pytest.fixture(scope="module")
def found() -> Summaries:
    rows = pd.DataFrame([row for name in SLOPES for row in rows_of(name)])
    return Summaries.of(rows, Roles())


@pytest.mark.nightly
def test_svg_is_sound_readable_and_in_the_colour_of_its_page(found: Summaries) -> None:
    for drawn, words in zip(curves_svg(found), (("eim", "sdedit", "flow<edit>"), tuple(SLOPES)), strict=True):
        root = ET.fromstring(drawn)
        texts = ["".join(part.itertext()).strip() for part in root.iter("{http://www.w3.org/2000/svg}text")]
        assert set(words) <= set(texts), "as text, not as shapes"
        assert "currentColor" in drawn
        assert "#010203" not in drawn
        assert re.findall(r'href="(?!#)', drawn) == []


@pytest.mark.nightly
def test_without_ours_the_best_are_named() -> None:
    rows = pd.DataFrame([row for name in SLOPES if name != "eim" for row in rows_of(name)])
    curves, _ = curves_svg(Summaries.of(rows, Roles()))
    named = {name for name in SLOPES if name in {part.text for part in ET.fromstring(curves).iter()}}
    assert named == set(SLOPES) - {"eim", CODEC}


@pytest.mark.nightly
def test_the_same_run_gives_the_same_svg(found: Summaries) -> None:
    assert curves_svg(found) == curves_svg(found)


@pytest.mark.nightly
def test_a_run_at_one_strength_has_errors_alone() -> None:
    rows = pd.DataFrame([row for name in SLOPES for row in rows_of(name) if row["strength"] == 1])
    (drawn,) = curves_svg(Summaries.of(rows, Roles()))
    assert "error above the codec" in drawn


@pytest.mark.nightly
def test_both_are_in_one_file(found: Summaries, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_curves(tmp_path / "curves.png", found)
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > 2 * image.height
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
