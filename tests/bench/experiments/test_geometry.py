"""Looking at pictures by a plan."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from latentedit.core.errors import ConfigError
from latentedit.core.plugins import EXPERIMENTS
from latentedit_bench.experiments import base, geometry
from latentedit_bench.experiments.base import Context, make_experiment
from latentedit_bench.experiments.geometry import BASES, Geometry, described
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


@pytest.mark.usefixtures("studied")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"pictures": 1}, "geometry-counting compares at least 2 pictures, and there are 1"),
        ({"models": ("one", "one")}, "one model is named twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        dataclasses.replace(SMALL, **change).run(Context(folder=tmp_path / "out", command="count"))
    assert not (tmp_path / "out").exists()


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


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS.names() if name.startswith("geometry-")])
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
