"""All plots: of experiments (lines over a column, dots by name, numbers with their intervals), and of rankings."""

import abc
import dataclasses
import functools
import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from latentedit.core import atomic_file
from latentedit_bench.metrics.decisions import Outcome
from latentedit_bench.metrics.statistics import Table, estimate
from latentedit_bench.ranking.evaluate import ANSWERS
from latentedit_bench.ranking.summaries import EFFECTS, PRIMARY, Summaries

# matplotlib is imported where something is drawn, so that claims are listed fast.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
"""Okabe and Ito's colors, which are safe for color-blind readers."""

GRAY = "#888888"
_INK = "#010203"  # stands for the color of the text around an SVG

_PANEL_INCHES = (4.6, 3.6)
_DOTS_PER_INCH = 110
_LINE_INCHES = 0.18  # height of a name next to an axis


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """Data of the plots."""

    rows: Table  # rows of all models
    outcomes: Sequence[Outcome]  # decisions, for each model
    image_columns: Sequence[str]  # columns that name the images of a row


class Plot(Protocol):
    """Draws panels."""

    def panels(self, shown: Shown) -> Iterator[tuple[str, Any]]:
        """Titles, and what draws into an axis."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _OfModels(abc.ABC):
    where: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # column to value

    def panels(self, shown: Shown) -> Iterator[tuple[str, Any]]:
        """One a model."""
        rows = shown.rows
        for column, value in self.where.items():
            rows = rows[rows[column].isin(value if isinstance(value, tuple) else (value,))]
        for model, part in rows.groupby("model", sort=False):
            yield str(model), lambda axis, part=part: self._draw(axis, part, shown.image_columns)

    @abc.abstractmethod
    def _draw(self, axis: "Axes", rows: Table, images: Sequence[str]) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lines(_OfModels):
    """Means of a column over another with 95 % intervals, a line a value of a third."""

    y: str  # the column of numbers
    label: str  # label of the vertical axis, with its unit
    x: str = "level"  # along which; levels fall to the right
    by: str = "network"  # column of the lines
    null: str = ""  # the column of what chance gives, drawn in gray

    def _draw(self, axis: "Axes", rows: Table, images: Sequence[str]) -> None:
        for color, (name, part) in zip(COLORS * 9, rows.groupby(self.by, sort=False), strict=False):
            found = _means(part, self.y, self.x, images)
            axis.plot(found.index, found["mean"], marker="o", markersize=4, color=color, label=str(name))
            if len(found) > 1:
                axis.fill_between(found.index, found["low"], found["high"], color=color, alpha=0.2, linewidth=0)
            else:
                axis.vlines(found.index, found["low"], found["high"], color=color)
        if self.null:
            chance = rows.groupby(self.x)[self.null].mean()
            axis.plot(chance, color=GRAY, linestyle="--", linewidth=1.2, label="random")
        if self.x == "level":
            axis.set_xlim(1, 0)
        axis.set_xlabel("noise level s (1 noise, 0 image)" if self.x == "level" else self.x)
        axis.set_ylabel(self.label, fontsize=8)
        axis.legend(fontsize=7)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dots(_OfModels):
    """Means of a column with 95 % intervals by name, from top to bottom, a color a value of another column."""

    x: str  # the column of numbers
    y: str  # the column of names
    by: str  # column of the colors
    label: str  # label of the horizontal axis, with its unit

    def _draw(self, axis: "Axes", rows: Table, images: Sequence[str]) -> None:
        names = list(dict.fromkeys(rows[self.y]))
        groups = list(rows.groupby(self.by, sort=False))
        for index, (color, (series, part)) in enumerate(zip(COLORS * 9, groups, strict=False)):
            found = _means(part, self.x, self.y, images).reindex(names)
            places = np.arange(len(names)) + 0.24 * (index - (len(groups) - 1) / 2)
            axis.errorbar(found["mean"], places, xerr=sides(found), fmt="o", markersize=4, color=color, label=series)
        _name_rows(axis, names)
        axis.set_xlabel(f"{self.label}, 95 % interval", fontsize=8)
        axis.legend(fontsize=7)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Points(_OfModels):
    """A point a row, of two columns of numbers, a color a value of another column."""

    x: str  # the column of the horizontal axis
    y: str  # column of the vertical axis
    by: str  # column of the colors
    label: str  # label of the vertical axis, with its unit

    def _draw(self, axis: "Axes", rows: Table, images: Sequence[str]) -> None:  # noqa: ARG002
        for color, (name, part) in zip(COLORS * 9, rows.groupby(self.by, sort=False), strict=False):
            axis.scatter(part[self.x].astype(float), part[self.y].astype(float), s=6, color=color, label=str(name))
        axis.set_xlabel(self.x, fontsize=8)
        axis.set_ylabel(self.label, fontsize=8)
        axis.legend(fontsize=7)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """The primary measure of each model with its interval, and the threshold as a gray bar."""

    def panels(self, shown: Shown) -> Iterator[tuple[str, Any]]:
        """One for all models."""
        yield "the number that decides", lambda axis: self._draw(axis, shown.outcomes)

    def _draw(self, axis: "Axes", outcomes: Sequence[Outcome]) -> None:
        for row, claim in enumerate(outcomes):
            color = COLORS[0] if claim.low > claim.threshold else COLORS[1] if claim.high < claim.threshold else GRAY
            ends = [max(0.0, claim.estimate - claim.low)], [max(0.0, claim.high - claim.estimate)]
            xerr = claim.scale * np.array(ends)
            axis.errorbar(claim.scale * claim.estimate, row, xerr=xerr, fmt="o", markersize=4, color=color)
            axis.plot(claim.scale * claim.threshold, row, marker="|", markersize=18, markeredgewidth=2, color=GRAY)
        _name_rows(axis, [claim.model for claim in outcomes])
        about = dict.fromkeys(f"{claim.measure}, {claim.unit}".removesuffix(", ") for claim in outcomes)
        axis.set_xlabel(textwrap.fill(f"{'; '.join(about)}; 95 % interval; gray: required", 66), fontsize=8)


def draw_figure(plots: Sequence[Plot], shown: Shown) -> "Figure":
    """All panels in a row."""
    parts = [panel for plot in plots for panel in plot.panels(shown)]
    figure = new_figure(len(parts))
    for axis, (_, drawn) in zip(panels(figure, [title for title, _ in parts]), parts, strict=True):
        drawn(axis)
    return figure


def new_figure(count: int = 1) -> "Figure":
    """An empty figure with room for `count` panels in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  # heavy
    from matplotlib.figure import Figure  # noqa: PLC0415  # heavy

    figure = Figure(figsize=(_PANEL_INCHES[0] * count, _PANEL_INCHES[1]), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(figure: "Figure", names: Sequence[str]) -> "list[Axes]":
    """Axes in one row, each headed by its name."""
    axes = list(figure.subplots(1, len(names), squeeze=False)[0])
    for axis, name in zip(axes, names, strict=True):
        axis.set_title(name, fontsize=10)
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    return axes


def sides(rows: Table) -> list[Table]:
    """Lengths of the two sides of intervals, from "mean", "low" and "high"."""
    return [(rows["mean"] - rows["low"]).clip(lower=0), (rows["high"] - rows["mean"]).clip(lower=0)]


def save_figure(figure: "Figure", path: Path) -> None:
    """Lossless and atomic, in the format of the suffix."""
    kind = path.suffix[1:]
    exact: dict[str, Any] = {"pil_kwargs": {"lossless": True}} if kind == "webp" else {}
    with atomic_file(path) as file:
        figure.savefig(file, format=kind, dpi=_DOTS_PER_INCH, **exact)


def _means(rows: Table, column: str, along: str, images: Sequence[str]) -> Table:
    found = {
        name: dataclasses.asdict(estimate(part[column].astype(float).tolist(), part[list(images)].to_numpy().tolist()))
        for name, part in rows.groupby(along, sort=True)
    }
    return pd.DataFrame.from_dict(found, orient="index")


def _name_rows(axis: "Axes", names: Sequence[str]) -> None:
    """Names from top to bottom; the figure grows until none lies over another."""
    wrapped = ["\n".join(textwrap.wrap(str(name).replace("_", " "), 42)) for name in names]
    axis.set_yticks(range(len(names)), wrapped, fontsize=7)
    axis.set_ylim(len(names) - 0.5, -0.5)
    figure = axis.get_figure(root=True)
    lines = sum(1 + name.count("\n") for name in wrapped)
    if figure is not None:
        figure.set_figheight(max(figure.get_figheight(), 1.2 + _LINE_INCHES * lines))


def write_curves(path: Path, found: Summaries) -> None:
    """The plots next to each other, as a PNG."""
    plots = _plots(found)
    figure = new_figure(len(plots))
    axes = panels(figure, list(plots))
    figure.set_size_inches(6 * len(plots), max(4.5, 0.26 * len(found.order) + 1.2))
    for axis, (draw, _) in zip(axes, plots.values(), strict=True):
        draw(axis)
    save_figure(figure, path)


def curves_svg(found: Summaries) -> tuple[str, ...]:
    """Each plot as an ``<svg>``."""
    return tuple(svg(draw, title, height) for title, (draw, height) in _plots(found).items())


def _plots(found: Summaries) -> "dict[str, tuple[Callable[[Axes], None], float]]":
    """Title to plot and its height in inches; a run at one strength has no curves."""
    plots: dict[str, tuple[Callable[[Axes], None], float]] = {}
    if found.curves is not None:
        plots["leakage against effect"] = functools.partial(_draw_curves, found), 5.2
    height = 0.24 * len(found.order) + 1
    plots["error above the codec's at strength 1"] = functools.partial(_draw_errors, found), height
    return plots


def svg(draw: "Callable[[Axes], None]", title: str, height: float) -> str:
    """One plot as an ``<svg>``, in the color of the text around it and without a background."""
    names = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings: Any = dict.fromkeys(names, _INK) | {"svg.fonttype": "none", "svg.hashsalt": title, "legend.framealpha": 0}
    import matplotlib as mpl  # noqa: PLC0415  # heavy

    text = io.StringIO()
    with mpl.rc_context(settings):
        figure = new_figure(1)
        axis = panels(figure, [""])[0]
        axis.grid(color=GRAY, alpha=0.3)
        figure.set_size_inches(6.2, max(2.2, height))
        draw(axis)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    drawn = text.getvalue().replace(_INK, "currentColor")
    return drawn[drawn.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def _shown(found: Summaries) -> Sequence[str]:
    """The methods with a color: ours and the best baselines, or the best of a run without ours."""
    alone = [name for name in found.order if name not in ANSWERS]
    return ([found.ours, *found.rivals] if found.ours in found.order else alone)[: len(COLORS) - 1]


def _draw_curves(found: Summaries, axis: "Axes") -> None:
    assert found.curves is not None
    shown = _shown(found)
    for name in found.order:
        part = found.curves[found.curves["method"] == name].set_index("measure")["mean"]
        effect, leakage = (0.0, *EFFECTS), (0.0, *(float(part[f"leakage at {wanted:g}"]) for wanted in EFFECTS))
        if name in shown:
            color = COLORS[shown.index(name)]
            axis.plot(effect, leakage, color=color, marker="o", markersize=4, label=name, zorder=2)
        else:
            axis.plot(effect, leakage, color="#999999", alpha=0.5, linewidth=0.8, zorder=1)
    axis.set_ylim(0, 1)
    axis.set_xlabel("effect (1 is the whole change)")
    axis.set_ylabel("leakage (in the length of the whole change)")
    if set(shown) & set(found.order):
        axis.legend(fontsize=8)


def _draw_errors(found: Summaries, axis: "Axes") -> None:
    shown = _shown(found)
    errors = found.table[found.table["measure"] == PRIMARY].set_index("method").loc[list(found.order)[::-1]]
    colors = [COLORS[shown.index(name)] if name in shown else GRAY for name in errors.index]
    bars = {"linewidth": 1, "ecolor": axis.title.get_color()}
    axis.barh(list(errors.index), errors["mean"], xerr=sides(errors), color=colors, error_kw=bars)
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlabel("error above the codec's, 95 % interval")
