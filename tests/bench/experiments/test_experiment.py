"""Experiments as values: their plans, what may be changed, other processes, and rows that are measured once."""

import dataclasses
import math
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from latentedit.api.runs.executors import run_work
from latentedit.core.errors import ConfigError, RegistryError
from latentedit.core.plugins import EXPERIMENTS
from latentedit_bench.experiments import experiment
from latentedit_bench.experiments.experiment import Context, Experiment, make_experiment
from latentedit_bench.experiments.run import Record, reproduce
from tests.bench.experiments.counting import CALLS, Counted, tally


@pytest.mark.parametrize("name", EXPERIMENTS.names())
def test_every_experiment_says_what_a_reader_must_know_and_has_a_smaller_plan(name: str) -> None:
    made = make_experiment(name)
    assert made.name == name
    assert all((made.paper, made.says, made.notes, made.decides, made.plots))
    assert set(made.quick) <= {field.name for field in dataclasses.fields(made.on)} | set(made.settings)
    quick = made.changed(**made.quick)
    assert quick.plan.keys() == made.plan.keys()
    assert all(quick.plan[name] != made.plan[name] for name in ("items", "pictures", "portraits") if name in made.plan)
    again: Experiment = pickle.loads(pickle.dumps(quick))
    assert (again.name, again.on, again.settings, again.look) == (name, quick.on, quick.settings, made.look)


def test_what_is_no_experiment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(EXPERIMENTS), "load", lambda *_: dict)
    with pytest.raises(RegistryError, match="'a stranger' is a type, which is none"):
        make_experiment("a stranger")


def test_the_plan_is_the_source_and_the_settings_of_the_function() -> None:
    assert tally.plan == {"models": [], "seed": 20, "items": 8, "start": 1.0}
    assert tally.notes == "They are counted *twice*."
    changed = tally.changed(items=3, start=2.5)
    assert changed.plan == {**tally.plan, "items": 3, "start": 2.5}
    assert changed.changed(start=7.0).on == Counted(items=3), "what was changed before stays"
    assert tally.plan["items"] == 8
    with pytest.raises(ConfigError, match="tally has no setting 'item'"):
        tally.changed(item=3)


def test_another_process_measures_without_what_only_this_one_has(tmp_path: Path) -> None:
    given: list[Any] = []

    def keep(folder: Any, work: Any, **_: object) -> tuple[str, ...]:
        given.append(work)
        return run_work(folder, work)

    at = Context(folder=tmp_path, command="it", progress=lambda *_: None, made={"a model": lambda: None})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(experiment, "run_work", keep)
        rows = tally.changed(start=3.0).rows(at)
    there = pickle.loads(pickle.dumps(given[0]))
    assert there.units == given[0].units
    measure = there.start()
    assert [row for unit in there.units for row in measure(there.task(unit)).rows] == rows.to_dict("records")


def test_rows_are_measured_once_and_go_on_where_they_were_stopped(tmp_path: Path) -> None:
    def stop(_: str, done: int, __: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tally.rows(Context(folder=tmp_path, command="it", progress=stop))
    counted = list(CALLS)
    rows = tally.rows(Context(folder=tmp_path, command="it"))
    assert len(counted) == 3
    assert list(range(8)) == CALLS, "every unit once"
    assert rows["value"].tolist() == [item + 1.0 for item in range(8)]
    pd.testing.assert_frame_equal(tally.rows(Context(folder=tmp_path, command="it")), rows)
    assert len(CALLS) == 8


def test_rows_of_another_plan_or_of_a_model_that_was_trained_anew_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"hands": "a", "feet": "b"}
    monkeypatch.setattr(experiment, "weights_fingerprint", lambda name: weights[name])
    one, at = tally.changed(models=("hands", "feet")), Context(folder=tmp_path, command="it")
    assert one.weights() == weights
    one.rows(at)
    with pytest.raises(ConfigError, match="other start"):
        one.changed(start=2.0).rows(at)
    weights["feet"] = "trained on"
    with pytest.raises(ConfigError, match="weights"):
        one.rows(at)


def test_rows_are_prepared_and_numbers_taken_by_the_experiments_own_keys(tmp_path: Path) -> None:
    one = dataclasses.replace(tally, prepare=lambda rows: rows.assign(value=2 * rows["value"]))
    decides, tells = one.conclude(one.rows(Context(folder=tmp_path, command="it")))
    assert ([claim.estimate for claim in decides], tells) == ([9.0], ())
    rows = pd.DataFrame({"model": "one", "face": list("abcdef"), "item": 0, "value": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
    other = tally.decides.at("less of it", sign=-1)  # pyright: ignore[reportAttributeAccessIssue]
    one = dataclasses.replace(tally, keys=("face",), images=("face",), tells=(other,))
    decides, tells = one.conclude(rows)
    assert [(claim.estimate, claim.images) for claim in (*decides, *tells)] == [(3.5, 6), (-3.5, 6)]
    assert tally.conclude(rows)[0][0].images == 1, "by the source's, all are of one item"


@pytest.mark.nightly
@pytest.mark.parametrize("name", EXPERIMENTS.names())
def test_a_quick_plan_gives_a_number_of_every_model(tmp_path: Path, name: str) -> None:
    (record,) = reproduce([make_experiment(name)], tmp_path, command="typed", quick=True)
    assert record.failure is None
    told = [model for claim in record.decides for model in claim.model.replace(" vs ", " and ").split(" and ")]
    assert sorted(told) == sorted(record.plan["models"])
    assert all(math.isfinite(claim.estimate) for claim in record.decides)
    assert Record.read(tmp_path / f"{name}.json").weights.keys() == set(told)
    assert (tmp_path / f"{name}.webp").stat().st_size > 500
