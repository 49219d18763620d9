"""Looking at pictures: as an experiment by its plan, and as an analysis of given pictures, with files of its own."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from latentedit.core.errors import ConfigError, OutputError
from latentedit.core.plugins import EXPERIMENTS
from latentedit_bench.experiments import base, geometry
from latentedit_bench.experiments.base import Context, Outcome, make_experiment
from latentedit_bench.experiments.geometry import BASES, PREFIX, WORK, Geometry, analyse, described
from latentedit_bench.experiments.page import write_analyses
from latentedit_bench.experiments.run import reproduce
from latentedit_bench.experiments.study import Study
from tests.bench.experiments.gaussians import small_study
from tests.bench.experiments.tallying import Counting


@dataclasses.dataclass
class Model:
    name: str


@pytest.fixture
def studied(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """No model is loaded; studies are of a Gaussian, and what they were asked for is kept."""
    asked: list[dict[str, Any]] = []

    class Loaded:
        @staticmethod
        def of(backbone: Model, pictures: Any, **rest: Any) -> Study:
            asked.append({"backbone": backbone.name, "pictures": pictures, **rest})
            study = small_study(pictures if isinstance(pictures, int) else len(pictures), rank=rest["rank"])
            study.backbone.name = backbone.name.split()[0]
            return study

    monkeypatch.setattr(geometry, "load", lambda name, device: Model(f"{name} on {device}"))
    monkeypatch.setattr(geometry, "sample_pictures", lambda name, count, seed: count)
    monkeypatch.setattr(geometry, "Study", Loaded)
    monkeypatch.setattr(base, "weights_fingerprint", lambda name: f"of {name}")
    return asked


SMALL = Counting(models=("one",), pictures=7, levels=(0.9, 0.6), rank=2, seed=3)


def analysed(folder: Path, experiment: Counting = SMALL, **rest: Any) -> tuple[Outcome, tuple[Path, ...]]:
    return analyse(dataclasses.replace(experiment, calls=[]), folder, command="count", **rest)


@pytest.mark.nightly
def test_it_looks_where_its_plan_says(tmp_path: Path, studied: list[dict[str, Any]]) -> None:
    told: list[tuple[str, int, int]] = []
    counting = dataclasses.replace(SMALL, calls=[])
    (record,) = reproduce([counting], tmp_path, command="typed", device="cpu", progress=lambda *one: told.append(one))
    asked = {"backbone": "one on cpu", "pictures": 7, "levels": (0.9, 0.6), "rank": 2, "site": None, "steps": 28}
    assert studied == [{**asked, "seed": 3, "folder": tmp_path / BASES}]
    assert told[-1] == ("geometry-counting", 7, 7)
    assert record.claims[0].estimate == 4, "1 + the mean of 0 to 6"
    assert record.notes[0].startswith("Found: one")
    assert record.weights == {"one": "of one"}
    assert (tmp_path / "geometry-counting.webp").is_file()
    assert counting.calls == list(range(7))


def test_what_was_found_is_said_by_its_ends() -> None:
    rows = [("a_b", 1.0, 0.9, 0.1234, 0.5), ("a_b", 1.0, 0.6, 0.2, 0.5), ("a_b", 1.0, 0.3, 0.3, 0.5)]
    summary = pd.DataFrame(rows, columns=["model", "rank", "level", "mean", "null"]).assign(measure="low_share")
    assert described(summary) == "a_b, rank 1, low share: 0.123 at 0.90, 0.3 at 0.30 (random: 0.5)"
    pairs = summary.assign(other=[0.6, 0.3, 0.1])
    assert described(pairs) == "a_b, rank 1, low share: 0.123 at 0.90 and 0.60, 0.3 at 0.30 and 0.10 (random: 0.5)"


@pytest.mark.slow
def test_an_analysis_is_a_table_a_plot_and_what_they_say(tmp_path: Path, studied: list[dict[str, Any]]) -> None:
    told: list[tuple[str, int, int]] = []
    outcome, files = analysed(tmp_path, pictures=["a", "b", "c"], progress=lambda *one: told.append(one))
    assert studied[0]["pictures"] == ("a", "b", "c")
    assert told[-1] == ("counting", 3, 3)
    assert [file.name for file in files] == [f"counting{end}" for end in (".csv", "-rows.csv", ".png", ".json")]
    assert pd.read_csv(files[1])["value"].tolist() == [1, 2, 3]
    stored = json.loads(files[3].read_text())
    assert (stored["command"], stored["verdict"]) == ("count", outcome.line)
    assert stored["claims"][0]["estimate"] == 2
    assert stored["settings"] == {"start": 1}
    assert len(stored["studies"][0]["pictures"]) == 3
    page = write_analyses(tmp_path).read_text()
    assert "| pictures can be counted | one | count | 2 | 3 | undecided at this size | counting |" in page
    assert "`count`" in page
    assert "3 pictures, site clean, rank 2, levels 0.9, 0.6, 4 steps, seed 0" in page


@pytest.mark.nightly
@pytest.mark.usefixtures("studied")
def test_a_stopped_analysis_goes_on_and_others_are_measured_anew(tmp_path: Path) -> None:
    stopped = dataclasses.replace(SMALL, calls=[], most=2)
    with pytest.raises(KeyboardInterrupt, match="2 of 7 parts are kept"):
        analyse(stopped, tmp_path, command="count")
    assert [file.name for file in tmp_path.iterdir()] == [WORK], "no result before the end"
    for change, calls in (({}, 5), ({}, 0), ({"start": 5}, 7), ({"rank": 1}, 7), ({"pictures": 6}, 6)):
        resumed = dataclasses.replace(SMALL, calls=[], **change)
        outcome, _ = analyse(resumed, tmp_path, command="count")
        assert len(resumed.calls) == calls, change
    assert len(outcome.rows) == 6


@pytest.mark.usefixtures("studied")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"pictures": 1}, "counting compares at least 2 pictures, and there are 1"),
        ({"models": ("one", "one")}, "one model is named twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        analysed(tmp_path / "out", dataclasses.replace(SMALL, **change))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("studied")
def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(read_only_folder: Path) -> None:
    counting = dataclasses.replace(SMALL, calls=[])
    with pytest.raises(OutputError):
        analyse(counting, read_only_folder / "out", command="count")
    assert counting.calls == []


class Twinned(Counting):
    """With its twin, of which the same is counted."""

    twins = True


def test_a_twin_is_looked_at_beside_each_model(
    tmp_path: Path, studied: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int, str | None]] = []

    def twin(model: str, *, seed: int, device: str | None) -> Any:
        made.append((model, seed, device))
        return small_study(1).backbone

    monkeypatch.setattr(geometry, "untrained_twin", twin)
    experiment = Twinned(models=("one",), pictures=7, levels=(0.9, 0.6), rank=2, seed=3)
    rows = experiment.rows(Context(folder=tmp_path / "it", command="it", device="cpu"))
    assert rows["network"].tolist() == ["trained", "untrained"] * 7
    assert made == [("one", 3, "cpu")], "once"
    assert experiment.bases == 2 * 7 * 2
    assert experiment.plan["cost, about"]["local bases"] == 28


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS.names() if name.startswith(PREFIX)])
def test_plans_ask_enough_and_quick_ones_less(name: str) -> None:
    full = make_experiment(name)
    assert isinstance(full, Geometry)
    assert full.title
    quick = full.quick()
    assert full.pictures >= 12, "half of those that are asked for elsewhere"
    for one in (full, quick):
        assert one.pictures >= one.fewest
        assert len(one.models) >= one.fewest_models
        assert list(one.levels) == sorted(one.levels, reverse=True)

    def size(one: Geometry) -> float:
        return one.pictures * one.rank * len(one.levels) * len(one.models)

    assert size(quick) < size(full)
