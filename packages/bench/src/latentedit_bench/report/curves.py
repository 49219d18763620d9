"""The plots of a run: leakage against effect over strengths, and the error of every method with its interval."""

from collections.abc import Callable, Sequence
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from latentedit_bench.experiments.plots import COLORS, GRAY, new_figure, panels, save_figure, sides
from latentedit_bench.ranking.evaluate import ANSWERS
from latentedit_bench.ranking.summaries import EFFECTS, PRIMARY, Summaries

_INK = "#010203"  # stands for the color of the text around an SVG


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


def _plots(found: Summaries) -> dict[str, tuple[Callable[[Axes], None], float]]:
    """Title to plot and its height in inches; a run at one strength has no curves."""
    curves = {} if found.curves is None else {"leakage against effect": (partial(_draw_curves, found), 5.2)}
    errors = (partial(_draw_errors, found), 0.24 * len(found.order) + 1)
    return curves | {"error above the codec's at strength 1": errors}


def svg(draw: Callable[[Axes], None], title: str, height: float) -> str:
    """One plot as an ``<svg>``, in the color of the text around it and without a background."""
    names = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings: Any = dict.fromkeys(names, _INK) | {"svg.fonttype": "none", "svg.hashsalt": title, "legend.framealpha": 0}
    text = StringIO()
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
    """Those that have a color: ours and the best baselines, or the best of a run without ours."""
    alone = [name for name in found.order if name not in ANSWERS]
    return ([found.ours, *found.rivals] if found.ours in found.order else alone)[: len(COLORS) - 1]


def _draw_curves(found: Summaries, axis: Axes) -> None:
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


def _draw_errors(found: Summaries, axis: Axes) -> None:
    shown = _shown(found)
    errors = found.table[found.table["measure"] == PRIMARY].set_index("method").loc[list(found.order)[::-1]]
    colors = [COLORS[shown.index(name)] if name in shown else GRAY for name in errors.index]
    bars = {"linewidth": 1, "ecolor": mpl.rcParams["text.color"]}
    axis.barh(list(errors.index), errors["mean"], xerr=sides(errors), color=colors, error_kw=bars)
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlabel("error above the codec's, 95 % interval")
