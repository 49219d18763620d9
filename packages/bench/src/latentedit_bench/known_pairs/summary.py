"""What the rows of all cases say: shares of cases against what they should be, and medians beside other methods."""

from typing import Any

from latentedit_bench.known_pairs.cases import DRAWN
from latentedit_bench.known_pairs.measured import THRESHOLDS
from latentedit_bench.metrics.statistics import Table, over_groups


def summary(rows: Table) -> dict[str, Any]:
    """Everything; intervals are over photographs, most of which are in many cases, and over drawn portraits."""
    group = rows["picture"].where(rows["picture"] != DRAWN, rows["case"].astype(str))
    rows = rows.assign(group=group).set_index("group")
    local = rows[rows["kind"] == "local"]
    return {
        "cases": len(rows),
        "bars": _bars(rows, local),
        "against": [_medians(local, name) for name in ("keep", "editor", *THRESHOLDS, "bound")],
        "parts": {by: [_part(by, value, some) for value, some in local.groupby(by)] for by in ("what", "codec")},
        "worst": local.nsmallest(10, "keep_iou").to_dict("records"),
    }


def _bars(rows: Table, local: Table) -> list[dict[str, Any]]:
    """Share of the cases whose value is the least wanted one or more, and the bar for that share."""
    outside = local["keep_outside_db"] - local["editor_outside_db"]
    inside, frame, strangers = local["keep_inside_db"], -rows["shift_error_px"], rows[rows["kind"] == "different"]
    wanted = [
        ("outside at least 20 dB better than the editor's image", 0.95, outside, 20),
        ("nothing touched farther than 12 px from the change", 0.99, -rows["keep_far_touched"], 0),
        ("inside at most 1 dB below the bound (true mask, true frame)", 0.5, inside - local["bound_inside_db"], -1),
        ("inside no worse than the aligned image", 0.9, inside - local["aligned_inside_db"], 0),
        ("error of the frame at most 0.03 px", 0.5, frame, -0.03),
        ("error of the frame at most 0.2 px", 0.95, frame, -0.2),
        ("soft IoU of the mask at least 0.95", 0.5, local["keep_iou"], 0.95),
        ("soft IoU of the mask at least 0.85", 0.9, local["keep_iou"], 0.85),
        ("verdict right", 0.95, rows["right"], 1),
        ("different images not called kept", 1.0, (strangers["verdict"] != "kept").astype(float), 1),
    ]
    told: list[dict[str, Any]] = []
    for statement, bar, values, least in wanted:
        known = values.dropna()
        share = over_groups(known >= least)
        ends = {"value": share.mean, "low": share.low, "high": share.high}
        told.append({"statement": statement, **ends, "bar": bar, "cases": len(known), "holds": share.mean >= bar})
    return [one for one in told if one["cases"]]


def _medians(local: Table, method: str) -> dict[str, Any]:
    known = [name for name in ("iou", "inside_db", "outside_db") if f"{method}_{name}" in local]
    return {"method": method, **{name: float(local[f"{method}_{name}"].median()) for name in known}}


def _part(by: str, value: str, some: Table) -> dict[str, Any]:
    told = {
        "iou": some["keep_iou"].median(),
        "iou_at_least_85": (some["keep_iou"].dropna() >= 0.85).mean(),
        "inside_below_bound_db": (some["bound_inside_db"] - some["keep_inside_db"]).median(),
    }
    return {by: value, "cases": len(some), **told}
