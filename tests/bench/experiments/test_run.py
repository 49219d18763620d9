"""Plans before measurements, one record an experiment, failures among others, stops at every unit."""

import dataclasses
import json
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from latentedit.api.runs.executors import run_work
from latentedit.core.errors import ConfigError, DeviceError, FileFormatError, OutputError, RegistryError
from latentedit.core.plugins import EXPERIMENTS
from latentedit_bench.experiments import base
from latentedit_bench.experiments.base import RULE, Context, Experiment, make_experiment
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.geometry import Geometry
from latentedit_bench.experiments.run import PLANS, Record, read_records, reproduce
from latentedit_bench.metrics.statistics import Estimate
from tests.bench.experiments.tallying import Broken, Tally


@pytest.mark.parametrize("name", EXPERIMENTS.names())
def test_quick_plans_ask_the_same_of_less(name: str) -> None:
    experiment = make_experiment(name)
    quick = experiment.quick()
    assert quick.plan.keys() == experiment.plan.keys()
    assert quick.plan != experiment.plan
    assert experiment.name == name
    assert all((experiment.paper, experiment.statement, experiment.statistic))


def test_another_process_measures_the_same(tmp_path: Path) -> None:
    """Without what only this one has: who listens, and models that are loaded."""
    given: list[Any] = []

    def keep(folder: object, work: object, **_: object) -> tuple[str, ...]:
        given.append(work)
        return run_work(folder, work)  # pyright: ignore[reportArgumentType]

    at = Context(folder=tmp_path, command="it", progress=lambda *_: None, made={"a model": lambda: None})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(base, "run_work", keep)
        rows = Tally().rows(at)
    (work,) = given
    there = pickle.loads(pickle.dumps(work))
    assert there.units == work.units
    measure = there.start()
    assert [row for unit in there.units for row in measure(there.task(unit)).rows] == rows.to_dict("records")


def test_what_is_no_experiment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegistryError, match="did you mean 'joint-latent'"):
        make_experiment("joint-latents")
    monkeypatch.setattr(type(EXPERIMENTS), "load", lambda *_: dict)
    with pytest.raises(RegistryError, match="'a stranger' is a dict, which is none"):
        make_experiment("a stranger")


@pytest.mark.slow
def test_plans_are_written_before_anything_is_measured(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def look(*_: object) -> None:
        seen.append(json.loads((tmp_path / "out" / PLANS).read_text()))

    records = reproduce([Tally(), Broken()], tmp_path / "out", command="typed", progress=look)
    assert list(seen[0]) == ["tally", "broken"]
    assert seen[0]["tally"] == records[0].about
    about = {name: getattr(Tally, name) for name in ("paper", "statement", "statistic")}
    plan = {"items": 8, "start": 1.0, "how": {"by": ["hand", "eye"], "twice": False}}
    assert seen[-1]["tally"] == {**about, "rule": RULE, "quick": False, "plan": plan}


def test_each_has_a_record_and_a_figure_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    broken, tally = reproduce([Broken(), Tally()], tmp_path, command="typed")
    assert (broken.failure, broken.claims) == ("there are no items. Bring some", ())
    assert tally.failure is None
    assert tally.claims[0].estimate == 4.5, "1 + the mean of 0 to 7"
    assert tally.claims[0].verdict == "holds"
    assert tally.notes == ("Found: some.", "counted *twice*")
    assert tally.peak_bytes > 0
    names = {place.name for place in tmp_path.iterdir()}
    assert names == {PLANS, "broken.json", "tally", "tally.json", "tally.webp"}
    assert dataclasses.asdict(Record.read(tmp_path / "tally.json")) == dataclasses.asdict(tally)


@pytest.mark.slow
def test_finished_ones_are_not_run_again_and_failed_ones_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()
    reproduce([tally, Broken()], tmp_path, command="first")
    monkeypatch.setattr(Broken, "units", Tally.units)
    records = reproduce([tally, Broken()], tmp_path, command="second")
    assert tally.calls == list(range(8))
    assert [record.command for record in records] == ["first", "second"]
    assert records[1].failure is None


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 8])
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
    assert (tmp_path / "tally.webp").read_bytes() == (tmp_path / "other" / "tally.webp").read_bytes()


@pytest.mark.slow
def test_a_stop_between_figure_and_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Record, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            reproduce([Tally()], tmp_path, command="first")
    assert reproduce([Tally()], tmp_path, command="second")[0].claims


