"""Items that ask for something, differences paired by item whose groups are drawn, and what a table of claims holds."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentedit.api.runs.executors import run_work
from latentedit.editors.baselines.flowslider import FlowSlider
from latentedit.models.placement import half_or_float32
from latentedit_bench.experiments import benchmark_runs
from latentedit_bench.experiments.base import Context
from latentedit_bench.experiments.benchmark_runs import best, cost_note, paid, some_latent
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.hessian_preservation import HessianPreservation
from latentedit_bench.experiments.joint_latent import JointLatent
from latentedit_bench.experiments.known_items import KnownItems, Part, asking
from latentedit_bench.experiments.linear_strength import LinearStrength
from latentedit_bench.experiments.network_kinds import NetworkKinds
from latentedit_bench.experiments.plotting import draw_numbers, new_figure
from latentedit_bench.experiments.single_attribute import SingleAttribute
from latentedit_bench.metrics.statistics import Estimate, by_item, means, over_groups
from latentedit_bench.ranking import run as run_module
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.methods import Method
from tests.bench.experiments.rendered_bench import rows, use_rendered

pytestmark = pytest.mark.slow


@pytest.mark.nightly
def test_items_ask_for_something() -> None:
    data = asking("calibration", 1000)
    assert len(data.items) == 216
    assert asking("calibration", 1, captions="partial").items[0].source_caption != data.items[0].source_caption
    assert {item.kind for item in data.items} == {"single", "pair", "triple", "graded"}
    single = asking("test", 5, ("single",))
    assert [item.kind for item in single.items] == ["single"] * 5
    assert single.name != asking("test", 5).name


def test_a_run_says_whose_rows_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_rendered(monkeypatch)
    monkeypatch.setattr(run_module, "run_work", lambda *rest, **more: (*run_work(*rest, **more), "a worker died"))
    steps, notes, it = list[str](), list[str](), SingleAttribute()
    at = Context(folder=tmp_path, command="it", progress=lambda what, *_: steps.append(what), note=notes.append)
    part, methods = Part(model="portraits", items=3), [Method(name="slide", editor=FlowSlider(steps=2))]
    first = it.edit(part, at, part.data(), methods)
    assert CODEC not in set(first["method"])
    assert list(first["asked"]) == [item.about["asked"] for item in part.data().items]
    assert set(steps) == {"single-attribute: portraits-test-full"}
    assert notes == ["a worker died"]
    assert part.about == {"part": "portraits-test-full", "model": "portraits", "captions": "full", "split": "test"}
    assert Part(model="out/mine", items=3, captions="partial").name == "mine-test-partial"


def test_every_process_loads_the_model_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In this process, and by what other processes are given to load it with."""
    known, given = use_rendered(monkeypatch), list[Callable[[], object]]()
    real = run_module.run

    def watched(*rest: Any, load: Callable[[], object], **more: Any) -> Any:
        given.append(load)
        return real(*rest, load=load, **more)

    monkeypatch.setattr(benchmark_runs, "run", watched)
    at, it = Context(folder=tmp_path, command="it", device="cpu"), SingleAttribute()
    part = Part(model="portraits-unet", items=2)
    it.edit(part, at, part.data(), [Method(name="m", editor=FlowSlider(steps=2))])
    before = len(known.asked)
    given[0]()
    assert len(known.asked) == before + 1
    for asked in known.asked:
        wanted = {"name": "portraits-unet", "device": "cpu", "dtype": half_or_float32("cpu")}
        assert {key: asked[key] for key in wanted} == wanted


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
    table = by_item(pd.DataFrame(rows({"a": [0.1, 0.5, 0.9], "b": [0.0, 0.4, 0.8]})), "disentanglement")
    found = over_groups(table["a"] - table["b"])
    assert found.mean == pytest.approx(0.1)


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


def test_long_names_of_numbers_do_not_lie_over_each_other() -> None:
    one = Estimate(mean=0.2, low=0.1, high=0.3, pictures=8)
    claims = [Claim.of("it is so", "portraits", f"a measure of many words, {row} " * 4, one) for row in range(14)]
    figure = new_figure(2)
    axis = figure.subplots(1, 2)[1]
    draw_numbers(axis, claims, unit="share")
    figure.draw_without_rendering()
    places = [label.get_window_extent() for label in axis.get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(places))


SMALL = (
    NetworkKinds(items=3, calibration=2, levels=(0.5, 0.9), shifts=(1.0, 2.5)),
    SingleAttribute(items=3, others=2),
    HessianPreservation(items=2, others=2),
    LinearStrength(items=2, others=2, strengths=(0.5, 1.0), steps=4),
    JointLatent(items=3, others=2, levels=(0.5, 0.9), steps=4),
)


@pytest.mark.parametrize(
    "small",
    [
        pytest.param(one, id=one.name, marks=[] if isinstance(one, LinearStrength) else pytest.mark.nightly)
        for one in SMALL
    ],
)
def test_the_whole_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: KnownItems) -> None:
    """On a drawn model, at no more than what the plan says; a second time nothing is measured, the same is found."""
    known, at = use_rendered(monkeypatch), Context(folder=tmp_path, command="it")
    with known.count() as counted:
        found = small.run(at)
    told = str(small.plan["network evaluations"]).split(",")[0]
    assert 0.7 * int(told.split()[1]) <= counted.evaluations <= int(told.split()[1])
    assert found.claims[0].statement == small.statement
    assert set(found.rows["part"]) == {part.name for part in small.parts}
    if not isinstance(small, NetworkKinds):
        assert list(dict.fromkeys(claim.model for claim in found.claims)) == list(small.models)
    figure = new_figure()
    small.draw(found, figure)
    assert any(axis.get_yticklabels() and "true above 0" in axis.get_xlabel() for axis in figure.axes)
    with known.count() as counted:
        again = small.run(Context(folder=tmp_path, command="it"))
    assert counted.evaluations == 0
    pd.testing.assert_frame_equal(found.rows, again.rows)
    assert repr(found.claims) == repr(again.claims)  # nan is not equal to nan
