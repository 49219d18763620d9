"""False statements of certainty: the truth of the pairs is what was rendered, and each statement is tried both ways."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from latentedit import CheckResult, check
from latentedit.keeping import Measure
from latentedit_bench.known_pairs import certainty
from latentedit_bench.known_pairs.certain_pairs import KINDS, Pair, make_pair
from latentedit_bench.known_pairs.certainty import (
    PAIRS,
    SEEDS,
    certainty_summary,
    false_statements,
    is_doubtful,
    measured,
    true_difference,
    true_shares,
)

SIDE = 100
BOX = np.s_[40:60, 40:60]  # 4 % of the image
SOME_COLORS = Measure(value=30.0, uncertainty=2.0)


def index_of(kind: str, number: int) -> int:
    return number * len(KINDS) + list(KINDS).index(kind)


def made_pair(levels: int, **more: Any) -> Pair:
    """A gray gradient, of which a square changed by so many levels."""
    before = np.repeat(np.linspace(60, 180, SIDE).astype(np.uint8)[None, :, None], SIDE, axis=0).repeat(3, axis=2)
    after = before.copy()
    after[BOX] += np.uint8(levels)
    given: dict[str, Any] = {"kind": "kept", "what": "", "image": "gradient", "matrix": np.eye(3)}
    return Pair(**given | {"original": before, "edited": after, "before": before, "after": after} | more)


def made_result(pair: Pair, **fields: Any) -> CheckResult:
    """The true report of the pair, with some fields replaced."""
    result = check(Image.fromarray(pair.original), Image.fromarray(pair.edited))
    return dataclasses.replace(result, report=dataclasses.replace(result.report, **fields))


@pytest.mark.slow_except("tint")
@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_is_reproducible_and_has_a_change_unless_it_is_a_third_one(kind: str) -> None:
    again = make_pair("calibration", index_of(kind, 0), seed=4)
    for number in (0, 5):  # neither is HEIC
        one = make_pair("calibration", index_of(kind, number), seed=4)
        if number == 0:
            np.testing.assert_array_equal(one.original, again.original)
            np.testing.assert_array_equal(one.edited, again.edited)
        assert one.kind == kind
        assert one.before.shape == one.after.shape == one.original.shape
        changed = bool((one.before != one.after).any())
        assert changed == (number == 0 or kind in ("sixty", "kept"))
        assert true_difference(one).any() == changed
        if kind != "codec":  # the file of the original has its loss, too
            np.testing.assert_array_equal(one.original, one.before)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "what"), [("screen", "frame"), ("screen", "title bar"), ("edge", "exact")])
def test_without_damage_the_edited_image_differs_exactly_in_the_true_change(kind: str, what: str) -> None:
    """JPEG changes all of an image, and exact variants nothing else."""
    tried = 0
    for seed in range(40):
        pair = make_pair("calibration", index_of(kind, 3 if what == "title bar" else 0), seed=seed)
        assert pair.what == what
        left, top = pair.matrix[:2, 2].astype(int)
        height, width = pair.original.shape[:2]
        shown = pair.edited[top : top + height, left : left + width]
        apart = (shown != pair.original[: len(shown)]).any(axis=2)
        if apart.mean() < 0.2:
            np.testing.assert_array_equal(apart, (true_difference(pair) > 0)[: len(shown)])
            tried += 1
        if tried == 2:
            return
    raise AssertionError("no exact pair was drawn")


@pytest.mark.slow
def test_kinds_have_the_sizes_that_they_state() -> None:
    for number in (1, 2):
        tint, sixty, strip, scrolled = (
            make_pair("calibration", index_of(kind, number), seed=3) for kind in ("tint", "sixty", "panorama", "screen")
        )
        levels = true_difference(tint).max()
        assert 7 <= levels <= 25 if number == 1 else levels == 0
        least, most = true_shares(sixty, true_difference(sixty))
        assert least < 0.77
        assert most > 0.48
        assert 7.9 < max(strip.original.shape) / min(strip.original.shape[:2]) < 9
        assert scrolled.moved == (scrolled.what == "scrolled")


def test_what_the_edited_image_does_not_show_is_no_change() -> None:
    pair = made_pair(60)
    half = np.array([[1.0, 0, -50], [0, 1, 0], [0, 0, 1]])
    assert true_difference(pair).astype(bool).sum() == 400
    assert true_difference(dataclasses.replace(pair, matrix=half))[:, :50].any() == np.False_
    assert true_difference(dataclasses.replace(pair, matrix=half)).astype(bool).sum() == 200


@pytest.mark.parametrize(
    ("levels", "fields", "false"),
    [
        (60, {}, []),
        (60, {"found": "nothing", "least_px": 11, "verdict": "nothing larger than 11 x 11 px changed"}, ["nothing"]),
        (60, {"found": "nothing", "least_px": 30, "verdict": "nothing larger than 30 x 30 px changed"}, []),
        (5, {"found": "nothing", "least_px": 11, "verdict": "nothing larger than 11 x 11 px changed"}, []),
        (10, {"found": "nothing", "least_px": 11, "verdict": "nothing stronger than 12 levels"}, []),
        (60, {"found": "nothing", "least_px": 11, "verdict": "nothing stronger than 90 levels"}, ["nothing"]),
        (60, {"found": "nothing", "least_px": 11, "doubts": ("the rest still differs by 8 levels",)}, []),
        (60, {"found": "nothing", "least_px": 11, "doubts": ("nothing larger than 11 x 11 px",)}, ["nothing"]),
        (60, {"found": "identical"}, ["nothing"]),
        (60, {"found": "identical", "doubts": ("the alignment is uncertain by 2.0 px",)}, ["nothing"]),
        (0, {}, []),
        (0, {"found": "local change"}, ["alarm"]),
        (0, {"found": "faint change"}, []),
        (60, {"changed": Measure(value=0.3, uncertainty=0.1)}, ["share"]),
        (60, {"changed": Measure(value=0.3, uncertainty=0.27)}, []),
        (60, {"changed": Measure(value=0.01, uncertainty=0.01)}, ["share"]),
        (60, {"found": "redrawn"}, ["whole"]),
        (60, {"found": "different images", "doubts": ("the alignment is uncertain by 2.0 px",)}, []),
        (60, {"recolored": True, "cast": SOME_COLORS}, ["whole"]),
        (0, {"recolored": True, "cast": Measure(value=9.0, uncertainty=46.0)}, ["uncertain", "whole"]),
    ],
)  # fmt: skip
def test_what_is_false_of_a_report(levels: int, fields: dict[str, Any], false: list[str]) -> None:
    pair = made_pair(levels)
    result, difference = made_result(pair, **fields), true_difference(pair)
    assert false_statements(pair, difference, result, result.report, result.report) == false


def test_what_is_false_with_a_mask() -> None:
    pair = made_pair(60)
    result, difference = made_result(pair), true_difference(pair)
    passed = dataclasses.replace(result.report, passed=True)
    failed = dataclasses.replace(result.report, passed=False, reasons=("changed outside",))
    unsure = dataclasses.replace(failed, reasons=("unsure",))
    doubtful = dataclasses.replace(result, report=dataclasses.replace(result.report, found="faint change"))
    assert false_statements(pair, difference, result, passed, failed) == ["contradiction"]
    assert false_statements(pair, difference, doubtful, passed, failed) == ["contradiction"]
    assert false_statements(pair, difference, result, passed, unsure) == []
    assert false_statements(pair, difference, result, failed, failed) == ["failed"]
    assert false_statements(pair, difference, doubtful, failed, failed) == []
    same = made_pair(0)
    assert false_statements(same, true_difference(same), made_result(same), passed, passed) == ["alarm"]


def test_pixels_far_from_the_change_and_a_rest_that_differs_are_false() -> None:
    """A second square, of which the truth knows nothing, in the corner: kept, or left out but called identical."""
    pair = made_pair(60)
    edited = pair.edited.copy()
    edited[:8, :8] += np.uint8(50)
    pair = dataclasses.replace(pair, edited=edited)
    result, difference = made_result(pair), true_difference(pair)
    assert false_statements(pair, difference, result, result.report, result.report) == ["far"]
    one = dataclasses.replace(result, kept=result.kept.composed(only=[1]))
    assert false_statements(pair, difference, one, one.report, one.report) == ["rest"]


def test_doubts_that_say_nothing_of_the_verdict_are_none() -> None:
    pair = made_pair(60)
    for doubt, counts in {
        "12 % of the original is outside the edited image": False, "1 faint difference ignored: noise": False,
        "25 separate changes: some may be damage by the editor": True, "unheard of": True,
    }.items():  # fmt: skip
        assert is_doubtful(made_result(pair, doubts=(doubt,)).report) == counts


def test_rates_are_counted_by_kind() -> None:
    row: dict[str, Any] = {"kind": "tint", "changed": True, "moved": False, "false": [], "doubtful": False}
    row |= {"missed": False, "alarm": False}
    rows = [
        row, row | {"false": ["share", "far"], "missed": True}, row | {"changed": False, "alarm": True},
        row | {"kind": "text", "doubtful": True}, row | {"kind": "text", "changed": False},
    ]  # fmt: skip
    report = certainty_summary(pd.DataFrame(rows))
    assert {one["name"]: (one["wrong"], one["of"]) for one in report["overall"]} == {
        "false": (1, 5), "doubtful": (1, 5), "misses": (1, 3), "alarms": (1, 2),
    }  # fmt: skip
    kinds = {(one["kind"], one["name"]): (one["wrong"], one["of"]) for one in report["kinds"]}
    assert kinds["tint", "false"] == (1, 3)
    assert kinds["text", "misses"] == (0, 1)
    assert report["statements"]["far"] == {"text": 0, "tint": 1}


def test_an_error_of_the_program_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("too small")

    monkeypatch.setattr(certainty, "check", fail)
    row = measured("calibration", index_of("text", 0))
    assert (row["found"], row["false"], row["missed"]) == ("error", ["error"], True)


@pytest.mark.slow_except("screen")
@pytest.mark.parametrize("kind", ["screen", "edge", "panorama", "kept", "flat"])
def test_a_pair_is_measured(kind: str) -> None:
    assert len(KINDS) * 24 == PAIRS
    row = measured("calibration", index_of(kind, 0))
    assert (row["kind"], row["changed"]) == (kind, True)
    assert row["found"] != "error"
    again = make_pair("calibration", index_of(kind, 0), seed=SEEDS["calibration"])
    assert row["true"] == true_shares(again, true_difference(again))
