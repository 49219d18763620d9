"""Plots show numbers with their intervals at their places, verdicts in colors, and names that fit."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentedit_bench.metrics.decisions import Outcome
from latentedit_bench.metrics.statistics import Estimate
from latentedit_bench.ranking.evaluate import ANSWERS
from latentedit_bench.ranking.search_spaces import Roles
from latentedit_bench.ranking.summaries import Summaries
from latentedit_bench.report import plots
from latentedit_bench.report.plots import COLORS, GRAY, Dots, Forest, Lines, Plot, Points, Shown, draw_figure
from research.tests.bench.made_runs import SLOPES, rows_of

pytestmark = pytest.mark.usefixtures("few_draws")

ROWS = pd.DataFrame(
    [
        {"model": model, "network": network, "level": level, "image": image, "chance": 0.1, "aside": 1}
        | {"value": (1 if network == "trained" else 3) * level + 0.01 * (image - 3)}
        for model in ("one", "two")
        for network in ("trained", "untrained")
        for level in (0.5, 0.9)
        for image in range(7)
    ]
)


def drawn(plot: Plot, rows: Any = ROWS, outcomes: tuple[Outcome, ...] = ()) -> Any:
    return draw_figure([plot], Shown(rows=rows, outcomes=outcomes, image_columns=("image",)))


def test_lines_are_means_over_the_level_with_their_intervals() -> None:
    """A panel a model, a line a network; one level alone has a vertical interval."""
    figure = drawn(Lines(y="value", label="value / 1", null="chance", where={"model": ("two", "one")}))
    assert [axis.get_title() for axis in figure.axes] == ["one", "two"]
    axis = figure.axes[1]
    assert [line.get_label() for line in axis.lines] == ["trained", "untrained", "random"]
    assert [line.get_xdata().tolist() for line in axis.lines] == [[0.5, 0.9]] * 3
    assert [list(line.get_ydata()) for line in axis.lines] == [
        pytest.approx(one) for one in ([0.5, 0.9], [1.5, 2.7], [0.1, 0.1])
    ]
    assert [line.get_color() for line in axis.lines] == [*COLORS[:2], GRAY]
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert 0.47 < band.min() < 0.5
    assert 0.9 < band.max() < 0.93
    assert axis.get_xlim() == (1, 0), "levels fall to the right"
    assert axis.get_ylabel() == "value / 1"
    (axis,) = drawn(Lines(y="value", label="", x="aside", where={"model": "one", "level": 0.5})).axes
    assert (axis.get_xlabel(), len(axis.lines)) == ("aside", 2)
    (low, high) = axis.collections[0].get_segments()[0]
    assert low[0] == high[0] == 1
    assert 0.47 < low[1] < 0.5 < high[1] < 0.53


def test_dots_stand_at_their_mean_in_the_row_of_their_name() -> None:
    (axis,) = drawn(Dots(x="value", y="level", by="network", label="value", where={"model": "one"})).axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["0.5", "0.9"]
    assert axis.get_ylim() == (1.5, -0.5), "from top to bottom"
    for line, mean, apart in zip(axis.lines, ([0.5, 0.9], [1.5, 2.7]), (-0.12, 0.12), strict=True):
        assert list(line.get_xdata()) == pytest.approx(mean)
        assert list(line.get_ydata()) == pytest.approx([apart, 1 + apart])
    for (low, high), mean in zip(axis.collections[0].get_segments(), (0.5, 0.9), strict=True):
        assert mean - 0.03 < low[0] < mean < high[0] < mean + 0.03


def test_points_are_the_rows() -> None:
    (axis,) = drawn(Points(x="level", y="value", by="network", label="value", where={"model": "two"})).axes
    trained, untrained = (points.get_offsets() for points in axis.collections)
    rows = ROWS[ROWS["model"] == "two"]
    np.testing.assert_allclose([*trained, *untrained], rows[["level", "value"]])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("level", "value")


def test_a_primary_number_has_the_color_of_its_verdict_and_no_name_lies_over_another() -> None:
    ends = [(0.2, 0.4), (-0.4, -0.2), (-0.1, 0.3)] * 10
    outcomes = [
        Outcome.of(
            f"model {n}", "m", Estimate(mean=(low + high) / 2, low=low, high=high, images=8), threshold=0.1, unit="%"
        )
        for n, (low, high) in enumerate(ends)
    ]
    figure = drawn(Forest(), outcomes=tuple(outcomes))
    (axis,) = figure.axes
    assert [line.get_color() for line in axis.lines[::2]] == [COLORS[0], COLORS[1], GRAY] * 10
    assert [line.get_ydata()[0] for line in axis.lines[::2]] == list(range(30))
    assert [line.get_xdata()[0] for line in axis.lines[:4]] == pytest.approx([30, 10, -30, 10]), "in percent"
    assert axis.collections[0].get_segments()[0][:, 0].tolist() == pytest.approx([20, 40])
    assert figure.get_figheight() > 30 * 0.15, "inches"
    unknown = Outcome.of("one", "m", Estimate(mean=0.5, low=math.nan, high=math.nan, images=3))
    assert drawn(Forest(), outcomes=(unknown,)).axes[0].lines[0].get_color() == GRAY


@pytest.mark.slow
def test_curves_and_errors_of_a_ranking() -> None:
    """Leakage against effect on straight paths, ours and the best rivals in color; errors with the best on top."""
    found = Summaries.of(
        pd.DataFrame([row for name in SLOPES for row in rows_of(name)]), Roles(apart=frozenset(["sdedit"]))
    )
    figure = plots.new_figure(2)
    curves, errors = plots.panels(figure, ["", ""])
    assert [name.split()[0] for name in plots._plots(found)] == ["leakage", "error"]
    for axis, (draw, _) in zip((curves, errors), plots._plots(found).values(), strict=True):
        draw(axis)
    labels = {line.get_label(): line for line in curves.lines if not str(line.get_label()).startswith("_")}
    assert list(labels) == ["eim", "eim joint", "eim text", "flow<edit>"]
    line = labels["flow<edit>"]
    slope = np.array([0.5 + 0.01 * item for item in range(8)]).mean()
    np.testing.assert_allclose(line.get_ydata(), slope * np.array(line.get_xdata()))
    assert len(curves.lines) == len(found.order)
    names = [text.get_text() for text in errors.get_yticklabels()]
    assert names == list(found.order)[::-1]
    widths = [one.get_width() for one in errors.patches]
    assert widths == sorted(widths, reverse=True)
    assert len({one.get_facecolor() for one in errors.patches}) == 5, "the right answers are gray"
    assert {*ANSWERS} < {*names}
    svg = plots.curves_svg(found)[0]
    assert svg.startswith('<svg role="img" aria-label="leakage against effect"')
    assert plots._INK not in svg
