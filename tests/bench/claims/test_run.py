"""Plans before measurements, one record an experiment, failures among others, stops at every unit."""

import json
from pathlib import Path
from typing import Any

import pytest

from latentedit.core.errors import ConfigError, DeviceError, OutputError
from latentedit_bench.claims.record import PLANS, Record
from latentedit_bench.claims.run import reproduce
from tests.bench.claims.tallying import Broken, Tally


def test_plans_are_written_before_anything_is_measured(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def look(*_: object) -> None:
        seen.append(json.loads((tmp_path / "out" / PLANS).read_text()))

    records = reproduce([Tally(), Broken()], tmp_path / "out", command="typed", progress=look)
    assert list(seen[0]) == ["tally", "broken"]
    assert seen[0]["tally"] == records[0].about
    assert seen[0]["tally"]["plan"]["items"] == 8
    assert seen[0] == seen[-1]


def test_each_has_a_record_and_a_figure_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    broken, tally = reproduce([Broken(), Tally()], tmp_path, command="typed")
    assert broken.failure == "expected items; got none. Bring some"
    assert broken.claims == ()
    assert tally.failure is None
    assert tally.claims[0].estimate == 4.5, "1 + the mean of 0 to 7"
    assert tally.claims[0].verdict == "holds"
    assert tally.peak_bytes > 0
    names = {place.name for place in tmp_path.iterdir()}
    assert names == {PLANS, "broken.json", "tally", "tally.json", "tally.png"}
    assert Record.read(tmp_path / "tally.json").claims == tally.claims
    assert Record.read(tmp_path / "tally.json").command == "typed"


def test_finished_ones_are_not_run_again_and_failed_ones_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()
    reproduce([tally, Broken()], tmp_path, command="first")
    monkeypatch.setattr(Broken, "run", Tally.run)
    records = reproduce([tally, Broken()], tmp_path, command="second")
    assert tally.calls == list(range(8))
    assert [record.command for record in records] == ["first", "second"]
    assert records[1].failure is None


@pytest.mark.parametrize("after", [1, 5, 8])
def test_a_stop_after_any_unit_loses_nothing(tmp_path: Path, after: int) -> None:
    def stop(_: str, done: int, __: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    tally = Tally()
    with pytest.raises(KeyboardInterrupt):
        reproduce([tally], tmp_path, command="first", progress=stop)
    assert not (tmp_path / "tally.json").exists(), "no record before the end"
    record = reproduce([tally], tmp_path, command="second")[0]
    assert tally.calls == list(range(8)), "every unit once"
    assert record.resumed
    whole = reproduce([Tally()], tmp_path / "other", command="second")[0]
    assert not whole.resumed
    assert record.claims == whole.claims
    assert (tmp_path / "tally.png").read_bytes() == (tmp_path / "other" / "tally.png").read_bytes()


def test_a_stop_between_figure_and_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Record, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            reproduce([Tally()], tmp_path, command="first")
    assert reproduce([Tally()], tmp_path, command="second")[0].claims


def test_another_plan_is_refused_and_nothing_is_run(tmp_path: Path) -> None:
    reproduce([Tally()], tmp_path, command="typed")
    before = {place: place.read_bytes() for place in tmp_path.rglob("*") if place.is_file()}
    for other, quick, differing in ((Tally(start=2.0), False, "start"), (Tally(), True, "quick, items")):
        with pytest.raises(ConfigError, match=rf"to hold tally by this plan; .* with other {differing}\. Name another"):
            reproduce([Broken(), other], tmp_path, command="typed", quick=quick)
        assert {place: place.read_bytes() for place in tmp_path.rglob("*") if place.is_file()} == before


def test_more_experiments_can_be_added(tmp_path: Path) -> None:
    reproduce([Tally()], tmp_path, command="typed")
    reproduce([Broken()], tmp_path, command="typed")
    assert list(json.loads((tmp_path / PLANS).read_text())) == ["tally", "broken"]


def test_quick_is_the_smaller_plan_and_says_so(tmp_path: Path) -> None:
    record = reproduce([Tally()], tmp_path, command="typed", quick=True)[0]
    assert record.about["quick"]
    assert record.about["plan"]["items"] == 6
    assert record.claims[0].samples == 6


def test_a_device_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DeviceError):
        reproduce([Tally()], tmp_path / "out", command="typed", device="nowhere")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(read_only_folder: Path) -> None:
    tally = Tally()
    with pytest.raises(OutputError, match="cannot be made"):
        reproduce([tally], read_only_folder / "out", command="typed")
    assert tally.calls == []
