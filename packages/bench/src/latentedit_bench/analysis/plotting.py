"""How the plots of all analyses look: one panel a model, lines with their intervals, null levels in grey."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from latentedit.core.files.writing import written_beside
from latentedit_bench.metrics.statistics import Table

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
"""Okabe and Ito's, which colour-blind readers can tell apart."""

GREY = "#888888"
LEVEL_LABEL = "level s  (1 noise, 0 picture)"

_PANEL_INCHES = (4.6, 3.6)
_DOTS_PER_INCH = 110


def new_figure(panels: int, rows: int = 1) -> Figure:
    """An empty figure with room for so many panels in a row, and so many rows of them."""
    figure = Figure(figsize=(_PANEL_INCHES[0] * panels, _PANEL_INCHES[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(figure: Figure, names: Sequence[str], *, rows: int = 1, share_y: bool = True) -> list[list[Axes]]:
    """Axes ``[rows][names]``, each column headed by its name."""
    width, height = _PANEL_INCHES
    figure.set_size_inches(width * len(names), height * rows)
    axes = figure.subplots(rows, len(names), squeeze=False, sharey="row" if share_y else False)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=10)
    for axis in axes.flat:
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    return [list(row) for row in axes]


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


def draw_null(axis: Axes, mean: float, low: float, high: float, *, label: str) -> None:
    """The level that chance gives, with its central 95 %."""
    axis.axhline(mean, color=GREY, linestyle="--", linewidth=1.2, label=label)
    axis.axhspan(low, high, color=GREY, alpha=0.2, linewidth=0)


def save_figure(figure: Figure, path: Path) -> None:
    """As a PNG, whole or not at all.

    Raises:
        OutputError: the place cannot be written to.
    """
    data = BytesIO()
    figure.savefig(data, format="png", dpi=_DOTS_PER_INCH)
    with written_beside(path) as file:
        file.write(data.getvalue())
