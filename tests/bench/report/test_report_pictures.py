"""The best, the median and the worst edit of each method, with its pictures."""

import io
from pathlib import Path

import pytest
from PIL import Image

from latentedit.api.outputs import same_picture
from latentedit.api.runs.folder import RunFolder
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.run import table_of
from latentedit_bench.report.report_pictures import examples
from tests.bench.report.report_runs import SLOPES, made_run, picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("run"))


def test_best_median_and_worst_by_error(folder: Path) -> None:
    found = examples(folder, table_of(RunFolder.read(folder)))
    assert set(found) == set(SLOPES) - {CODEC}
    assert [(one.place, one.item) for one in found["eim"]] == [("best", "i0"), ("median", "i3"), ("worst", "i7")]
    worst = found["sdedit"][2]
    assert worst.numbers["error"] == f"{0.97**2:.3f}"
    assert worst.numbers["SDE"] == "0.550"
    assert (worst.kind, worst.change, worst.asked) == ("single", "short hair => long hair", "eyes")
    view = worst.view
    assert view is not None
    edited = Image.open(io.BytesIO(picture(80))).convert("RGB")
    assert same_picture(view.frames[0].image, edited), "that of this method"
    assert set(view.others) == {"right answer"}
    assert view.title == "worst: i7"
    assert view.frames[0].reason.startswith("error 0.941; effect 1.000; SDE 0.550")
    assert found["eim"][1].view is None, "it is missing"


def test_few_items(folder: Path) -> None:
    rows = table_of(RunFolder.read(folder))
    two = examples(folder, rows[rows["item"].isin(["i2", "i5"])])["eim"]
    assert [(one.place, one.item) for one in two] == [("best", "i2"), ("worst", "i5")]
    assert [one.place for one in examples(folder, rows[rows["item"] == "i2"])["eim"]] == ["best"]


def test_without_right_answers_the_first_are_shown(folder: Path) -> None:
    rows = table_of(RunFolder.read(folder))[["method", "item", "group", "kind", "change", "strength", "changed_rms"]]
    found = examples(folder, rows)["eim"]
    assert [(one.place, one.item, one.asked) for one in found] == [("", "i0", ""), ("", "i1", ""), ("", "i2", "")]
    assert list(found[0].numbers) == ["changed by (rms, white is 1)"]
