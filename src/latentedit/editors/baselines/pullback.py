"""X-space guidance along the local latent basis under the target text, with the texts' own change to choose in it."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.flow import per_element
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Count, Level, Probe, Scale, settings
from latentedit.core.solvers import level_batch
from latentedit.directions.direction import clean_share
from latentedit.directions.distillation import check_finite
from latentedit.editors.baselines.path_editor import PathEditor
from latentedit.editors.baselines.power_iteration import leading_span, of_length, projected
from latentedit.geometry.walks import noise_guided
from latentedit.latents.inversion import InversionTrace, invert, replay
from latentedit.latents.joint import JointLatent
from latentedit.models.feature_jacobian import FeatureJacobian, FeatureMap


def known_level(latent: JointLatent, trace: InversionTrace) -> float:
    """The level of the top of an inversion, or the lowest that the model knows."""
    return max(trace.levels[-1], latent.backbone.capabilities.s_min)


def clean_change(latent: JointLatent, trace: InversionTrace, target: Condition) -> Float[Tensor, "b *latent"]:
    """``x_hat(Z, c1) - x_hat(Z, c0) = -s (v(Z, s, c1) - v(Z, s, c0))`` at the top of an inversion.

    Raises:
        ModelError: the network gave values that are not finite.

    Cost:
        Two evaluations a picture, as calls of one shape: equal texts give exactly zero.
    """
    level, velocity = known_level(latent, trace), latent.backbone.velocity
    at = level_batch(level, trace.top)
    found = -level * (velocity(trace.top, at, target) - velocity(trace.top, at, latent.condition))
    check_finite(found, "change", latent.backbone.name, level)
    return found


def check_rank(rank: int, latent: JointLatent, *, spare: int = 0) -> None:
    """Refuse more directions than a latent has numbers, of which some are to be spared.

    Raises:
        ConfigError: too large a rank.
    """
    most = latent.z[0].numel() - spare
    if rank > most:
        raise ConfigError(f"the rank must be at most {most} for latents of this size; got {rank}")


@settings
class Pullback(PathEditor):
    """Invert, move by x-space guidance along the part of d in the span of the local basis, and return aligned.

    The basis are the leading right singular vectors of ``df/dZ`` under the target text, f the feature at the backbone's
    default site. In the paper a person picks one of them by eye, and the text enters through the basis alone. Here the
    text picks: d is what it changes in the clean estimate, ``x_hat(Z, c1) - x_hat(Z, c0)``, projected on their span and
    given the length ``strength scale (1 - s) |d|``, that of d as a displacement of Z. The guidance is under the target
    text too; up and down are under the source text.

    The guidance probes ahead in the direction of its sign, so a negative strength is the reverse of a positive one to
    first order in the length of the probe, and not of the strength alone.

    Args:
        level: how far up, in (0, 1].
        rank: vectors of the basis; at most the size of a latent, and of the feature.
        iterations: of the search for them, a block power iteration, so that the cost is known.
        scale: of the move at strength 1.
        repeats: of the guidance, each with its share of the scale.
        probe: length, in that of d, at which guidance probes the noise estimate.

    Source:
        Park et al. 2023, arXiv 2307.12868, eq. 7; the choice by the text, the length and the aligned way back are ours.
    """

    name: ClassVar[str] = "pullback"

    level: Level = 0.7
    rank: Count = 5
    iterations: Count = 3
    scale: Scale = 1.0
    repeats: Count = 4
    probe: Probe = 1.0

    def _cost(self, k: int) -> int:
        """``2 k + 3 + 4 * rank * iterations + 2 * repeats``."""
        return 2 * k + 3 + 4 * self.rank * self.iterations + 2 * self.repeats

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        check_rank(self.rank, latent)
        trace = invert(latent, self._path(latent), progress=progress)
        level, change = known_level(latent, trace), clean_change(latent, trace, target)
        start = noise_like(latent.z, seed=seed, purpose=self.name, count=self.rank).transpose(0, 1).to(change)
        spans = [
            self._span(latent, trace.top[row : row + 1], level, target[row : row + 1], start[row : row + 1], progress)
            for row in range(len(latent))
        ]
        length = clean_share(level) * torch.linalg.vector_norm(change.flatten(1), dim=1)
        v = of_length(projected(torch.cat(spans), change), length)
        amount = torch.full_like(length, strength * self.scale)
        moved = noise_guided(
            latent.backbone,
            trace.top,
            level,
            target,
            v,
            amount,
            repeats=self.repeats,
            probe=self.probe,
            progress=progress,
        )
        still = per_element((v.flatten(1) == 0).all(1), v)  # equal rows of a batch may round otherwise
        offset = torch.where(still, torch.zeros_like(v), moved - trace.top)
        return replay(latent, trace, latent.condition, offset=offset, progress=progress)

    def _span(
        self,
        latent: JointLatent,
        top: Float[Tensor, "1 *latent"],
        level: float,
        text: Condition,
        start: Float[Tensor, "1 r *latent"],
        progress: Progress | None,
    ) -> Float[Tensor, "1 r *latent"]:
        backbone = latent.backbone
        feature = FeatureMap(backbone=backbone, site=backbone.default_site, level=level, condition=text)
        jacobian = FeatureJacobian(feature, top)
        return leading_span(
            lambda rows: jacobian.rmatmat(jacobian.matmat(rows[0]))[None],
            start,
            iterations=self.iterations,
            progress=progress,
        )
