"""How fine the vectors of the local basis are: their power over spatial frequency, over levels."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.controls import NETWORKS, of_network
from latentedit_bench.experiments.geometry import RIEMANNIAN, Found, Geometry
from latentedit_bench.experiments.plotting import (
    COLOURS,
    GREY,
    draw_column,
    draw_networks,
    draw_spread,
    falling_levels,
    finish,
)
from latentedit_bench.experiments.radial_power import RadialPower, centroid, low_share, radial_power, white_centroid
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import at_each_rank, at_fitted_rank, gaps
from latentedit_bench.metrics.statistics import Table, by_level, rise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Frequency(Geometry):
    """Rows of a picture at a level: one a vector ("vector"), and one a ring of equal frequency ("bin").

    "centroid" is the mean frequency of a vector weighted by power, in units of Nyquist, and "low_share" the share of
    its power below a quarter of Nyquist. "density" is the mean power of a coefficient in a ring, where that of white
    noise is 1, averaged over the vectors with equal weights. The null level is white noise, which is exact: vectors
    that were drawn at random would have it. The latent itself at the same level is a second reference: vectors that
    only followed what is in the latent would have its spectrum. The control is the untrained twin of the network at the
    same latents. "gap" is ``log(s_k / s_{k+1})``: the mean over the first vectors decides up to the rank after which
    the trained network's values fall most (`subspaces.fitted_rank`), and stands beside it for other ranks.
    """

    name: ClassVar[str] = "geometry-frequency"
    minutes: ClassVar[int] = 12
    title: ClassVar[str] = "Spatial frequency of the local basis over levels"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "the local basis moves from low to high spatial frequency as the level falls"
    statistic: ClassVar[str] = (
        "growth of the mean frequency of the basis from the highest to the lowest level, in units of Nyquist, of the "
        "trained network less that of its untrained twin; of as many vectors as the spectrum supports"
    )
    panel_rows: ClassVar[int] = 2

    def items(self, study: Study) -> Sequence[Unit]:
        """A picture at a level.

        Raises:
            ConfigError: latents that are no pictures.
        """
        _check(study)
        return Geometry.items(self, study)

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """The spectra there."""
        picture, level = int(item[0]), float(item[1])
        basis = study.basis(picture, level)
        own, latent, white = radial_power(basis.v), radial_power(basis.trace.top), _white(basis.v)
        about = {"picture": picture, "level": level}
        references = {
            "null_centroid": white_centroid(*basis.v.shape[-2:]),
            "null_low_share": float(low_share(white)),
            "latent_centroid": float(centroid(latent)),
            "latent_low_share": float(low_share(latent)),
        }
        middles, lows, falls = centroid(own).tolist(), low_share(own).tolist(), gaps([basis])
        rows: list[Row] = []
        for rank, gap in falls.items():
            means = {"centroid": float(np.mean(middles[:rank])), "low_share": float(np.mean(lows[:rank]))}
            rows.append({"what": "vector", **about, "rank": rank, "gap": gap, **means, **references})
        columns = (own.frequency.tolist(), _density(own, white).tolist(), _density(latent, white).tolist())
        for frequency, density, of_latent in zip(*columns, strict=True):
            spectrum = {"frequency": frequency, "density": density, "latent_density": of_latent}
            rows.append({"what": "bin", **about, **spectrum})
        return rows

    def of_model(self, part: Table) -> Found:
        """Mean frequency over levels, and how much it grows towards the picture, for each rank."""
        vectors, parts = part[part["what"] == "vector"], list[Table]()
        top, low = part["level"].max(), part["level"].min()
        for network, column in itertools.product(NETWORKS, ("centroid", "low_share")):
            own = of_network(at_fitted_rank(vectors), network)
            latent, null = by_level(own, f"latent_{column}")["mean"], own[f"null_{column}"].mean()
            named = by_level(own, column).assign(network=network, rank=own["rank"].iloc[0], measure=column)
            parts.append(named.assign(latent=latent, null=null))
        return at_each_rank(
            vectors,
            "centroid",
            ("picture", "level"),
            lambda rows: rise(rows, "centroid", start=top, end=low),
            "the basis moves from low to high frequency as the level falls",
            f"growth of the mean frequency from level {top:.2f} to {low:.2f}, in units of Nyquist",
        ), parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """Spectra of the trained network, a line a level; below, mean frequencies over levels."""
        upper, lower = axes
        vectors = part[part["what"] == "vector"]
        _draw_spectra(upper, part[(part["what"] == "bin") & (part["network"] == "trained")])
        own = at_fitted_rank(vectors)
        draw_networks(lower, own, "centroid")
        draw_column(lower, own, "latent_centroid", label="the latent itself: mean", colour=COLOURS[6])
        lower.axhline(own["null_centroid"].mean(), color=GREY, linestyle="--", label="white noise")
        lower.set_title(f"mean frequency of the first {own['rank'].iloc[0]:.0f} over levels", fontsize=9)
        lower.axhline(0, color=GREY, linewidth=0.8)  # in sight, whatever else is drawn in this row
        finish(lower, "mean frequency / Nyquist")


def _draw_spectra(axis: Axes, bins: Table) -> None:
    for colour, (level, rows) in falling_levels(bins):
        draw_spread(axis, rows, "frequency", "density", label=f"level {level:.2f}", colour=colour)
        axis.plot(rows.groupby("frequency")["latent_density"].mean(), color=colour, linestyle=":", linewidth=1)
    axis.plot([], [], color=GREY, linestyle=":", linewidth=1, label="the latent itself, at each level")
    axis.axhline(1, color=GREY, linestyle="--", linewidth=1.2, label="white noise")
    axis.set_yscale("log")
    axis.set_xlabel("spatial frequency / Nyquist  (last point: and beyond)")
    finish(axis, "power density / that of white noise\n(band: all pictures)")


def _check(study: Study) -> None:
    shape = list(study.latents[0].z.shape[1:])
    if len(shape) != 3 or min(shape[1:]) < 2:
        raise ConfigError(
            f"latents of {study.backbone.name} have the shape {shape}, and spatial frequency takes [c, h, w]. Look at "
            "another model"
        )


def _white(v: Float[Tensor, "k c h w"]) -> RadialPower:
    """Of a single point, whose spectrum is flat: the share of all coefficients that lies in each bin."""
    point = torch.zeros(1, 1, *v.shape[-2:], dtype=torch.float64)
    point[0, 0, 0, 0] = 1
    return radial_power(point)


def _density(power: RadialPower, white: RadialPower) -> Float[Tensor, " bins"]:
    """Mean power of a coefficient of each bin in that of white noise, with equal weights for the vectors."""
    shares = power.power / power.power.sum(1, keepdim=True)
    return shares.mean(0) / white.power[0]
