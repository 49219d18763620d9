"""How all plots look: one panel a model, lines with their intervals, null levels in grey."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from latentedit_bench.experiments.claim import Claim
from latentedit_bench.metrics.statistics import Table, by_level
from latentedit_keep.files import written_beside

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
"""Okabe and Ito's, which colour-blind readers can tell apart."""

GREY = "#888888"
LEVEL_LABEL = "level s  (1 noise, 0 picture)"

_PANEL_INCHES = (4.6, 3.6)
_DOTS_PER_INCH = 110
_LINE_INCHES, _AROUND_INCHES = 0.125, 2.0
"""Height of a line of names, and of what is above and below all of them."""


def new_figure(panels: int = 1) -> Figure:
    """An empty figure with room for so many panels in a row."""
    figure = Figure(figsize=(_PANEL_INCHES[0] * panels, _PANEL_INCHES[1]), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(
    figure: Figure,
    names: Sequence[str],
    *,
    rows: int = 1,
    share_y: bool = True,
    size: tuple[float, float] | None = None,
) -> list[list[Axes]]:
    """Axes ``[rows][names]``, each column headed by its name; the figure gets the size in inches that they need."""
    width, height = _PANEL_INCHES
    figure.set_size_inches(*(size or (width * len(names), height * rows)))
    axes = figure.subplots(rows, len(names), squeeze=False, sharey="row" if share_y else False)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=10)
    for axis in axes.flat:
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    return [list(row) for row in axes]


def finish(axis: Axes, label: str, *, unit_range: bool = False) -> None:
    """Name the vertical axis, and tell what is drawn.

    Args:
        axis: of the plot.
        label: what is measured, with its unit.
        unit_range: show 0 to 1 whatever was found.
    """
    if unit_range:
        axis.set_ylim(0, 1.02)
    axis.set_ylabel(label, fontsize=8)
    axis.legend(fontsize=7)


def draw_levels(axis: Axes, summary: Table, *, label: str, colour: str) -> None:
    """Means over levels with their intervals, as a band or of one level as a bar; levels fall to the right.

    Args:
        axis: of the plot.
        summary: "level", "mean", "low", "high", as `statistics.by_level` gives.
        label: of the line.
        colour: of line and interval.
    """
    axis.plot(summary["level"], summary["mean"], marker="o", markersize=4, color=colour, label=label)
    if len(summary) > 1:
        axis.fill_between(summary["level"], summary["low"], summary["high"], color=colour, alpha=0.2, linewidth=0)
    else:
        axis.vlines(summary["level"], summary["low"], summary["high"], color=colour)
    axis.set_xlim(1, 0)
    axis.set_xlabel(LEVEL_LABEL)


def draw_column(
    axis: Axes, rows: Table, column: str, *, label: str, colour: str, members: Sequence[str] = ("picture",)
) -> None:
    """`draw_levels` of a column, where it is known; see `statistics.by_level`."""
    known = rows[rows[column].notna()]
    if len(known):
        draw_levels(axis, by_level(known, column, members=members), label=f"{label}, 95 %", colour=colour)


def draw_networks(axis: Axes, rows: Table, column: str, *, members: Sequence[str] = ("picture",)) -> None:
    """`draw_column` of the trained network, and of its untrained twin where that is the control."""
    for network, label, colour in (("trained", "trained", COLOURS[0]), ("untrained", "untrained twin", COLOURS[1])):
        draw_column(axis, rows[rows["network"] == network], column, label=label, colour=colour, members=members)


def draw_spread(axis: Axes, rows: Table, along: str, column: str, *, label: str, colour: str) -> None:
    """The mean of a column along another, with a band that holds all rows."""
    spread = rows.groupby(along)[column]
    low, high = spread.min(), spread.max()
    axis.plot(spread.mean(), color=colour, label=label)
    axis.fill_between(low.index, low, high, color=colour, alpha=0.12, linewidth=0)


def draw_points(axis: Axes, rows: Table, along: str, column: str) -> None:
    """A point a row, a colour a level; levels fall."""
    for colour, (level, part) in falling_levels(rows):
        label = f"level {level:.2f}"
        axis.scatter(part[along], part[column], s=12, color=colour, alpha=0.65, linewidths=0, label=label)


