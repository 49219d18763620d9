"""Items that ask for something, differences paired by item whose groups are drawn, and what a table of claims holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentedit.api.runs.executors import run_work
from latentedit.editors.baselines.flowslider import FlowSlider
from latentedit_bench.experiments import benchmark_runs
from latentedit_bench.experiments.base import Context
from latentedit_bench.experiments.benchmark_runs import (
    DTYPE,
    EditingExperiment,
    asking,
    best,
    cost_note,
    paid,
    some_latent,
)
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.hessian_preservation import HessianPreservation
from latentedit_bench.experiments.joint_latent import JointLatent
from latentedit_bench.experiments.linear_strength import LinearStrength
from latentedit_bench.experiments.network_kinds import NetworkKinds
from latentedit_bench.experiments.plotting import draw_numbers, new_figure
from latentedit_bench.experiments.single_attribute import SingleAttribute
from latentedit_bench.metrics.statistics import Estimate, by_item, means, over_groups
from latentedit_bench.ranking import run as run_module
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.methods import Method
from tests.bench.experiments.rendered_bench import rows, use_rendered


def test_items_ask_for_something() -> None:
    data = asking("calibration", 1000)
    assert len(data.items) == 216
    assert {item.kind for item in data.items} == {"single", "pair", "triple", "graded"}
    single = asking("test", 5, ("single",))
    assert [item.kind for item in single.items] == ["single"] * 5
    assert single.name != asking("test", 5).name


def test_a_run_says_whose_rows_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_rendered(monkeypatch)
    monkeypatch.setattr(run_module, "run_work", lambda *rest, **more: (*run_work(*rest, **more), "a worker died"))
    steps, notes, it = list[str](), list[str](), SingleAttribute()
    at = Context(folder=tmp_path, command="it", progress=lambda what, *_: steps.append(what), note=notes.append)
    data, methods = asking("test", 3), [Method(name="slide", editor=FlowSlider(steps=2))]
    first = it.edit("a run", at, it.loaded("portraits", at), data, methods)
    assert CODEC not in set(first["method"])
    assert list(first["asked"]) == [item.about["asked"] for item in data.items]
    assert set(steps) == {"single-attribute: a run"}
    assert notes == ["a worker died"]


def test_every_process_loads_the_model_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In this process, and by what other processes are given to load it with."""
    loaded, given = use_rendered(monkeypatch), list[Callable[[], object]]()
    real = run_module.run

    def watched(*rest: Any, load: Callable[[], object], **more: Any) -> Any:
        given.append(load)
        return real(*rest, load=load, **more)

    monkeypatch.setattr(benchmark_runs, "run", watched)
    at, it = Context(folder=tmp_path, command="it", device="cpu"), SingleAttribute()
    it.edit("a run", at, it.loaded("portraits", at), asking("test", 2), [Method(name="m", editor=FlowSlider(steps=2))])
    before = len(loaded.asked)
    given[0]()
    assert len(loaded.asked) == before + 1
    for asked in loaded.asked:
        assert {key: asked[key] for key in ("device", "dtype")} == {"device": "cpu", "dtype": DTYPE}


def test_the_budget_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    model = use_rendered(monkeypatch)("portraits")
    latent = some_latent(model, asking("test", 1))
    editor = paid("eim", {"arm": "text", "level": 1.0}, latent)
    assert editor.evaluations(latent) == 28


def test_the_mean_is_over_items_and_the_interval_over_groups_and_differences_are_paired() -> None:
    """Two items of one group that agree are one picture to the bootstrap."""
    index = pd.MultiIndex.from_tuples([("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1")], names=["group", "item"])
    found = over_groups(pd.Series([1.0, 1.0, 0.0, np.nan], index=index))
    assert (found.mean, found.pictures) == (pytest.approx(2 / 3), 2)
    assert (found.low, found.high) == (0.0, 1.0)
    table = by_item(pd.DataFrame(rows({"a": [0.1, 0.5, 0.9], "b": [0.0, 0.4, 0.8]})), "disentanglement")
    found = over_groups(table["a"] - table["b"])
    assert found.mean == pytest.approx(0.1)
    assert found.high - found.low == pytest.approx(0, abs=1e-12)


def test_the_best_method_counts_nothing_as_zero() -> None:
    table = pd.DataFrame(rows({"half": [0.5, 0.5], "once": [0.9, np.nan], "equal": [0.5, 0.5]}))
    assert best(table) == ["half", "equal", "once"]


def test_means_of_each_value() -> None:
    found = means(pd.DataFrame(rows({"a": [0.2, 0.4], "b": [1.0, 1.0]})), ["method"], "disentanglement")
    assert [(row["method"], round(row["mean"], 6), row["pictures"]) for row in found] == [("a", 0.3, 2), ("b", 1.0, 2)]


def test_costs_are_told_once() -> None:
    assert cost_note(pd.DataFrame(rows({"a": [1.0], "b": [1.0]}))).endswith("28: a, b.")


def test_numbers_are_drawn_beside_zero() -> None:
    numbers = {"above": (0.2, 0.1, 0.3), "below": (-0.2, -0.3, -0.1), "across": (0.0, -0.1, 0.1)}
    claims = [
        Claim.of("it is so", "portraits", name, Estimate(mean=mean, low=low, high=high, pictures=8))
        for name, (mean, low, high) in numbers.items()
    ]
    axis = new_figure().subplots()
    draw_numbers(axis, claims, unit="share")
    assert [label.get_text() for label in axis.get_yticklabels()] == list(numbers)
    points = [line for line in axis.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in points] == [0.2, -0.2, 0.0]
    assert len({line.get_color() for line in points}) == 3


@pytest.mark.parametrize(
    ("small", "claims", "curves"),
    [
        (JointLatent(items=3, calibration=2, levels=(0.9,)), 7, 3),
        (NetworkKinds(items=3, calibration=2, levels=(0.5, 0.9), shifts=(1.0, 2.5)), 12, None),
        (SingleAttribute(items=3), 4, None),
        (HessianPreservation(items=2, strengths=(0.5, 1.0)), 9, 7),
        (LinearStrength(items=2, strengths=(0.5, 1.0)), 12, 5),
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_the_whole_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: EditingExperiment, claims: int, curves: int | None
) -> None:
    """On a drawn model; a second time nothing is measured, and the same is found."""
    loaded = use_rendered(monkeypatch)
    found = small.run(Context(folder=tmp_path, command="it"))
    assert len(found.claims) == claims
    assert [unit[0] for unit in small.units(Context(folder=tmp_path, command="it"))] == list(found.rows["run"].unique())
    figure = new_figure()
    small.draw(found, figure)
    numbers = figure.axes[2] if len(figure.axes) > 2 else figure.axes[1]
    assert len(numbers.get_yticklabels()) == claims
    assert curves is None or len(figure.axes[0].lines) == curves
    with loaded.count() as counted:
        again = small.run(Context(folder=tmp_path, command="it"))
    assert counted.evaluations == 0
    pd.testing.assert_frame_equal(found.rows, again.rows)
    assert repr(found.claims) == repr(again.claims)  # nan is not equal to nan
