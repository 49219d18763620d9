"""How good is an edit whose right answer nobody knows? What the model and other edits of the same image say of it.

``loss(z, c)`` is how well the model denoises a clean latent under a text (`latents.denoising`), x the image under its
own text c0, z an edit towards c1:

    residual    loss(z, c1) / loss(x, c0)                 high for edits that do too little, and off the manifold
    share       |1 - share of the verdict| (`judge`)      distance of the visible change from the wanted one
    consensus   |change - median of the changes by other settings| of pixels, relative to the median of all

each a mean over `LEVELS`, or over pixels; lower is better. Settings are ordered by the sum of their ranks by the three
(`rank_sums`). Agreement between seeds, there and back again, success by an attribute reader, the verdict's share itself
and the change outside do not choose settings: edits that do nothing, or too much, are best by them. What each is worth
was measured where right answers are known (``results/acceptance/truth-free.json``). Derived here.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from jaxtyping import Float, Float64
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from latentedit.core.condition import Condition
from latentedit.core.linalg import to_float64
from latentedit.core.rng import Seed
from latentedit.latents.denoising import denoising_losses
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone

LEVELS = (0.5, 0.65, 0.8, 0.9)  # noise levels of the criteria
RESIDUAL, SHARE, CONSENSUS = "residual", "share", "consensus"  # the criteria, as a calibration file names them
WHOLE = "consensus, not local"
"""The consensus of changes that are not kept to where they are strong, as a calibration file names it."""

_FAINT = 0.01  # margins of less than this share of the loss say that the model hardly tells the texts apart
_SIDE = 128  # longest side in pixels at which changes are compared


def levels_of(model: Backbone) -> tuple[float, ...]:
    """The levels of `LEVELS` that the model has."""
    return tuple(s for s in LEVELS if model.capabilities.s_min <= s <= model.capabilities.s_max)


def losses_at(
    latent: JointLatent, texts: Sequence[Condition], z: Float[Tensor, "b *latent"], *, seed: Seed
) -> Float64[Tensor, "levels texts b"]:
    """Denoising losses of clean latents under texts at `levels_of` the model; two evaluations each."""
    found = [
        denoising_losses(latent.backbone, z, texts, level=level, pairs=1, seed=seed, purpose="criteria")
        for level in levels_of(latent.backbone)
    ]
    return torch.stack(found).cpu().double()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Criteria:
    """What the model and other edits say of edits; losses are relative to that of each image under its own text.

    Args:
        own: loss of the edit under the image's own text.
        target: loss of the edit under the target text.
        margin: 1 less the loss of the image under the target text; below 0 where its own text fits it better.
        consensus: `consensus_distances` of the local changes.
        whole: the same of the whole changes.
    """

    own: Float64[Tensor, "levels b"]
    target: Float64[Tensor, "levels b"]
    margin: Float64[Tensor, "levels b"]
    consensus: Float64[Tensor, " b"]
    whole: Float64[Tensor, " b"]

    @classmethod
    def of(
        cls,
        before: Float64[Tensor, "levels 2 b"],
        after: Float64[Tensor, "levels 2 b"],
        *,
        consensus: Float64[Tensor, " b"],
        whole: Float64[Tensor, " b"],
    ) -> Self:
        """From `losses_at` of the images and of their edits, each under the own and under the target text."""
        scale = before[:, 0].clamp_min(1e-30)
        own, target, margin = after[:, 0] / scale, after[:, 1] / scale, 1 - before[:, 1] / scale
        return cls(own=own, target=target, margin=margin, consensus=consensus, whole=whole)

    @classmethod
    def joined(cls, batches: Sequence["Criteria"]) -> Self:
        """The criteria of several batches as one."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: torch.cat([getattr(one, name) for one in batches], dim=-1) for name in names})

    @property
    def share(self) -> Float64[Tensor, "levels b"]:
        """The verdict's share of the change; nan where the model hardly tells the texts apart."""
        margin = self.margin.masked_fill(self.margin > -_FAINT, torch.nan)
        return (self.own - self.target - margin) / (-2 * margin)

    @property
    def residual(self) -> Float64[Tensor, "levels b"]:
        """The verdict's off-manifold residual."""
        return torch.minimum(self.own, self.target)

    @property
    def means(self) -> dict[str, float]:
        """Mean of each criterion; the share's distance is at most 1, and 1 where there is no share."""
        share = (1 - self.share).abs().clamp(max=1).nanmean(0).nan_to_num(1.0)
        means = {RESIDUAL: self.target, SHARE: share, CONSENSUS: self.consensus, WHOLE: self.whole}
        return {name: float(values.mean()) for name, values in means.items()}


def smaller(change: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
    """Changes of pixels as they are compared: averaged to sides of at most 128 pixels."""
    height, width = change.shape[-2:]
    if max(height, width) <= _SIDE:
        return change
    scale = _SIDE / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return functional.interpolate(change, size=size, mode="area")


def consensus_distances(changes: Float[Tensor, "k b 3 h w"]) -> Float64[Tensor, "k b"]:
    """Root mean square distance of each change from the median of the others, relative to that of the median of all.

    The number of changes is even and at least four.
    """
    half = len(changes) // 2
    ordered = changes.sort(dim=0).values
    low, high = ordered[half - 1], ordered[half]  # without one of the lower half, the median is the high one
    others = torch.where(changes <= low, high, low)
    size = to_float64((low + high) / 2).flatten(1).square().mean(1).sqrt()
    return to_float64(changes - others).flatten(2).square().mean(2).sqrt() / size.clamp_min(1e-6)


def rank_sums(means: Sequence[Mapping[str, float]]) -> list[float]:
    """The sum of each setting's ranks by the three criteria, from the means of each; the lowest is the best."""
    ranks = [rankdata([one[name] for one in means]) for name in (RESIDUAL, SHARE, CONSENSUS)]
    return [float(sum(row)) for row in zip(*ranks, strict=True)]
