"""False statements of certainty of `latentedit check` and `latentedit keep` on made pairs of ten kinds.

Plan, written before the first run with seed 9595, at which nobody has looked: 240 pairs of the test half, 24 of each
kind of `certain_pairs.KINDS`, which take turns. Of "sixty" and "kept" all are changed; of the others, every third is
not. Seed 9501 and the photographs of the calibration half are for trying the code. The same pairs are measured before
and after the changes; nothing is changed and run again on seed 9595.

What counts as false, if the report has no doubt (`is_doubtful`), for a change before the editor's damage:
* nothing: "nothing" or "only reframed", where at least 7 levels changed over a square of the side that the sentence
  names; or "identical", where any pixel differs. If it names a strength ("stronger than 9 levels"), that, up to 24.
* alarm: a local change, or an edit that passes, where nothing was changed.
* share: the interval of the changed share is below .85 of the least true one less .5 % of the image, or above 1.15 of
  the largest and .5 %. The least one has the pixels that changed by half of the change's own strength, at most by 7
  levels; the largest all that changed by more than 1, and a margin of .6 % of the side (16 px of exports, the blocks).
* whole: "redrawn", "different images" or changed colors, where at most a part was changed and the cast is light.
* far: in the result of `keep`, more than .05 % of the image lies over 5 % of the side from the true change and differs
  from the original by more than 6 levels.
* failed: the mask holds the change, and the check fails for a change outside, of the whole image, or for strangers.
Whatever the doubts:
* rest: "identical" elsewhere, where a pixel outside of the kept part differs.
* contradiction: the check with the editor's mask passes the edited image, and fails on the result of `keep`.
* uncertain: changed colors as the verdict, by a value not above its own uncertainty (of a local change it is the share
  that is uncertain, and not that there is one).
A pair is false if any is. Criterion: at most 1 % of the pairs, the upper end of the exact 95 % interval at most 3 %.
Doubtful reports are not false; they, misses (nothing found, or all of it elsewhere) and alarms (doubtful ones, too)
are counted beside. An error of the program is a miss or an alarm, and false. That a scrolled part is not named as moved
counted as false until 30 November 2026, when `keep` ceased to look for it.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit import CheckResult, check
from latentedit.keeping import Report
from latentedit.photo import Mask, depth_inside
from latentedit.pixels import LOCAL
from latentedit_bench.known_pairs.cases import Half, Plane
from latentedit_bench.known_pairs.certain_pairs import KINDS, Pair, make_pair
from latentedit_bench.known_pairs.check_rates import mask_around, rate
from latentedit_bench.known_pairs.measured import Row, case_work
from latentedit_bench.known_pairs.opencv import cv2
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.work import UnitWork

SEEDS: dict[Half, int] = {"calibration": 9501, "test": 9595}
PAIRS = 24 * len(KINDS)
_VISIBLE = 7.0  # levels
_MOST = 24.0  # levels; a sentence that leaves out more than the strongest tint says nothing
_SHARE = (0.15, 0.005)  # tolerance of a true share, and of the image
_FAR = (0.05, 6, 5e-4)  # share of the side, levels, and share of the image
_MARGIN = 0.006  # share of the side
_BLOCK_PX = 16  # block of JPEG: two exports differ there around a change
_GAP_PX = 5  # between letters, or places of a change that happen to be alike
# Clauses among the doubts that do not make the verdict less certain.
_PLAIN = re.compile(
    r"nothing larger|only the colors changed|\d+ faint difference|the two images have different color|the original's "
    r"alpha|the edited image has no transparency|the editor turned|\d+ % of the (original|edited image)|the mask|"
    r"everything that changed lies"
)


def certainty_work(split: str, count: int) -> UnitWork:
    """The first pairs of a split as units of work."""
    return case_work(split, count, seeds=SEEDS, row=measured)


def measured(half: Half, index: int) -> Row:
    """The statements about one pair, and the false ones among them."""
    pair = make_pair(half, index, seed=SEEDS[half])
    difference = true_difference(pair)
    row = {
        "case": index, "kind": pair.kind, "what": pair.what, "image": pair.image, "changed": bool(difference.any()),
        "moved": pair.moved, "side": max(pair.original.shape),
    }  # fmt: skip
    mask = mask_around(surroundings(pair, difference), np.random.default_rng(index)) if pair.mask is None else pair.mask
    try:
        result = check(Image.fromarray(pair.original), Image.fromarray(pair.edited))
        masked = check(kept=result.kept, mask=np.asarray(mask)).report
        again = check(result.kept.original, result.kept.kept, mask=np.asarray(mask)).report
    except Exception as error:  # noqa: BLE001 (any error of the program is counted)
        nothing = {"false": ["error"], "doubtful": False, "missed": row["changed"], "alarm": not row["changed"]}
        return row | nothing | {"found": "error", "verdict": repr(error)}
    report = result.report
    elsewhere = report.found in LOCAL and not result.changed[difference > 0].any()
    return row | {
        "found": report.found, "verdict": report.verdict, "doubts": list(report.doubts), "also": list(report.also),
        "share": [report.changed.value, report.changed.uncertainty], "true": true_shares(pair, difference),
        "false": false_statements(pair, difference, result, masked, again),
        "doubtful": is_doubtful(report), "masked": list(masked.reasons), "again": list(again.reasons),
        "missed": row["changed"] and (report.found in ("nothing", "identical", "reframed") or elsewhere),
        "alarm": not row["changed"] and not pair.moved and report.found in LOCAL,
    }  # fmt: skip


def true_difference(pair: Pair) -> Plane:
    """How far the edit changed each of the original's pixels that the edited image shows; the largest channel."""
    size, edited = (image.shape[1::-1] for image in (pair.original, pair.edited))
    shown = depth_inside(pair.matrix, size, edited) >= 0
    return np.abs(pair.after.astype(np.float32) - pair.before).max(axis=2) * shown


