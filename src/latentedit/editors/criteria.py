"""How good is an edit whose right answer nobody knows? What the model and other edits of the same picture say of it.

With ``loss(z, c)`` how well the model denoises a clean latent under a text (`latents.denoising`), x the picture under
its own text c0, z an edit towards c1,

    residual    loss(z, c1) / loss(x, c0)                 high for what was done too little, and for what no model draws
    share       |1 - share of the verdict| (`judge`)      how far the model is from seeing exactly the change asked for
    consensus   |change - median of the changes by other settings| of pixels, in the size of the median of all

each a mean over `LEVELS`, or over pixels, and lower is better. Settings are put in order by the sum of their ranks by
the three (`rank_sums`). Agreement between seeds, there and back again, success by an attribute reader, the verdict's
share itself and the change outside do not choose settings: edits that do nothing, or too much, are best by them. What
each is worth was measured where right answers are known (``results/acceptance/truth-free.json``). Derived here.
"""

import dataclasses
from collections.abc import Mapping, Sequence

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

LEVELS = (0.5, 0.65, 0.8, 0.9)
"""Of noise, at which edits are looked at."""

CRITERIA = ("residual", "share", "consensus")
"""Those that put settings in order."""

LOOK = 4
"""Evaluations of a look at an edit, a level: two texts under a noise and its opposite."""

_FAINT = 0.01
"""Margins of less than this part of the loss say that the model hardly tells the texts apart."""

_SIDE = 128
"""Pixels to which changes are made smaller before they are compared."""


def levels_of(model: Backbone) -> tuple[float, ...]:
    """Those of `LEVELS` that the model knows."""
    return tuple(s for s in LEVELS if model.capabilities.s_min <= s <= model.capabilities.s_max)


def losses_at(
    latent: JointLatent, texts: Sequence[Condition], z: Float[Tensor, "b *latent"], *, seed: Seed
) -> Float64[Tensor, "levels texts b"]:
    """Of clean latents under texts at `levels_of` the model.

    Cost:
        Two evaluations a latent, text and level.
    """
    found = [
        denoising_losses(latent.backbone, z, texts, level=level, pairs=1, seed=seed, purpose="criteria")
        for level in levels_of(latent.backbone)
    ]
    return torch.stack(found).cpu().double()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What the model sees of edits, in the loss of each picture under its own text, at each level.

    Args:
        own: loss of the edit under the picture's own text.
        target: loss of the edit under the target's.
        margin: 1 less the loss of the picture under the target's text; below 0 where its own text fits it better.
    """

    own: Float64[Tensor, "levels b"]
    target: Float64[Tensor, "levels b"]
    margin: Float64[Tensor, "levels b"]

    @classmethod
    def of(cls, before: Float64[Tensor, "levels 2 b"], after: Float64[Tensor, "levels 2 b"]) -> "Look":
        """From `losses_at` of the pictures and of their edits, under their own texts and under the targets'."""
        scale = before[:, 0].clamp_min(1e-30)
        return cls(own=after[:, 0] / scale, target=after[:, 1] / scale, margin=1 - before[:, 1] / scale)

    @property
    def share(self) -> Float64[Tensor, "levels b"]:
        """The verdict's share of the change; nan where the model hardly tells the texts apart."""
        told = self.margin.masked_fill(self.margin > -_FAINT, torch.nan)
        return (self.own - self.target - told) / (-2 * told)

    @property
    def residual(self) -> Float64[Tensor, "levels b"]:
        """The verdict's off-manifold residual."""
        return torch.minimum(self.own, self.target)

    @property
    def scores(self) -> dict[str, Float64[Tensor, " b"]]:
        """Residual and share, as the module has them; share at most 1, and 1 where nothing can be told."""
        return {
            "residual": self.target.mean(0),
            "share": (1 - self.share).abs().clamp(max=1).nanmean(0).nan_to_num(1.0),
        }


def smaller(change: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
    """Changes of pixels as they are compared: averaged to sides of at most 128 pixels."""
    height, width = change.shape[-2:]
    if max(height, width) <= _SIDE:
        return change
    scale = _SIDE / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return functional.interpolate(change, size=size, mode="area")


def consensus_distances(changes: Float[Tensor, "k b 3 h w"]) -> Float64[Tensor, "k b"]:
    """Root mean square distance of each change from the median of the others, in that of the median of all.

    Args:
        changes: of pixels, by each of four settings or more, an even number.
    """
    half = len(changes) // 2
    ordered = changes.sort(dim=0).values
    low, high = ordered[half - 1], ordered[half]  # without one of the lower half, the median is the high one
    others = torch.where(changes <= low, high, low)
    size = to_float64((low + high) / 2).flatten(1).square().mean(1).sqrt()
    return to_float64(changes - others).flatten(2).square().mean(2).sqrt() / size.clamp_min(1e-6)


def rank_sums(scores: Mapping[str, Sequence[float]], criteria: Sequence[str] = CRITERIA) -> list[float]:
    """The sum of each setting's ranks; the lowest is the best.

    Args:
        scores: criterion to the mean of each setting.
        criteria: those that count.
    """
    ranks = [rankdata(scores[name]) for name in criteria]
    return [float(sum(row)) for row in zip(*ranks, strict=True)]
