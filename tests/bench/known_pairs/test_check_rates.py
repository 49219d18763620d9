"""Rates of `check`: errors against the truth of a pair, and counts of rows that were made by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentedit_bench.known_pairs.cases import make_case
from latentedit_bench.known_pairs.check_rates import SEEDS, check_summary, mask_around, measured, true_cast

ROW: dict[str, Any] = {
    "kind": "unchanged", "what": "nothing", "image": "moon", "side": 256, "codec": "jpeg", "profile": "none",
    "resized": False, "moved": False, "cast": "none", "true": 0.0, "found": "nothing", "share": 0.0, "covered": None,
    "extra": 0.0, "verdict": "", "masked": ["no edit"], "errors": {"share": [0.0, 0.001], "zoom": None},
}  # fmt: skip
LOCAL = ROW | {"kind": "local", "what": "paste", "true": 0.02, "found": "local change", "covered": 0.9, "masked": []}
LOCAL |= {"errors": {"share": [0.003, 0.001], "zoom": [0.0, 0.1]}}


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_row_compares_the_report_with_the_truth(index: int) -> None:
    """Half of the cases are unchanged, the others have a local change."""
    row = measured("calibration", index)
    case = make_case("calibration", index, kind=row["kind"], seed=SEEDS["calibration"], least=0.005)
    assert row["kind"] == ("unchanged", "local")[index]
    assert (row["image"], row["side"]) == (case.image, max(case.original.shape))
    assert row["true"] == (case.mask > 0.5).mean()
    assert row["covered"] is None or row["covered"] > 0.5
    assert case.damage is not None
    assert row["cast"] == "none" or true_cast(case.damage) >= 2
    assert set(row["errors"]) == {"right_px", "down_px", "zoom", "rotation_degrees", "cast", "share"}


def test_a_mask_is_the_box_around_a_change() -> None:
    generator = np.random.default_rng(0)
    change = np.zeros((100, 200), dtype=bool)
    change[40:50, 60:90] = True
    mask = np.asarray(mask_around(change, generator))
    assert np.argwhere(mask).min(0).tolist() == [34, 54]
    assert np.argwhere(mask).max(0).tolist() == [55, 95]
    anywhere = np.asarray(mask_around(change & False, generator))
    assert (anywhere > 0).sum() == 25 * 50


def test_rates_are_shares_with_exact_intervals() -> None:
    """Two of ten unchanged pairs are false alarms, one of five changes is missed and one covered by less than half."""
    alarm, unsure = ROW | {"found": "local change", "codec": "redrawn"}, ROW | {"found": "faint change"}
    missed = LOCAL | {"found": "nothing", "covered": 0.0, "masked": ["no edit"]}
    rows = [*[ROW] * 7, unsure, alarm, alarm, *[LOCAL] * 3, LOCAL | {"covered": 0.4}, missed]
    report = check_summary(pd.DataFrame([row | {"case": index} for index, row in enumerate(rows)]))
    rates = {one["name"]: (one["wrong"], one["of"]) for one in report["overall"]}
    assert (report["pairs"], report["images"]) == (15, 1)
    assert rates["false alarms"] == (2, 10)
    assert rates["false alarms, not repainted"] == (0, 8)
    assert rates["unchanged, unsure"] == (1, 10)
    assert rates["misses"] == (1, 5)
    assert rates["less than half of the change found"] == (2, 5)
    assert rates["with a mask, changed inside: no edit"] == (1, 5)
    first = report["overall"][0]
    assert (first["low"], first["high"]) == pytest.approx((0.0252, 0.5561), abs=1e-4), "Clopper and Pearson's tables"
    within = {one["name"]: one for one in report["within the uncertainty"]}
    # The two redrawn pairs are left out.
    assert (within["share"]["of"], within["share"]["mean"]) == (13, pytest.approx(8 / 13))
    assert within["zoom"]["of"] == 5
    assert [row["case"] for row in report["alarms"]] == [8, 9]
    assert [row["case"] for row in report["missed"]] == [14]
    assert {(one["kind"], one["name"]): one["wrong"] for one in report["misses"]}["what", "paste"] == 1
