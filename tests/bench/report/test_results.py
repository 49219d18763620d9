"""The files of a finished run hold its numbers, whatever was in it."""

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from latentedit.api.runs.folder import RunFolder
from latentedit_bench.metrics.statistics import SEEDS
from latentedit_bench.ranking.summaries import Comparison
from latentedit_bench.ranking.work import preview_name
from latentedit_bench.report.results import write_results, write_sheet
from latentedit_bench.tuning.search_spaces import Roles
from tests.bench.ranking.small_plan import DATA, NOISY, SLIDER, small_plan
from tests.bench.rendered_network import constructed
from tests.bench.report.report_runs import PLAN as REPORTED

FILES = ["attributes.csv", "comparisons.csv", "curves.csv", "curves.png", "items.csv", "kinds.csv"]
FILES += ["ranking.md", "run.json", "still.csv", "strengths.csv", "summary.csv"]
ROLES = Roles(ours="ours", family=frozenset(("ours", "variant of ours")))
PLAN = REPORTED | {"data": REPORTED["data"] | {"items": 7}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a run that has begun; results are written from the rows that a test gives."""
    path = tmp_path / "run"
    RunFolder.start(path, PLAN, kind="bench", units=["1"], command="latentedit bench run --model x", request={})
    return path


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    """A plot without a legend, or a mean of nothing, is a defect here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        yield


def rows_of(**slopes: Sequence[float]) -> Any:
    """Straight ways, with two pictures whose right answer is themselves."""
    strengths = (0.5, 1.0)
    paths = {
        name: {f"i{index}": [(s, s, slope * s) for s in strengths] for index, slope in enumerate(some)}
        for name, some in slopes.items()
    }
    found = [row | {"seed": seed} for row in constructed(paths) for seed in range(SEEDS)]
    for name in slopes:
        still = constructed({name: {f"q{n}": [(1.0, np.nan, np.nan)] for n in range(2)}}, kind="nothing")
        found += [row | {"changed_rms": 0.123, "error": None} for row in still]
    return pd.DataFrame(found)


def compared(folder: Path, rows: Any) -> list[Comparison]:
    return write_results(folder, rows, ROLES)


@pytest.mark.nightly
def test_every_file_is_there_and_holds_the_numbers(folder: Path) -> None:
    ours, good, bad = [0.1, 0.2] * 4, [0.4, 0.5] * 4, [0.8, 0.9] * 4
    comparisons = compared(folder, rows_of(bad=bad, ours=ours, good=good))
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == FILES
    assert [one.other for one in comparisons] == ["good", "bad"], "the best first"
    table = pd.read_csv(folder / "summary.csv")
    assert list(dict.fromkeys(table["method"])) == ["ours", "good", "bad"]
    above = table[table["measure"] == "above"].set_index("method")["mean"]
    assert above.to_dict() == pytest.approx({"ours": 0.025, "good": 0.205, "bad": 0.725}, rel=1e-4)
    assert len(pd.read_csv(folder / "items.csv")) == 24
    assert set(pd.read_csv(folder / "kinds.csv")["kind"]) == {"single"}
    assert list(pd.read_csv(folder / "still.csv")["mean"]) == pytest.approx([0.123] * 3)
    told = pd.read_csv(folder / "comparisons.csv").set_index(["method", "measure"])["mean"]
    assert told["bad", "above"] == pytest.approx(0.7)
    assert told["good", "above ratio"] == pytest.approx(0.025 / 0.205, rel=1e-4)
    assert RunFolder.read(folder).manifest.plan == PLAN


def test_a_sheet_has_a_row_a_method(tmp_path: Path) -> None:
    """Rows in their order; what is missing stays white; numbers have five digits where a program reads them."""
    plan = small_plan(dataset=DATA.head(2), methods=(SLIDER, NOISY))
    colours = {"source": "red", "truth": "lime", "slide": "blue"}
    for kind, colour in colours.items():
        for item in plan.dataset.items[: 1 if kind == "slide" else 2]:
            place = tmp_path / preview_name(kind, item.id)
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), colour).save(place, lossless=True)
    write_sheet(plan, tmp_path)
    with Image.open(tmp_path / "pictures.png") as sheet:
        pixels = np.asarray(sheet)
    found = [np.argwhere((pixels == ImageColor.getrgb(colour)).all(2)) for colour in colours.values()]
    for above, below in itertools.pairwise(found):
        assert above[:, 0].max() < below[:, 0].min()
    assert len(found[0]) == len(found[1]) == 2 * len(found[2])


@pytest.mark.nightly
def test_values_that_are_all_the_same_can_be_drawn(folder: Path) -> None:
    """Their mean and the ends of its interval may differ by their rounding, to either side."""
    compared(folder, rows_of(ours=[0.7] * 7, other=[0.713] * 11))
    assert (folder / "curves.png").exists()


@pytest.mark.nightly
def test_editors_that_do_nothing_or_take_one_strength_can_be_ranked(folder: Path) -> None:
    """They have no curve; the one no decomposability either."""
    rows = rows_of(ours=[0.1] * 3, once=[0.2] * 3)
    rows = rows[(rows["method"] == "ours") | (rows["strength"] == 1)]
    idle = pd.DataFrame(constructed({"idle": {f"i{n}": [(s, 0.0, 0.0) for s in (0.5, 1.0)] for n in range(3)}}))
    compared(
        folder, pd.concat([rows.assign(decomposability=0.9), idle.assign(decomposability=None)], ignore_index=True)
    )
    page = (folder / "ranking.md").read_text()
    assert "| 2 | once | 0.040" in page
    (third,) = (line for line in page.splitlines() if line.startswith("| 3 | idle |"))
    assert third.startswith("| 3 | idle | 1.000 |")
    assert " - |" in third
