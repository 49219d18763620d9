"""Moves of images along directions at one noise level: inversion, a step at the level, and the aligned way back.

A unit direction v at level s moves the latent by ``a v``; the way back turns it into a clean latent z(a). Its effect is
the root mean square change of the clean latent over both signs,

    effect(a)^2 = 1/2 (|z(a) - x|^2 + |z(-a) - x|^2) / n,        n numbers in a latent,

in units in which latents have variance 1. Strength 1 of a discovered direction is the length at which the effect is
`TYPICAL_EFFECT`, so one unit of any direction, on any model and from any level, changes an image equally much. Derived
here.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.console import Progress
from latentedit.core.setting import Count, Probe, settings
from latentedit.encoding.inversion import InversionTrace, retrace
from latentedit.encoding.joint import JointLatent
from latentedit.identification.residuals import check_finite
from latentedit.models.base import Backbone
from latentedit.models.derivatives import ROWS
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import level_batch, noise_estimate, per_element

Move = Literal["addition", "guidance"]

# Change of the clean latent at strength 1. On drawn portraits one changed attribute moves it by .17 (a mouth) to 1.4 (a
# color of much hair), .39 in the median.
TYPICAL_EFFECT = 0.4
CLOSE = 0.1  # relative error of the effect at which a length is good enough
ROUNDS = 5  # maximum number of lengths tried for a direction
_LEAP = 10.0  # largest factor from one length to the next while all so far are too short, or all too long


@settings
class LatentWalk:
    """Move latents at the top of an inversion along directions, and return.

    - addition: ``Z + scale * v``.
    - guidance: x-space guidance, see `noise_guided`; its scale has the unit of addition's.

    Park et al. 2023 (arXiv 2307.12868); the aligned way back is `encoding.inversion.retrace`.
    """

    move: Move = "addition"
    repeats: Count = 16  # repetitions of guidance, each with its share of the scale
    # Length, in that of v, at which guidance probes the noise estimate. A network in half precision wants a longer one:
    # on the bundled transformer (2048 numbers, v of unit length) bfloat16 errs by 5 % of the move at 1, 0.4 % at 16.
    probe: Probe = 1.0

    def edit(
        self,
        latent: JointLatent,
        trace: InversionTrace,
        v: Float[Tensor, "m *latent"],
        scales: Float[Tensor, "k n"] | Sequence[float] | float,
        *,
        progress: Progress | None = None,
    ) -> Float[Tensor, "k m b *latent"]:
        """Clean latents at every scale (a row of ``scales``, or a number for all directions), of every image.

        They move at the top of the trace, in units of the length of v. An image, scale and direction costs one
        evaluation per step of the trace, and 2 ``repeats`` more for guidance.
        """
        scales = torch.as_tensor(scales, dtype=latent.z.dtype, device=latent.z.device)
        if scales.ndim < 2:
            scales = scales.reshape(-1, 1).expand(-1, len(v))
        assert scales.shape[1:] == (len(v),), "one column for each direction"
        backbone, level, batch = latent.backbone, trace.levels[-1], len(latent)
        factors = scales.flatten()
        parts: list[Tensor] = []
        # Guidance evaluates two latents for each row.
        for some in torch.arange(len(factors)).split(max(1, ROWS // (2 * batch))):
            along = v[some % len(v)].repeat_interleave(batch, 0).to(latent.z.device, latent.z.dtype)
            rows, walk = latent.repeat(len(some)), trace.repeat(len(some))
            amount, z = factors[some].repeat_interleave(batch), walk.top
            if self.move == "addition":
                z = z + per_element(amount, z) * along
            else:
                often, probe = self.repeats, self.probe
                z = noise_guided(
                    backbone, z, level, rows.condition, along, amount, repeats=often, probe=probe, progress=progress
                )
            back = retrace(rows, walk, rows.condition, offset=z - walk.top, progress=progress)
            # A scale of 0 is the image, bit for bit: equal rows of a batch of another size may round otherwise.
            parts.append(torch.where(per_element(amount == 0, z), rows.z, back))
            check_finite(parts[-1], "way back", backbone.name, level)
        return torch.cat(parts).unflatten(0, (*scales.shape, batch))


def noise_guided(
    backbone: Backbone,
    z: Float[Tensor, "b *latent"],
    level: float,
    condition: Condition,
    v: Float[Tensor, "b *latent"],
    scales: Float[Tensor, " b"],
    *,
    repeats: int,
    probe: float,
    progress: Progress | None = None,
) -> Float[Tensor, "b *latent"]:
    """X-space guidance, ``n`` times over: ``Z <- Z + g (e_hat(Z + h v) - e_hat(Z))`` with ``e_hat = Z + (1 - s) v(Z)``.

    The probe is ``h = probe * sign(scale)`` and the gain ``g = |scale| / (repeats * probe)``, so for small probes and
    scales the latent moves by ``scale * J_e v`` with ``J_e = de_hat/dZ = I + (1 - s) J_v``: by the scale itself along
    what the data leave open, and by less along what they pin down. The paper's own probe and scale are far from
    small: with a tenth of the probe the move is another one by 48 %, and its signs differ
    (`geometry.papers.paper_guidance`). In a model's own coordinates ``x_t = (alpha + sigma) Z`` the same step reads
    ``x_t + gamma (eps(x_t + delta v) - eps(x_t))`` with both ``gamma`` and ``delta`` ``alpha + sigma`` times as
    large. It costs two evaluations per latent and repetition. Park et al. 2023 (arXiv 2307.12868), eq. 7 and its
    public code, rewritten in flow coordinates here.
    """
    s = level_batch(level, z)
    both, texts = torch.cat([s, s]), condition.expand(len(z)).repeat(2)
    ahead = per_element(probe * scales.sign(), z) * v
    gain = per_element(scales.abs() / (repeats * probe), z)
    for done in range(1, repeats + 1):
        points = torch.cat([z + ahead, z])
        probed, here = noise_estimate(points, both, backbone.velocity(points, both, texts)).chunk(2)
        z = z + gain * (probed - here)
        if progress is not None:
            progress("guide", done, repeats)
    return z


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """One image, its inversion up to a level, and how it moves there."""

    latent: JointLatent
    trace: InversionTrace
    move: LatentWalk = dataclasses.field(default_factory=LatentWalk)
    progress: Progress | None = None

    def to(
        self, units: Float[Tensor, "k *latent"], lengths: Float[Tensor, "m k"], *, what: str
    ) -> Float[Tensor, "m k *latent"]:
        """Clean latents of every unit direction at m signed lengths; ``what`` is the name for progress."""
        progress = self.progress
        renamed = None if progress is None else lambda _what, done, total: progress(what, done, total)
        return self.move.edit(self.latent, self.trace, units, lengths, progress=renamed)[:, :, 0]


def step_lengths(
    walk: Walk, units: Float[Tensor, "k *latent"], *, effect: float = TYPICAL_EFFECT
) -> Float[Tensor, " k"]:
    """The length of each unit direction at which it has the target effect; of all tried, the nearest. On the CPU.

    No length goes beyond ``level * sqrt(n)``, about the norm of the noise that z holds at the level: displacements as
    long as that replace the latent instead of moving it. What does not reach the effect within is left there. It costs
    two ways back per direction in each of at most `ROUNDS` rounds; most directions need three.
    """
    level, numbers = walk.trace.levels[-1], units[0].numel()
    search = [_Search(effect=effect, longest=level * math.sqrt(numbers)) for _ in units]
    for _ in range(ROUNDS):
        active = [index for index, length in enumerate(search) if not length.done]
        if not active:
            break
        lengths = torch.tensor([search[index].following() for index in active], dtype=torch.float64)
        effects = effects_at(walk, units[active], lengths, what="step lengths")
        for index, length, reached in zip(active, lengths.tolist(), effects.tolist(), strict=True):
            search[index].tried.append((length, reached))
    return torch.tensor([length.best[0] for length in search], dtype=torch.float64)


def effects_at(
    walk: Walk, units: Float[Tensor, "k *latent"], lengths: Float[Tensor, " k"], *, what: str
) -> Float[Tensor, " k"]:
    """The effect of each direction at a length, by two ways back per direction."""
    return effect_of(walk.to(units, torch.stack([lengths, -lengths]), what=what), walk.latent.z)


def effect_of(both: Float[Tensor, "2 k *latent"], x: Float[Tensor, "1 *latent"]) -> Float[Tensor, " k"]:
    """The effect of clean latents that went both ways from x; on the CPU in float64."""
    return (both - x).flatten(2).cpu().double().square().mean((0, 2)).sqrt()


@dataclasses.dataclass(slots=True, kw_only=True)
class _Search:
    """The search for one length: secants in logarithms between lengths that are too short and too long."""

    effect: float
    longest: float
    tried: list[tuple[float, float]] = dataclasses.field(default_factory=list[tuple[float, float]])

    @property
    def best(self) -> tuple[float, float]:
        return min(self.tried, key=lambda pair: abs(math.log(max(pair[1], 1e-30) / self.effect)))

    @property
    def done(self) -> bool:
        if not self.tried:
            return False
        length, reached = self.best
        at_end = length >= self.longest and reached < self.effect
        return at_end or abs(reached / self.effect - 1) <= CLOSE

    def following(self) -> float:
        """The next length to try."""
        if not self.tried:
            return min(self.longest, self.longest * self.effect / 2)
        short = max((pair for pair in self.tried if pair[1] < self.effect), default=None)
        long = min((pair for pair in self.tried if pair[1] >= self.effect), default=None)
        if short is None or long is None or short[0] >= long[0]:
            length, reached = self.best
            factor = (self.effect / max(reached, 1e-30)) ** (1 / self._power())
            return min(self.longest, length * min(max(factor, 1 / _LEAP), _LEAP))
        slope = math.log(long[0] / short[0]) / math.log(long[1] / max(short[1], 1e-30))
        share = slope * math.log(self.effect / max(short[1], 1e-30)) / math.log(long[0] / short[0])
        # Away from the ends, so that every try shrinks the bracket by a tenth at least.
        return short[0] * (long[0] / short[0]) ** min(max(share, 0.1), 0.9)

    def _power(self) -> float:
        """The exponent of length in the effect, by the last two tries; 1 where these say nothing."""
        if len(self.tried) < 2:
            return 1.0
        (a, before), (b, after) = self.tried[-2:]
        if a == b or min(before, after) <= 0:
            return 1.0
        return max(math.log(after / before) / math.log(b / a), 0.1)
