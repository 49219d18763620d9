"""Experiments as values, their runs, stored rows and records, and the page of all claims."""

import dataclasses
import math
import pickle
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest

from latentedit.batch import run_work
from latentedit.core import EXPERIMENTS, ConfigError, DeviceError, FileFormatError, OutputError, RegistryError
from latentedit_bench.experiments.experiment import Context, Experiment, make_experiment
from latentedit_bench.experiments.page import claims_page, page_files, write_claims_page
from latentedit_bench.experiments.run import Record, read_records, reproduce
from latentedit_bench.metrics.decisions import Measure, ModelDifference, Outcome
from latentedit_bench.metrics.statistics import Estimate
from research.tests.bench.conftest import Register
from research.tests.bench.experiments.counting import CALLS, Counted, broken, tally

STORED = Path(__file__).parents[3] / "results/claims"


@pytest.mark.parametrize("name", EXPERIMENTS.names())
def test_every_experiment_has_a_source_a_claim_and_a_smaller_plan(name: str) -> None:
    made = make_experiment(name)
    assert made.name == name
    assert all((made.paper, made.claim, made.notes, made.primary, made.plots))
    assert set(made.quick) <= {field.name for field in dataclasses.fields(made.source)} | set(made.settings)
    quick = made.changed(**made.quick)
    assert quick.plan.keys() == made.plan.keys()
    assert all(quick.plan[name] != made.plan[name] for name in ("items", "images", "portraits") if name in made.plan)
    again: Experiment = pickle.loads(pickle.dumps(quick))
    assert (again.name, again.source, again.settings, again.function) == (
        name,
        quick.source,
        quick.settings,
        made.function,
    )


@pytest.mark.parametrize("name", [place.stem for place in sorted(STORED.glob("*.json"))])
def test_a_stored_record_is_of_the_experiment_that_there_is_now(name: str) -> None:
    """The same plan, claim and primary measure: otherwise it must be measured again."""
    made, record = make_experiment(name), Record.read(STORED / f"{name}.json")
    assert (made.paper, made.claim, made.plan) == (record.paper, record.claim, record.plan)
    primary = made.primary.measure if isinstance(made.primary, ModelDifference) else made.primary
    (stored,) = {(one.measure, one.threshold, one.unit) for one in record.primary}
    if isinstance(primary, Measure):
        if name != "linear-strength":  # measured before its measures got their names of today
            assert stored[0].startswith(primary.full_name)
        assert stored[1:] == (primary.threshold, primary.unit)


def test_what_is_no_experiment_is_refused(register: Register) -> None:
    register("experiments", mapping="builtins:dict")
    with pytest.raises(RegistryError):
        make_experiment("mapping")


def test_the_plan_is_the_source_and_the_settings_of_the_function() -> None:
    assert tally.plan == {"models": [], "seed": 20, "items": 8, "start": 1.0}
    changed = tally.changed(items=3, start=2.5)
    assert changed.plan == {**tally.plan, "items": 3, "start": 2.5}
    assert changed.changed(start=7.0).source == Counted(items=3), "an earlier change stays"
    assert tally.plan["items"] == 8
    with pytest.raises(ConfigError, match="'item'"):
        tally.changed(item=3)


def test_another_process_measures_the_same_rows(tmp_path: Path) -> None:
    given: list[Any] = []

    def keep(folder: Any, work: Any, **_: object) -> tuple[str, ...]:
        given.append(work)
        return run_work(folder, work)

    context = Context(folder=tmp_path, command="it", progress=lambda *_: None, cache={"a model": lambda: None})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("latentedit_bench.work.run_work", keep)
        rows = tally.changed(start=3.0).rows(context)
    there = pickle.loads(pickle.dumps(given[0]))
    assert there.units == given[0].units
    measure = there.start()
    assert [row for unit in there.units for row in measure(there.task(unit)).rows] == rows.to_dict("records")


def test_rows_are_measured_once_and_a_stopped_run_continues(tmp_path: Path) -> None:
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


