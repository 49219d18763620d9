"""Asymmetric sampling: a shifted feature moves the clean estimate, and leaves the noise estimate as it was."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.progress import Progress
from latentedit.core.settings import Share, settings
from latentedit.core.solvers.base import level_batch
from latentedit.core.solvers.stochastic import NO_TAIL, NoiseTail
from latentedit.directions.distillation import check_finite
from latentedit.editors.slider import ROWS
from latentedit.editors.walks.latent_walk import Back, check_back, check_ways
from latentedit.latents.inversion import InversionTrace
from latentedit.latents.joint import JointLatent


@settings
class Asyrp:
    """Come down from the top of an inversion with a feature of the network shifted in the clean estimate only.

    With v the velocity and v' that of the network whose feature at the site is shifted, a step from s to s' is

        Z' = (1 - s') (Z - s v') + s' (Z + (1 - s) v) = Z + (s' - s) v - (1 - s') s (v' - v),

    the plain step and a kick. Shifting both estimates instead would move Z' by ``(s' - s) (v' - v)`` only, less by the
    factor ``(s - s') / ((1 - s') s)``.

    Args:
        site: where the feature is, inside the network; None is `Backbone.default_site`.
        until: steps that start at this level or below are plain.
        back: "aligned" takes each step's velocity and kick where the way up passed, against the velocity there, so a
            scale of 0 is the picture, bit for bit (ours); "sampling" is the method as published.
        tail: fresh noise on the way back, for "sampling".

    Raises:
        ConfigError: a level outside [0, 1], or a tail on an aligned way back.

    Source:
        Kwon et al. 2023 (arXiv 2210.10960), eq. 4 and 6, in flow coordinates; Theorem 1 is the factor.
    """

    site: str | None = None
    until: Share = 0.0
    back: Back = "aligned"
    tail: NoiseTail = NO_TAIL

    def __post_init__(self) -> None:
        check_back(self.back, self.tail)

    def evaluations(self, trace: InversionTrace, ways: int) -> int:
        """Network evaluations a picture of ``edit`` with so many scales times shifts; the trace is paid already."""
        shifted = sum(level > self.until for level in trace.levels[1:])
        return ways * (len(trace.velocities) + shifted)

    def edit(
        self,
        latent: JointLatent,
        trace: InversionTrace,
        shifts: Float[Tensor, "m *feature"],
        scales: Float[Tensor, "k n"],
        *,
        progress: Progress | None = None,
    ) -> Float[Tensor, "k m b *latent"]:
        """Clean latents at every scale of every shift, of every picture.

        Args:
            latent: the pictures.
            trace: of their inversion.
            shifts: of the feature at the site: ``LocalBasis.u``, principal components, or any.
            scales: k scales of each shift, n = m columns.
            progress: told about each step.

        Raises:
            ConfigError: a site that is not inside the network.
            ShapeError: scales, shifts or a trace that do not fit.
            ModelError: the network gave values that are not finite.

        Cost:
            ``evaluations(trace, k * m)`` a picture.
        """
        check_ways(latent, trace, shifts, scales)
        factors = scales.to(latent.z.device, latent.z.dtype).flatten()
        parts: list[Tensor] = []
        for some in torch.arange(len(factors)).split(max(1, ROWS // len(latent))):
            amount = factors[some].repeat_interleave(len(latent)).reshape(-1, *[1] * (shifts.ndim - 1))
            delta = amount * shifts[some % len(shifts)].repeat_interleave(len(latent), 0).to(amount)
            rows, walk = latent.repeat(len(some)), trace.repeat(len(some))
            found = (self._aligned if self.back == "aligned" else self._sampled)(rows, walk, delta, progress)
            parts.append(found)
            check_finite(found, "way back", latent.backbone.name, trace.levels[-1])
        return torch.cat(parts).unflatten(0, (*scales.shape, len(latent)))

    def _sampled(self, rows: JointLatent, walk: InversionTrace, delta: Tensor, progress: Progress | None) -> Tensor:
        z, pairs = walk.top, list(itertools.pairwise(walk.levels[::-1]))
        for index, (s, s_next) in enumerate(pairs):
            v, change = self._velocities(rows, z, s, delta, shifted=s > self.until)
            z = self.tail.step(z, v, s, s_next, index=index) - (1 - s_next) * s * change
            if progress is not None:
                progress("return", index + 1, len(pairs))
        return z

    def _aligned(self, rows: JointLatent, walk: InversionTrace, delta: Tensor, progress: Progress | None) -> Tensor:
        moved, steps = torch.zeros_like(rows.z), len(walk.velocities)
        for index in reversed(range(steps)):
            s, s_next = walk.levels[index + 1], walk.levels[index]
            v, change = self._velocities(rows, walk.states[index] + moved, s_next, delta, shifted=s > self.until)
            moved = moved + (s_next - s) * (v - walk.velocities[index]) - (1 - s_next) * s * change
            if progress is not None:
                progress("return", steps - index, steps)
        still = (delta.flatten(1) == 0).all(1).reshape(-1, *[1] * (moved.ndim - 1))
        return torch.where(still, rows.z, rows.z + moved)  # a batch of another size may round otherwise

    def _velocities(
        self, rows: JointLatent, z: Tensor, level: float, delta: Tensor, *, shifted: bool
    ) -> tuple[Tensor, Tensor]:
        """The plain velocity, and what the shift adds to it."""
        backbone = rows.backbone
        s = level_batch(level, z).clamp_min(backbone.capabilities.s_min)
        v = backbone.velocity(z, s, rows.condition)
        if not shifted:
            return v, torch.zeros_like(v)
        site = self.site if self.site is not None else backbone.default_site
        return v, backbone.velocity_with(z, s, rows.condition, site, delta) - v