def falling_levels(rows: Table) -> Iterator[tuple[str, tuple[float, Table]]]:
    """A colour, a level and its rows, from the highest level on."""
    return zip(COLOURS * 9, reversed(list(rows.groupby("level"))), strict=False)


def arms(rows: Table) -> list[Table]:
    """Lengths of the two sides of intervals, from "mean", "low" and "high"."""
    return [(rows["mean"] - rows["low"]).clip(lower=0), (rows["high"] - rows["mean"]).clip(lower=0)]


def draw_null(axis: Axes, mean: float, low: float, high: float, *, label: str) -> None:
    """The level that chance gives, with its central 95 %."""
    axis.axhline(mean, color=GREY, linestyle="--", linewidth=1.2, label=label)
    axis.axhspan(low, high, color=GREY, alpha=0.2, linewidth=0)


def draw_subspace_null(axis: Axes, rows: Table) -> None:
    """The distance of random subspaces, from the columns of `samples.compared`."""
    draw_null(axis, *rows[["null", "null_low", "null_high"]].mean().tolist(), label="random subspaces")


def draw_numbers(axis: Axes, claims: Sequence[Claim], *, unit: str) -> None:
    """Claims from top to bottom, with their intervals; at 0 the line that decides.

    Args:
        axis: of the plot, in one row of them; its figure grows until no name lies over another.
        claims: one or more.
        unit: of the numbers.
    """
    several = len({claim.model for claim in claims}) > 1
    for row, claim in enumerate(claims):
        colour = COLOURS[0] if claim.low > 0 else COLOURS[1] if claim.high < 0 else GREY
        sides = [[max(0.0, claim.estimate - claim.low)], [max(0.0, claim.high - claim.estimate)]]
        axis.errorbar(claim.estimate, row, xerr=sides, fmt="o", markersize=4, color=colour)
    axis.axvline(0, color=GREY, linestyle="--", linewidth=1.2)
    names = [f"{one.model}: {one.measure}" if several else one.measure for one in claims]
    wrapped = [textwrap.wrap(name, 42) for name in names]
    axis.set_yticks(range(len(claims)), ["\n".join(lines) for lines in wrapped], fontsize=7)
    axis.set_ylim(len(claims) - 0.5, -0.5)
    needed = _AROUND_INCHES + _LINE_INCHES * len(claims) * max(len(lines) for lines in wrapped)
    figure = axis.get_figure(root=True)
    assert figure is not None
    figure.set_figheight(max(figure.get_figheight(), needed))
    axis.set_xlabel(f"{unit}\n95 % interval; the claim is true above 0", fontsize=8)


def draw_by_name(axis: Axes, rows: Table, names: str, series: str, colours: Mapping[str, str]) -> None:
    """Means with their intervals, names from top to bottom, one point a series beside each other.

    Args:
        axis: of the plot.
        rows: with "mean", "low", "high".
        names: the column that is written on the axis; "_" is a space there.
        series: the column that colours tell apart.
        colours: each value of that column to its own.
    """
    order = sorted(set(rows[names]))
    for index, (name, colour) in enumerate(colours.items()):
        own = rows[rows[series] == name].set_index(names).reindex(order)
        places = np.arange(len(order)) + 0.24 * (index - (len(colours) - 1) / 2)
        axis.errorbar(own["mean"], places, xerr=arms(own), fmt="o", markersize=4, color=colour, label=name)
    axis.set_yticks(range(len(order)), [str(name).replace("_", " ") for name in order], fontsize=7)
    axis.set_ylim(len(order) - 0.5, -0.5)
    axis.legend(fontsize=7)


def draw_line(axis: Axes, rows: Table, along: str, *, label: str, colour: str) -> None:
    """Means over a column of numbers, with their intervals."""
    part = rows.sort_values(along)
    x, mean, low, high = (part[name].to_numpy(float) for name in (along, "mean", "low", "high"))
    axis.plot(x, mean, marker="o", markersize=4, color=colour, label=label)
    axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def save_figure(figure: Figure, path: Path) -> None:
    """In the format of the path's ending (PNG or WebP, without loss), whole or not at all.

    Raises:
        OutputError: the place cannot be written to.
    """
    data = BytesIO()
    kind = path.suffix.removeprefix(".")
    figure.savefig(data, format=kind, dpi=_DOTS_PER_INCH, pil_kwargs={"lossless": True} if kind == "webp" else None)
    with written_beside(path) as file:
        file.write(data.getvalue())
