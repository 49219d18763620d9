"""The figures of docs/results/claims.md, from the bases and the results of `research.foreign.claims`.

python -m research.foreign.figures --results research/results/foreign/claims.json --images docs/images/results
"""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import load_file

from latentedit.core import atomic_file
from research.foreign.claims import IMAGES, SEED
from research.foreign.galaxies import FOLDER, NETWORKS
from research.foreign.measures import KINDS, LEVELS, bases_file, galaxies

SHOWN = 2  # vectors of a basis, of the first image
TILE, HEAD, DPI = 0.72, 0.4, 110  # side of an image and height of the titles in inches
NAMES = {"trained": "trained", "twin": "twin"}
COLUMNS = {
    "frequency": "mean frequency / Nyquist",
    "distance": "distance / largest",
    "log_stable_rank": "log10 stable rank",
}


def main() -> None:
    """Draw both."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--results", type=Path, required=True, help="the decisions, as JSON")
    options.add_argument("--images", type=Path, required=True, help="folder of the figures")
    options.add_argument("--folder", type=Path, default=FOLDER, help="of bases")
    chosen = options.parse_args()
    with torch.no_grad(), mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        save(vectors(chosen.folder), chosen.images / "foreign-bases.webp")
        networks = json.loads(chosen.results.read_text("utf-8"))["networks"]
        save(levels(networks), chosen.images / "foreign-levels.webp")


def vectors(folder: Path) -> Figure:
    """The first vectors of a network's basis over the levels, with those of its twin below."""
    columns = 1 + SHOWN * len(LEVELS)
    rows = len(KINDS) * len(NETWORKS)
    height = TILE * rows + HEAD
    figure, axes = plt.subplots(rows, columns, figsize=(TILE * (columns + 1.3), height), squeeze=False)
    for index, name in enumerate(NETWORKS):
        example = galaxies(name, 1, SEED).x[0, 0]
        for place, kind in enumerate(KINDS):
            row = axes[len(KINDS) * index + place]
            picture = example if kind == "trained" else None
            show(row[0], picture, "gray", None)
            row[0].set_ylabel(f"{name}\n{NAMES[kind]}", rotation=0, ha="right", va="center")
            for which, level in enumerate(LEVELS):
                v = load_file(bases_file(folder, name, SEED, IMAGES, kind, "mid", level))["v"][0]
                for k in range(SHOWN):
                    show(row[1 + SHOWN * which + k], v[k, 0], "RdBu_r", float(v[k].abs().max()))
    axes[0, 0].set_title("image")
    for which, level in enumerate(LEVELS):
        for k in range(SHOWN):
            axes[0, 1 + SHOWN * which + k].set_title(
                f"level {level}\nvector {k + 1}" if k == 0 else f"\nvector {k + 1}"
            )
    figure.subplots_adjust(left=0.16, right=0.995, top=1 - HEAD / height, bottom=0.005, wspace=0.06, hspace=0.06)
    return figure


def show(axis: Axes, values: torch.Tensor | None, colors: str, most: float | None) -> None:
    """One tile without ticks; nothing where there is no image."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    if values is not None:
        axis.imshow(values.numpy(), cmap=colors, vmin=None if most is None else -most, vmax=most)


def levels(networks: dict[str, Any]) -> Figure:
    """How the bases change over the levels; networks as lines, their twins as broken ones."""
    figure, axes = plt.subplots(1, len(COLUMNS), figsize=(7.2, 2.6), layout="constrained")
    for axis, (column, label) in zip(axes, COLUMNS.items(), strict=True):
        for index, (name, about) in enumerate(networks.items()):
            for kind, line in zip(KINDS, ("-", "--"), strict=True):
                values = [about["bases"][kind]["mid"][str(level)][column] for level in LEVELS]
                label_of = name if kind == "trained" and column == "frequency" else None
                axis.plot(LEVELS, values, line, color=f"C{index}", marker=".", label=label_of)
        axis.set_xlabel("level (noise is on the right)")
        axis.set_title(label, fontsize=8)
    figure.legend(loc="outside right upper", frameon=False, title="line: trained\nbroken: twin")
    return figure


def save(figure: Figure, file: Path) -> None:
    """The figure as WebP."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    plt.close(figure)
    with atomic_file(file) as made:
        Image.open(buffer).convert("RGB").save(made, format="WEBP", quality=80, method=6)


if __name__ == "__main__":
    main()