def true_shares(pair: Pair, difference: Plane) -> tuple[float, float]:
    """The least and the largest share of the image that may be said to have changed."""
    some = difference[difference > 0]
    if not some.size:
        return 0.0, 0.0
    least = min(_VISIBLE, float(np.quantile(some, 0.9)) / 2)
    return float((difference >= least).mean()), float(surroundings(pair, difference).mean())


def surroundings(pair: Pair, difference: Plane) -> Mask:
    """The change, and as much around it as a file that holds it may differ in."""
    margin = _BLOCK_PX if pair.kind == "codec" else round(_MARGIN * max(pair.original.shape))
    return cv2.dilate(_closed(difference > 1), _square(2 * margin + 1)) > 0


def is_doubtful(report: Report) -> bool:
    """Whether a report says that it is not certain: a faint change, or a doubt of more than what is routine."""
    return report.found == "faint change" or not all(_PLAIN.match(doubt) for doubt in report.doubts)


def false_statements(pair: Pair, difference: Plane, result: CheckResult, masked: Report, again: Report) -> list[str]:
    """Names of the false statements; ``masked`` and ``again`` are of the edited image and of the result with a mask."""
    report, kept, some = result.report, result.kept, bool(difference.any())
    local, same_size = report.found in ("local change", "background replaced"), pair.original.shape == pair.edited.shape
    value, off, (low, high) = report.changed.value, report.changed.uncertainty, true_shares(pair, difference)
    colors = report.recolored or report.verdict.startswith("only the colors")
    apart = (pair.original != pair.edited).any(axis=2) if same_size else np.zeros_like(difference, dtype=bool)
    near = cv2.distanceTransform((difference <= 1).astype(np.uint8), cv2.DIST_L2, 5) <= _FAR[0] * max(difference.shape)
    levels = np.abs(np.asarray(kept.image.convert("RGB")).astype(int) - pair.original).max(axis=2)
    far = (levels > _FAR[1]) & ~(near & some)
    wrong = ("changed outside", "whole image", "different images")
    certain = {
        "nothing": report.found in ("nothing", "reframed") and _promised(difference, report),
        "alarm": not some and not pair.moved and (local or masked.passed is True),
        "share": some and local and not pair.moved and not _within(low, high, value - off, value + off),
        "whole": report.found in ("redrawn", "different images") or colors,
        "far": not pair.moved and not kept.analysis.is_global and float(far.mean()) > _FAR[2],
        "failed": some and not pair.moved and any(one in masked.reasons for one in wrong),
    }
    always = {
        "nothing": report.found == "identical" and bool(apart.any() or not same_size),
        "rest": report.rest == "identical" and bool((apart & (np.asarray(kept.mask) == 0)).any()),
        "contradiction": masked.passed is True and again.passed is False and "unsure" not in again.reasons,
        "uncertain": colors and report.cast is not None and report.cast.value <= report.cast.uncertainty,
    }
    doubtful = is_doubtful(report)
    return sorted(
        {name for name, holds in certain.items() if holds and not doubtful} | {n for n, h in always.items() if h}
    )


def _within(low: float, high: float, least: float, most: float) -> bool:
    return most >= (1 - _SHARE[0]) * low - _SHARE[1] and least <= (1 + _SHARE[0]) * high + _SHARE[1]


def _promised(difference: Plane, report: Report) -> bool:
    """Whether the change is at least as large and as strong as what the report says that there is not."""
    named = re.search(r"stronger than (\d+(?:\.\d+)?)", report.verdict)
    strength = _VISIBLE if named is None else min(_MOST, max(_VISIBLE, float(named[1])))
    square = _square(max(1, report.least_px or 1))
    return bool(cv2.erode(_closed(difference >= strength), square, borderValue=0).any())


def _closed(mask: Mask) -> Any:
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _square(_GAP_PX))


def _square(side: int) -> NDArray[np.uint8]:
    return np.ones((side, side), dtype=np.uint8)


def certainty_summary(rows: Table) -> dict[str, Any]:
    """Rates with exact 95 % intervals (Clopper and Pearson) over pairs, in all and by kind."""
    wrong, unchanged = rows["false"].str.len() > 0, ~rows["changed"] & ~rows["moved"]
    names = sorted({name for some in rows["false"] for name in some})
    counts = {
        "false": wrong, "doubtful": rows["doubtful"], "misses": rows["missed"][rows["changed"]],
        "alarms": rows["alarm"][unchanged],
    }  # fmt: skip
    kinds = {kind: some.index for kind, some in rows.groupby("kind", sort=False)}
    return {
        "pairs": len(rows),
        "overall": [{"name": name, **rate(values)} for name, values in counts.items()],
        "kinds": [
            {"kind": kind, "name": name, **rate(values[values.index.isin(index)])}
            for kind, index in kinds.items()
            for name, values in counts.items()
        ],
        "statements": {
            name: rows["false"].map(lambda some, name=name: name in some).groupby(rows["kind"]).sum().to_dict()
            for name in names
        },
    }
