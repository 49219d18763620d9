"""The stored results belong to the cases that are made now: their changes, damages and baselines."""

import csv
from pathlib import Path

import pytest

from latentedit.photo import depth_inside, resized
from latentedit_bench.known_pairs.baselines import baseline
from latentedit_bench.known_pairs.cases import make_case
from latentedit_bench.known_pairs.measured import THRESHOLDS, psnr, soft_iou

PLACE = Path(__file__).parents[3] / "results/keep/rows.csv"
ROWS = {int(row["case"]): row for row in csv.DictReader(PLACE.read_text(encoding="utf-8").splitlines())}
DB, IOU = 0.05, 2e-3  # versions of OpenCV and Pillow round differently; other changes or damages differ by decibels

# Each kind of case, change and codec, as small as there is.
LOCAL = (1, 2, 3, 6, 7, 8, 12, 19, 20, 31, 47, 69, 77, 83, 84, 85, 88, 105)
OTHERS = (14, 17, 32, 34, 51, 53, 56, 72, 90, 92, 112)


@pytest.mark.parametrize("index", [*LOCAL, *OTHERS])
def test_a_stored_row_is_of_the_case_that_is_made_now(index: int) -> None:
    case, row = make_case("test", index), ROWS[index]
    found = (case.kind, case.what, case.image, str(max(case.original.shape)), case.damage.codec if case.damage else "")
    assert found == tuple(row[name] for name in ("kind", "what", "image", "side", "codec"))
    raw = resized(case.edited, case.original.shape[1::-1])
    if row["editor_outside_db"]:
        assert psnr(raw, case.truth, case.mask == 0) == pytest.approx(float(row["editor_outside_db"]), abs=DB)
    assert case.kind != "global" or case.mask.mean() > 0.9
    assert case.kind != "local" or case.mask.mean() >= 0.003


@pytest.mark.slow_except("1")
@pytest.mark.parametrize("index", [1, 3, 6, 31, 69, 83])
def test_stored_baselines_are_those_of_now(index: int) -> None:
    case, row = make_case("test", index), ROWS[index]
    assert case.damage is not None
    shown = depth_inside(case.damage.matrix, case.original.shape[1::-1], case.edited.shape[1::-1]) >= 0
    inside = (case.mask > 0.5) & shown
    for name, threshold in THRESHOLDS.items():
        image, mask = baseline(name, case.original, case.edited, threshold)
        assert psnr(image, case.truth, case.mask == 0) == pytest.approx(float(row[f"{name}_outside_db"]), abs=DB)
        assert psnr(image, case.truth, inside) == pytest.approx(float(row[f"{name}_inside_db"]), abs=DB)
        assert soft_iou(mask[shown], case.mask[shown]) == pytest.approx(float(row[f"{name}_iou"]), abs=IOU)
