"""Analyses as experiments, on an analytic model; and what their plans say."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from latentedit_bench.analysis.plotting import new_figure
from latentedit_bench.analysis.registry import ANALYSES
from latentedit_bench.analysis.study import Study
from latentedit_bench.claims import geometry
from latentedit_bench.claims.base import Place
from latentedit_bench.claims.geometry import BASES, GeometryClaim, SpectrumClaim
from latentedit_bench.claims.registry import make_experiment
from tests.bench.analysis.counting import Counting, small_study


@pytest.fixture
def studied(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """No model is loaded; studies are of a Gaussian, and what they were asked for is kept."""
    asked: list[dict[str, Any]] = []

    class Loaded:
        @staticmethod
        def of(backbone: str, pictures: int, **rest: Any) -> Study:
            asked.append({"backbone": backbone, "pictures": pictures, **rest})
            return small_study(pictures, rank=rest["rank"])

    monkeypatch.setattr(geometry, "load", lambda name, device: f"{name} on {device}")
    monkeypatch.setattr(geometry, "sample_pictures", lambda name, count: count)
    monkeypatch.setattr(geometry, "Study", Loaded)
    return asked


def test_it_runs_the_analysis_where_its_plan_says(tmp_path: Path, studied: list[dict[str, Any]]) -> None:
    counting = Counting()
    claim = SpectrumClaim(analysis=counting, models=("one",), pictures=7, levels=(0.9, 0.6), rank=2, seed=3)
    told: list[tuple[str, int, int]] = []
    outcome = claim.run(
        Place(folder=tmp_path / "own", command="typed", device="cpu", progress=lambda *one: told.append(one))
    )
    asked = {"backbone": "one on cpu", "pictures": 7, "levels": (0.9, 0.6), "rank": 2, "steps": 28, "seed": 3}
    assert studied == [{**asked, "folder": tmp_path / BASES}]
    assert told == [("geometry-spectrum", done, 7) for done in range(1, 8)]
    assert outcome.claims[0].estimate == 4, "1 + the mean of 0 to 6"
    assert outcome.notes[0] == "Found: counted."
    assert json.loads((tmp_path / "own" / "counting.json").read_text())["command"] == "typed"
    figure = new_figure(1)
    claim.draw(outcome.table, figure)
    assert figure.axes[0].lines
    claim.run(Place(folder=tmp_path / "own", command="typed"))
    assert len(counting.calls) == 7, "nothing is measured twice"


def test_two_experiments_share_their_bases(tmp_path: Path, studied: list[dict[str, Any]]) -> None:
    for name in ("first", "second"):
        SpectrumClaim(analysis=Counting(), models=("one",)).run(Place(folder=tmp_path / name, command="typed"))
    assert studied[0]["folder"] == studied[1]["folder"]


@pytest.mark.parametrize("name", ANALYSES)
def test_plans_ask_enough_and_their_quick_ones_less(name: str) -> None:
    full = make_experiment(f"geometry-{name}")
    assert isinstance(full, GeometryClaim)
    quick = full.quick()
    assert full.analysis.name == quick.analysis.name == name
    assert full.pictures >= 6, "of fewer pictures nothing is decided"
    for one in (full, quick):
        assert one.pictures >= one.analysis.fewest
        assert len(one.models) >= one.analysis.fewest_models
        assert list(one.levels) == sorted(one.levels, reverse=True)

    def size(one: GeometryClaim) -> float:
        return one.pictures * one.rank * len(one.levels) * len(one.models)

    assert size(quick) < size(full)
    assert full.plan["settings of the analysis"] == {
        field.name: getattr(full.analysis, field.name)
        for field in dataclasses.fields(full.analysis)  # pyright: ignore[reportArgumentType]
    }
