"""How fine the vectors of the local basis are: their power over spatial frequency, over levels."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit_bench.analysis.base import Analysis, Claim, Conclusion, Item, Row
from latentedit_bench.analysis.plotting import COLOURS, GREY, draw_levels, panels
from latentedit_bench.analysis.radial_power import RadialPower, centroid, low_share, radial_power, white_centroid
from latentedit_bench.analysis.study import Study
from latentedit_bench.metrics.statistics import Table, by_level, rise


@dataclasses.dataclass(frozen=True, slots=True)
class Frequency(Analysis):
    """Rows of a picture at a level: one a vector ("vector"), and one a ring of equal frequency ("bin").

    "centroid" is the mean frequency of a vector weighted by power, in units of Nyquist, and "low_share" the share of
    its power below a quarter of Nyquist. "density" is the mean power of a coefficient in a ring, where that of white
    noise is 1, averaged over the vectors with equal weights. The null level is white noise, which is exact: vectors
    that were drawn at random would have it. The latent itself at the same level is a second reference: vectors that
    only followed what is in the latent would have its spectrum.

    Cost: one basis an item, some 370 evaluations at rank 10; nothing where it is kept already.
    """

    name: ClassVar[str] = "frequency"
    title: ClassVar[str] = "Spatial frequency of the local basis over levels"

    def items(self, study: Study) -> Sequence[Item]:
        """A picture at a level.

        Raises:
            ConfigError: latents that are no pictures.
        """
        _check(study)
        return [(picture, level) for level in study.levels for picture in range(len(study))]

    def measure(self, study: Study, item: Item) -> list[Row]:
        """The spectra there."""
        _check(study)
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
        found = enumerate(zip(centroid(own).tolist(), low_share(own).tolist(), strict=True), start=1)
        rows: list[Row] = [
            {"what": "vector", **about, "index": index, "centroid": middle, "low_share": low, **references}
            for index, (middle, low) in found
        ]
        columns = (own.frequency.tolist(), _density(own, white).tolist(), _density(latent, white).tolist())
        for frequency, density, of_latent in zip(*columns, strict=True):
            spectrum = {"frequency": frequency, "density": density, "latent_density": of_latent}
            rows.append({"what": "bin", **about, **spectrum})
        return rows

    def conclude(self, table: Table) -> Conclusion:
        """Mean frequency over levels, and how much it grows towards the picture."""
        claims, parts, words = list[Claim](), list[Table](), list[str]()
        for model, part in table[table["what"] == "vector"].groupby("model", sort=False):
            for column in ("centroid", "low_share"):
                levels = by_level(part, column, members=["picture"])
                latent = by_level(part, f"latent_{column}", members=["picture"])["mean"]
                parts.append(
                    levels.assign(model=model, measure=column, latent=latent, null=part[f"null_{column}"].mean())
                )
            means = parts[-2]
            top, low = means["level"].max(), means["level"].min()
            claims.append(
                Claim.of(
                    "the basis moves from low to high frequency as the level falls",
                    str(model),
                    f"growth of the mean frequency from level {top:.2f} to {low:.2f}, in units of Nyquist",
                    rise(part, "centroid", members=["picture"], start=top, end=low),
                )
            )
            ends = means.iloc[[0, -1]]
            words.append(
                f"{model}: {ends['mean'].iloc[0]:.2f} at {top:.2f}, {ends['mean'].iloc[1]:.2f} at {low:.2f} (white "
                f"noise: {means['null'].iloc[0]:.2f}; the latent itself: {ends['latent'].iloc[0]:.2f} and "
                f"{ends['latent'].iloc[1]:.2f})"
            )
        line = f"mean frequency of the basis in units of Nyquist: {'; '.join(words)}"
        return Conclusion(line=line, claims=tuple(claims), summary=pd.concat(parts, ignore_index=True))

    def draw(self, table: Table, figure: Figure) -> None:
        """Spectra, a line a level; below, mean frequencies over levels."""
        models = list(dict.fromkeys(table["model"]))
        axes = panels(figure, models, rows=2)
        for column, model in enumerate(models):
            part = table[table["model"] == model]
            _draw_spectra(axes[0][column], part[part["what"] == "bin"])
            vectors, lower = part[part["what"] == "vector"], axes[1][column]
            means = by_level(vectors, "centroid", members=["picture"])
            draw_levels(lower, means, label="basis: mean, 95 %", colour=COLOURS[0])
            latent = by_level(vectors, "latent_centroid", members=["picture"])
            draw_levels(lower, latent, label="the latent itself: mean, 95 %", colour=COLOURS[6])
            lower.axhline(vectors["null_centroid"].mean(), color=GREY, linestyle="--", label="white noise")
            lower.set_title("mean frequency over levels", fontsize=9)
            lower.set_ylabel("mean frequency / Nyquist")
            lower.legend(fontsize=7)
        axes[1][0].set_ylim(bottom=0)  # of all panels of the row, when all are drawn


def _draw_spectra(axis: Axes, bins: Table) -> None:
    for colour, (level, rows) in zip(COLOURS * 9, reversed(list(bins.groupby("level"))), strict=False):
        spread = rows.groupby("frequency")
        axis.plot(spread["density"].mean(), color=colour, label=f"level {float(str(level)):.2f}")
        low, high = spread["density"].min(), spread["density"].max()
        axis.fill_between(low.index, low, high, color=colour, alpha=0.12, linewidth=0)
        axis.plot(spread["latent_density"].mean(), color=colour, linestyle=":", linewidth=1)
    axis.plot([], [], color=GREY, linestyle=":", linewidth=1, label="the latent itself, at each level")
    axis.axhline(1, color=GREY, linestyle="--", linewidth=1.2, label="white noise")
    axis.set_yscale("log")
    axis.set_xlabel("spatial frequency / Nyquist  (last point: and beyond)")
    axis.set_ylabel("power density / that of white noise\n(band: all pictures)")
    axis.legend(fontsize=7)


def _check(study: Study) -> None:
    shape = list(study.latents[0].z.shape[1:])
    if len(shape) != 3 or min(shape[1:]) < 2:
        raise ConfigError(
            f"expected latents with two sides in space, [c, h, w], for their spatial frequency; got {shape} from "
            f"{study.backbone.name}. Look at another model"
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