@pytest.mark.slow
def test_another_plan_is_refused_and_nothing_is_run(tmp_path: Path) -> None:
    reproduce([Tally()], tmp_path, command="typed")
    before = {place: place.read_bytes() for place in tmp_path.rglob("*") if place.is_file()}
    for other, quick, differing in ((Tally(start=2.0), False, "start"), (Tally(), True, "quick, items")):
        with pytest.raises(ConfigError, match=rf"holds tally by another plan, with other {differing}\. Name another"):
            reproduce([Broken(), other], tmp_path, command="typed", quick=quick)
        assert {place: place.read_bytes() for place in tmp_path.rglob("*") if place.is_file()} == before


def test_rows_of_another_plan_are_refused(tmp_path: Path) -> None:
    Tally().run(Context(folder=tmp_path, command="typed"))
    with pytest.raises(ConfigError, match="other start"):
        Tally(start=2.0).run(Context(folder=tmp_path, command="typed"))


def test_a_model_that_was_trained_anew_does_not_go_on_with_the_rows_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of `Geometry` store more than fingerprints: their studies."""
    experiments = [one for one in map(make_experiment, EXPERIMENTS.names()) if not isinstance(one, Geometry)]

    def specs(weights: str) -> list[Mapping[str, Any]]:
        monkeypatch.setattr(base, "weights_fingerprint", lambda name: name + weights)
        return [one.stored_plan(Context(folder=tmp_path, command="", device="cpu")) for one in experiments]

    assert specs("-old") == specs("-old")
    assert all(before != after for before, after in zip(specs("-old"), specs("-new"), strict=True))


def test_what_was_found_with_other_weights_is_refused_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = {"first": "a", "second": "b"}
    monkeypatch.setattr(base, "weights_fingerprint", now.__getitem__)
    monkeypatch.setattr(Tally, "model_names", property(lambda _: list(now)))
    record = reproduce([Tally()], tmp_path, command="typed")[0]
    assert record.weights == Record.read(tmp_path / "tally.json").weights == {"first": "a", "second": "b"}
    now["second"] = "trained on"
    files = {place: place.read_bytes() for place in tmp_path.rglob("*") if place.is_file()}
    with pytest.raises(ConfigError, match=r"holds tally as it was found with other weights of second\. Name another"):
        reproduce([Broken(), Tally()], tmp_path, command="typed")
    assert {place: place.read_bytes() for place in tmp_path.rglob("*") if place.is_file()} == files


def test_more_experiments_can_be_added_and_quick_ones_say_so(tmp_path: Path) -> None:
    reproduce([Tally()], tmp_path, command="typed", quick=True)
    reproduce([Broken()], tmp_path, command="typed")
    assert list(json.loads((tmp_path / PLANS).read_text())) == ["tally", "broken"]
    record = read_records(tmp_path)["tally"]
    assert record.about["quick"]
    assert record.about["plan"]["items"] == record.claims[0].samples == 6


def test_what_cannot_work_leaves_nothing(tmp_path: Path, read_only_folder: Path) -> None:
    tally = Tally()
    with pytest.raises(DeviceError):
        reproduce([tally], tmp_path / "out", command="typed", device="nowhere")
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError):
        reproduce([tally], read_only_folder / "out", command="typed")
    assert tally.calls == []


def test_numbers_that_are_not_known_are_stored(tmp_path: Path) -> None:
    unknown = Claim.of("all is well", "model", "how", Estimate(mean=math.nan, low=math.nan, high=math.nan, pictures=0))
    record = Record(name="it", about={}, claims=(unknown,), command="it", seconds=1.5, resumed=True, peak_bytes=10)
    record.write(tmp_path)
    assert math.isnan(Record.read(tmp_path / "it.json").claims[0].low)
    assert read_records(tmp_path) == {}, "only what was planned is a record"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"claims": [{"model": "m"}], "notes": []}'])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tally.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"tally\.json is not as `latentedit reproduce` wrote it"):
        Record.read(tmp_path / "tally.json")


def test_what_units_share_is_made_once(tmp_path: Path) -> None:
    at, made = Context(folder=tmp_path, command="it"), list[int]()
    assert [at.once("it", lambda: made.append(1) or len(made)) for _ in range(2)] == [1, 1]
    assert isinstance(Tally(), Experiment)