def test_rows_are_prepared_and_numbers_taken_by_the_experiments_own_keys(tmp_path: Path) -> None:
    one = dataclasses.replace(tally, prepare=lambda rows: rows.assign(value=2 * rows["value"]))
    primary, secondary = one.conclude(one.rows(Context(folder=tmp_path, command="it")))
    assert ([claim.estimate for claim in primary], secondary) == ([9.0], ())
    rows = pd.DataFrame({"model": "one", "face": list("abcdef"), "item": 0, "value": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
    other = tally.primary.variant("it", column=lambda part: -part["value"].mean())
    one = dataclasses.replace(tally, keys=("face",), image_columns=("face",), secondary=(other,))
    primary, secondary = one.conclude(rows)
    assert [(claim.estimate, claim.images) for claim in (*primary, *secondary)] == [(3.5, 6), (-3.5, 6)]
    assert tally.conclude(rows)[0][0].images == 1, "by the source's, all are of one item"


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all quick plans, which share local bases there."""
    return tmp_path_factory.mktemp("quick")


@pytest.mark.nightly
@pytest.mark.parametrize("name", EXPERIMENTS.names())
def test_a_quick_plan_gives_a_number_of_every_model(together: Path, name: str) -> None:
    (record,) = reproduce([make_experiment(name)], together, command="typed", quick=True)
    assert record.failure is None
    models = [model for claim in record.primary for model in claim.model.replace(" vs ", " and ").split(" and ")]
    assert sorted(models) == sorted(record.plan["models"])
    assert all(math.isfinite(claim.estimate) for claim in record.primary)
    assert Record.read(together / f"{name}.json").weights.keys() == set(models)
    assert (together / f"{name}.webp").stat().st_size > 500


ABOUT: dict[str, Any] = {
    "paper": "p", "quick": False, "plan": {}, "command": "it", "seconds": 1.5, "peak_bytes": 10
}  # fmt: skip
UNKNOWN = Outcome.of("model", "how", Estimate(mean=math.nan, low=math.nan, high=math.nan, images=0))


def files(folder: Path) -> dict[Path, bytes]:
    return {place: place.read_bytes() for place in folder.rglob("*") if place.is_file()}


def test_each_has_a_record_and_a_figure_and_others_survive_a_failure(tmp_path: Path) -> None:
    failed, counted = reproduce([broken, tally], tmp_path, command="typed")
    assert (failed.failure, failed.primary) == ("there are no items. Bring some", ())
    assert (counted.failure, counted.quick, counted.command) == (None, False, "typed")
    (claim,) = counted.primary
    assert (claim.estimate, claim.verdict, claim.images) == (4.5, "holds", 8), "1 + the mean of 0 to 7"
    assert counted.plan == tally.plan
    assert counted.peak_bytes > 0
    assert {place.name for place in tmp_path.iterdir()} >= {"broken.json", "tally", "tally.json", "tally.webp"}
    assert [dataclasses.asdict(one) for one in read_records(tmp_path)] == [
        dataclasses.asdict(r) for r in (failed, counted)
    ]


def test_quick_runs_the_smaller_plan_and_its_verdicts_are_conditional(tmp_path: Path) -> None:
    (record,) = reproduce([tally], tmp_path, command="typed", quick=True)
    assert (record.quick, record.plan["items"], record.plan["start"]) == (True, 6, -9.0)
    (claim,) = record.primary
    assert (claim.estimate, record.verdict(claim)) == (-6.5, "would not hold (quick run, 6 images)")
    assert dataclasses.replace(record, quick=False).verdict(claim) == "does not hold"


def test_only_failed_experiments_run_again(tmp_path: Path) -> None:
    reproduce([tally, broken], tmp_path, command="first")
    before = (tmp_path / "tally.json").read_bytes()
    mended = dataclasses.replace(broken, function=lambda item, **_: [{"value": float(item)}])
    again = reproduce([tally, mended], tmp_path, command="second")
    assert list(range(8)) == CALLS
    assert [record.command for record in again] == ["first", "second"]
    assert again[1].failure is None
    assert (tmp_path / "tally.json").read_bytes() == before


def test_other_weights_or_another_plan_are_refused_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = {"first": "a", "second": "b"}
    monkeypatch.setattr(
        "latentedit_bench.experiments.experiment.load", lambda name, **_: SimpleNamespace(fingerprint=now[name])
    )
    one = tally.changed(models=tuple(now))
    (record,) = reproduce([one], tmp_path, command="typed")
    assert record.weights == Record.read(tmp_path / "tally.json").weights == {"first": "a", "second": "b"}
    assert record.changed_weights(one) == []
    before = files(tmp_path)
    context = Context(folder=tmp_path / "tally", command="it")
    with pytest.raises(ConfigError):
        reproduce([broken, one.changed(start=2.0)], tmp_path, command="typed")
    with pytest.raises(ConfigError):
        reproduce([one], tmp_path, command="typed", quick=True)
    with pytest.raises(ConfigError):
        one.changed(start=2.0).rows(context)
    now["second"] = "trained on"
    with pytest.raises(ConfigError, match="second"):
        reproduce([broken, one], tmp_path, command="typed")
    with pytest.raises(ConfigError):
        one.rows(context)
    assert files(tmp_path) == before
    assert dataclasses.replace(record, weights={}).changed_weights(one) == [], "they were not stored"


def test_what_cannot_work_leaves_nothing(tmp_path: Path, read_only_folder: Path) -> None:
    with pytest.raises(DeviceError):
        reproduce([tally], tmp_path / "out", command="typed", device="nowhere")
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError):
        reproduce([tally], read_only_folder / "out", command="typed")
    assert CALLS == []


def test_unknown_numbers_survive_the_file(tmp_path: Path) -> None:
    Record(name="it", claim="s", primary=(UNKNOWN,), secondary=(UNKNOWN,), **ABOUT).write(tmp_path)
    found = Record.read(tmp_path / "it.json")
    assert [math.isnan(end) for end in (found.primary[0].estimate, found.secondary[0].low)] == [True, True]


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"primary": [{"model": "m"}], "secondary": []}', '{"primary": [], "secondary": []}']
)
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tally.json").write_text(text)
    with pytest.raises(FileFormatError):
        reproduce([tally], tmp_path, command="it")
    assert CALLS == []


def test_pages_link_their_figures_and_escape_text(tmp_path: Path) -> None:
    folder, other = tmp_path / "a folder", tmp_path / "pages"
    reproduce([tally, broken], folder, command="latentedit reproduce")
    other.mkdir()
    for page in (folder / "claims.md", other / "mine.md"):
        text = write_claims_page(folder, page)[0].read_text()
        (found,) = re.findall(r"!\[.*\]\((.*)\)", text)
        assert (page.parent / unquote(found)).resolve() == (folder / "tally.webp").resolve()
        assert r"Items can be counted \| one by one" in text
        assert "there are no items" in text
    html = (other / "mine.html").read_text()
    assert html.count('src="data:image/webp;base64') == 1
    assert "in &lt;items&gt;" in html
    with pytest.raises(ConfigError):
        page_files(folder / "claims.html")


def test_variants_of_a_claim_stand_below_it() -> None:
    claims = {"a-pooled": "it is so (pooled)", "a": "it is so", "b": "it is (really) other"}
    records = [Record(name=name, claim=claim, **ABOUT) for name, claim in claims.items()]
    text = claims_page("Claims", records, {})
    assert re.findall(r"^### (.*)$", text, re.MULTILINE) == ["a", "b"]
    rows = re.findall(r"^\| (?:\[(.*)\]\(#(.*)\)|(.*): `(.*)`) \|", text, re.MULTILINE)
    assert [(row[0] or row[2], row[1] or row[3]) for row in rows] == [
        ("It is so", "a"),
        ("It is (really) other", "b"),
        ("pooled", "a-pooled"),
    ]
