"""Studies of analytic models, whose local bases are known, and what tests of plots ask of all of them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from latentedit.core.rng import stream
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, WordMixtureBackbone
from latentedit_bench.experiments.base import Experiment
from latentedit_bench.experiments.geometry import Geometry
from latentedit_bench.experiments.plotting import new_figure, save_figure
from latentedit_bench.experiments.study import Study


def gaussian(variances: Tensor, axes: Tensor, latent: tuple[int, ...]) -> GaussianMixtureBackbone:
    """One Gaussian with a variance along each of some orthonormal axes (rows), and 0.01 along all others.

    The Jacobian of its clean estimate is ``(1 - s) C ((1 - s)^2 C + s^2)^-1`` everywhere, so its singular vectors are
    the axes, in the order of their variances, for all pictures and all levels.
    """
    columns = axes.flatten(1).double().T
    rest = torch.eye(len(columns), dtype=torch.float64) - columns @ columns.T
    covariance = (columns * variances.double()) @ columns.T + 0.01 * rest
    means = torch.zeros(1, len(columns), dtype=torch.float64)
    return GaussianMixtureBackbone(means=means, covariances=covariance[None], latent=latent)


def study_of(backbone: WordMixtureBackbone, count: int, *, levels: Sequence[float], rank: int) -> Study:
    """Latents drawn at random, looked at in the clean estimate."""
    z = torch.randn(count, *backbone.latent, generator=stream(4, "tests"), dtype=torch.float64)
    text = {"condition": backbone.embed([""]), "captions": ("",)}
    return Study(
        backbone=backbone,
        latents=tuple(JointLatent(backbone=backbone, z=one, **text) for one in z.split(1)),
        levels=tuple(levels),
        rank=rank,
        site="clean",
        steps=4,
    )


def small_study(count: int, *, rank: int = 2) -> Study:
    """Latents of one Gaussian at two levels."""
    variances = torch.tensor([4.0, 1.0, 0.3])
    return study_of(gaussian(variances, torch.eye(6)[:3], (6,)), count, levels=(0.9, 0.6), rank=rank)


def measured(experiment: Geometry, study: Study) -> pd.DataFrame:
    """Every row of a study; measuring the last unit again gives the same."""
    found = [experiment.look_at(study, item) for item in experiment.items(study)]
    again = pd.DataFrame(experiment.look_at(study, experiment.items(study)[-1]))
    pd.testing.assert_frame_equal(again, pd.DataFrame(found[-1]))
    return pd.DataFrame([{"model": "one", **row} for rows in found for row in rows])


def beside(trained: pd.DataFrame, untrained: pd.DataFrame) -> pd.DataFrame:
    """The rows of a network and of its untrained twin."""
    return pd.concat([trained.assign(network="trained"), untrained.assign(network="untrained")], ignore_index=True)


def drawn(experiment: Experiment, table: pd.DataFrame, folder: Path) -> Figure:
    """The plot, after it was written to a file without trouble; every axis has labels and something in its legend."""
    figure = new_figure()
    experiment.draw(dataclasses.replace(experiment.conclude(table), rows=table), figure)
    place = folder / "plot.png"
    save_figure(figure, place)
    assert place.stat().st_size > 5000
    for axis in figure.axes:
        assert axis.get_ylabel() or axis.get_xlabel()
    return figure


def legend(figure: Figure, index: int) -> list[str]:
    """What the legend of one of its axes says."""
    found = figure.axes[index].get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]
