"""Rates of `check`: errors against the truth of a pair, and counts of rows that were made by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentedit_bench.known_pairs import check_rates, plain
from latentedit_bench.known_pairs.cases import make_case
from latentedit_bench.known_pairs.check_rates import (
    LEAST,
    PAIRS,
    SEEDS,
    check_case,
    check_summary,
    mask_around,
    measured,
    true_cast,
)
from latentedit_bench.known_pairs.damages import grain
from latentedit_bench.known_pairs.plain import TINY_PX, TREATMENTS, plain_case

ROW: dict[str, Any] = {
    "stratum": "usual", "grain": "none", "light": "none", "contradictions": [],
    "kind": "unchanged", "what": "nothing", "image": "moon", "side": 256, "codec": "jpeg", "profile": "none",
    "resized": False, "moved": False, "cast": "none", "true": 0.0, "found": "nothing", "recolored": False, "share": 0.0,
    "covered": None, "extra": 0.0, "verdict": "", "masked": ["no edit"], "names light": False,
    "errors": {"share": [0.0, 0.001], "zoom": None},
}  # fmt: skip
LOCAL = ROW | {"kind": "local", "what": "paste", "true": 0.02, "found": "local change", "covered": 0.9, "masked": []}
LOCAL |= {"errors": {"share": [0.003, 0.001], "zoom": [0.0, 0.1]}}


@pytest.mark.slow
@pytest.mark.parametrize(("index", "kind"), [(4, "unchanged"), (5, "local")])
def test_a_row_compares_the_report_with_the_truth(index: int, kind: str) -> None:
    """Half of the cases are unchanged, the others have a local change; both are small."""
    row = measured("calibration", index)
    case = make_case("calibration", index, kind=kind, seed=SEEDS["calibration"], least=0.005, more=True)
    assert row["kind"] == kind
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
    alarm, unsure = ROW | {"found": "local change", "codec": "redrawn", "share": 0.015}, ROW | {"found": "faint change"}
    missed = LOCAL | {"found": "nothing", "covered": 0.0, "masked": ["no edit"], "contradictions": ["rest"]}
    stranger = ROW | {"kind": "different", "stratum": "soft", "errors": {"share": [1.0, 0.001], "zoom": None}}
    strangers = [stranger | {"found": found} for found in ("different images", "redrawn", "local change")]
    recolored = {"recolored": True}  # says nothing of the content
    same, local = [ROW] * 6 + [ROW | recolored], [LOCAL, LOCAL, LOCAL | recolored]
    rows = [*same, unsure, alarm, alarm, *local, LOCAL | {"covered": 0.4}, missed, *strangers]
    report = check_summary(pd.DataFrame([row | {"case": index} for index, row in enumerate(rows)]))
    rates = {one["name"]: (one["wrong"], one["of"]) for one in report["overall"]}
    assert (report["pairs"], report["images"]) == (18, 1)
    assert rates["false alarms"] == (2, 10)
    assert rates["false alarms, not repainted"] == (0, 8)
    assert rates["unchanged, unsure"] == (1, 10)
    assert rates["misses"] == (1, 5)
    assert rates["less than half of the change found"] == (2, 5)
    assert rates["with a mask, changed inside: no edit"] == (1, 5)
    assert rates["strangers not refused"] == (2, 3)
    assert rates["strangers, part of the original kept"] == (1, 3)
    assert rates["contradictions between keep and check"] == (1, 18)
    assert report["contradicted"] == {14: ["rest"]}
    balance = {one["name"]: (one["false alarms"]["wrong"], one["misses"]["wrong"]) for one in report["balance"]}
    assert balance["from 0.0% of the image"] == balance["unsure is none"] == (2, 1)
    assert balance["unsure is a change"] == (3, 1)
    assert balance["from 1.0% of the image"] == (2, 5), "the alarms are larger"
    assert balance["from 2.0% of the image"] == (0, 5)
    first = report["overall"][0]
    assert (first["low"], first["high"]) == pytest.approx((0.0252, 0.5561), abs=1e-4), "Clopper and Pearson's tables"
    within = {one["name"]: one for one in report["within the uncertainty"]}
    # The two redrawn pairs are left out.
    assert (within["share"]["of"], within["share"]["mean"]) == (13, pytest.approx(8 / 13))
    assert within["zoom"]["of"] == 5
    assert [row["case"] for row in report["alarms"]] == [8, 9]
    assert [row["case"] for row in report["missed"]] == [14]
    assert {(one["kind"], one["name"]): one["wrong"] for one in report["misses"]}["what", "paste"] == 1


def test_an_error_of_the_program_is_a_false_alarm_or_a_miss() -> None:
    nothing = {"found": "error", "covered": 0.0, "errors": {"share": None, "zoom": None}}
    rows = [ROW | {"case": 0}, LOCAL | {"case": 1}, ROW | nothing | {"case": 2}, LOCAL | nothing | {"case": 3}]
    rates = {one["name"]: (one["wrong"], one["of"]) for one in check_summary(pd.DataFrame(rows))["overall"]}
    assert (rates["false alarms"], rates["misses"]) == ((1, 2), (1, 2))


@pytest.mark.parametrize(
    ("what", "names_light", "missed"), [("relight", True, 0), ("relight", False, 1), ("paste", True, 1)]
)
def test_requested_light_that_is_named_is_no_miss(what: str, names_light: bool, missed: int) -> None:
    row = LOCAL | {"case": 1, "what": what, "found": "faint change", "covered": 0.0, "names light": names_light}
    report = check_summary(pd.DataFrame([ROW | {"case": 0}, LOCAL | {"case": 2}, row]))
    rates = {one["name"]: one["wrong"] for one in report["overall"]}
    assert (rates["misses"], rates["misses, with named light that was asked for"]) == (missed, 1)


@pytest.mark.slow
def test_an_error_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("too small")

    monkeypatch.setattr(check_rates, "check", fail)
    row = measured("calibration", 13)
    assert (row["stratum"], row["found"], row["verdict"]) == ("tiny", "error", "ValueError('too small')")


def test_the_pairs_are_those_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str]] = []
    monkeypatch.setattr(check_rates, "make_case", lambda *_, kind, **__: made.append(("usual", kind)))
    monkeypatch.setattr(check_rates, "plain_case", lambda *_, kind, stratum, **__: made.append((stratum, kind)))
    for index in range(PAIRS):
        check_case("test", index)
    counts = {one: made.count(one) for one in set(made)}
    for kind in ("unchanged", "local"):
        wanted = {"usual": 200, "grain": 150, "soft": 75, "tiny": 75}
        assert {stratum: counts.pop((stratum, kind)) for stratum in wanted} == wanted
    assert counts == {("grain", "different"): 50, ("soft", "different"): 50}


@pytest.mark.slow_except("local-tiny", "unchanged-tiny")
@pytest.mark.parametrize("stratum", ["grain", "soft", "tiny"])
@pytest.mark.parametrize("kind", ["unchanged", "local"])
def test_a_plain_pair_is_reproducible_and_differs_in_its_mask_only(stratum: str, kind: str) -> None:
    how: dict[str, Any] = {"stratum": stratum, "kind": kind, "seed": 3, "least": LEAST}
    again = plain_case("calibration", 0, **how)
    for index in range(2):
        one = plain_case("calibration", index, **how)
        if index == 0:
            np.testing.assert_array_equal(one.edited, again.edited)
            np.testing.assert_array_equal(one.original, again.original)
        apart = (one.truth != one.original).any(axis=2)
        assert apart.any() == (kind == "local")
        assert apart[one.mask == 0].mean() < 0.02 if (one.mask == 0).any() else stratum == "tiny"
        assert (one.mask.mean() >= LEAST) == (kind == "local")
        if stratum == "tiny":
            assert max(one.original.shape[:2]) in TINY_PX
            assert one.edited.shape == one.original.shape


def test_grain_is_as_strong_as_stated_and_weaker_in_highlights() -> None:
    """1.3 - .6 of the level: 1.3 in black, .7 in white."""
    flat = np.zeros((300, 300, 3), dtype=np.float32)
    for level, factor in ((0, 1.3), (255, 0.7)):
        noise = grain(flat + level, 4.0, np.random.default_rng(1))
        assert float(noise.std()) == pytest.approx(4 * factor, rel=0.02)
        assert abs(float(noise.mean())) < 0.1


def test_an_editor_keeps_smooths_or_replaces_grain() -> None:
    flat = np.full((200, 200, 3), 128, dtype=np.float32)
    own = grain(flat, 4.0, np.random.default_rng(0))
    found = {name: plain._treated(own, name, flat, 4.0, np.random.default_rng(1)) for name in TREATMENTS}
    np.testing.assert_array_equal(found["kept"], own)
    assert not found["smoothed"].any()
    assert abs(np.corrcoef(found["replaced"].ravel(), own.ravel())[0, 1]) < 0.05
    assert 1.9 < found["replaced"].std() < 5.4, "half to 1.3 times as strong"
    for name in ("smoothed in part", "replaced in part"):
        same = np.isclose(found[name], own, atol=0.01).all(axis=2).mean()
        assert 0.2 < same < 0.85
