"""How far to go along directions at a level: the length at which the picture has changed by a given amount.

A unit direction v at level s moves the latent by ``a v``; the aligned way back makes a clean latent z(a) of it. Its
effect is the root mean square change of the clean latent over both signs,

    effect(a)^2 = 1/2 (|z(a) - x|^2 + |z(-a) - x|^2) / n,        n numbers in a latent,

in units in which latents have variance 1. Strength 1 of a direction is the length at which the effect is `EFFECT`, so
one unit of any direction, on any model and from any level, changes a picture equally much. Derived here.
"""

import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.progress import Progress
from latentedit.editors.walks.latent_walk import LatentWalk
from latentedit.latents.inversion import InversionTrace
from latentedit.latents.joint import JointLatent

EFFECT = 0.4
"""Change of the clean latent at strength 1. On drawn portraits one changed attribute moves it by .17 (a mouth) to 1.4
(a colour of much hair), .39 in the median."""

CLOSE = 0.1
"""Relative error of the effect at which a length is good enough."""

ROUNDS = 5
"""Most lengths tried for a direction."""

_LEAP = 10.0
"""Largest factor from one length to the next while no length is known that is too long, or none that is too short."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """One picture, the level to which it was carried, and how it moves there.

    Args:
        latent: the picture.
        trace: its way up.
        move: at the level, and the way back.
        progress: told after each step of each batch.
    """

    latent: JointLatent
    trace: InversionTrace
    move: LatentWalk = dataclasses.field(default_factory=LatentWalk)
    progress: Progress | None = None

    def to(
        self, units: Float[Tensor, "k *latent"], lengths: Float[Tensor, "m k"], *, what: str
    ) -> Float[Tensor, "m k *latent"]:
        """Clean latents of every direction at m lengths.

        Args:
            units: directions at the level, of unit length.
            lengths: to go, with sign.
            what: progress calls it.

        Raises:
            ModelError: the network gave values that are not finite.

        Cost:
            ``move.evaluations(trace, m * k)``.
        """
        progress = self.progress
        renamed = None if progress is None else lambda _what, done, total: progress(what, done, total)
        return self.move.edit(self.latent, self.trace, units, lengths, progress=renamed)[:, :, 0]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepLengths:
    """What `step_lengths` found, one number a direction, on the CPU in float64.

    Args:
        length: of the displacement at the level.
        effect: that it has; see the module.
    """

    length: Float[Tensor, " k"]
    effect: Float[Tensor, " k"]


def step_lengths(walk: Walk, units: Float[Tensor, "k *latent"], *, effect: float = EFFECT) -> StepLengths:
    """The length of each direction at which it has the target effect; of all tried, the nearest.

    No length goes beyond ``level * sqrt(n)``, about the norm of the noise that z holds at the level: displacements as
    long as that replace the latent instead of moving it. What does not reach the effect within is left there.

    Args:
        units: directions of unit length.
        effect: the target.

    Cost:
        Two ways back a direction in each of at most `ROUNDS` rounds; most directions need three.
    """
    level, numbers = walk.trace.levels[-1], units[0].numel()
    search = [_Search(effect=effect, longest=level * math.sqrt(numbers)) for _ in units]
    for _ in range(ROUNDS):
        still = [index for index, one in enumerate(search) if not one.done]
        if not still:
            break
        lengths = torch.tensor([search[index].following() for index in still], dtype=torch.float64)
        found = effects_at(walk, units[still], lengths, what="step lengths")
        for index, length, reached in zip(still, lengths.tolist(), found.tolist(), strict=True):
            search[index].note(length, reached)
    best = [one.best for one in search]
    return StepLengths(
        length=torch.tensor([length for length, _ in best], dtype=torch.float64),
        effect=torch.tensor([reached for _, reached in best], dtype=torch.float64),
    )


def effects_at(
    walk: Walk, units: Float[Tensor, "k *latent"], lengths: Float[Tensor, " k"], *, what: str
) -> Float[Tensor, " k"]:
    """The effect of each direction at a length; see the module.

    Cost:
        Two ways back a direction.
    """
    return effect_of(walk.to(units, torch.stack([lengths, -lengths]), what=what), walk.latent.z)


def effect_of(both: Float[Tensor, "2 k *latent"], x: Float[Tensor, "1 *latent"]) -> Float[Tensor, " k"]:
    """The effect of clean latents that went both ways from x; on the CPU in float64."""
    return (both - x).flatten(2).cpu().double().square().mean((0, 2)).sqrt()


@dataclasses.dataclass(slots=True, kw_only=True)
class _Search:
    """Of one length: secants in logarithms between the lengths that are too short and those that are too long."""

    effect: float
    longest: float
    tried: list[tuple[float, float]] = dataclasses.field(default_factory=list[tuple[float, float]])

    @property
    def best(self) -> tuple[float, float]:
        return min(self.tried, key=lambda one: abs(math.log(max(one[1], 1e-30) / self.effect)))

    @property
    def done(self) -> bool:
        if not self.tried:
            return False
        length, reached = self.best
        at_end = length >= self.longest and reached < self.effect
        return at_end or abs(reached / self.effect - 1) <= CLOSE

    def note(self, length: float, reached: float) -> None:
        self.tried.append((length, reached))

    def following(self) -> float:
        """The next length to try."""
        if not self.tried:
            return min(self.longest, self.longest * self.effect / 2)
        short = max((one for one in self.tried if one[1] < self.effect), default=None)
        long = min((one for one in self.tried if one[1] >= self.effect), default=None)
        if short is None or long is None or short[0] >= long[0]:
            length, reached = self.best
            factor = (self.effect / max(reached, 1e-30)) ** (1 / self._power())
            return min(self.longest, length * min(max(factor, 1 / _LEAP), _LEAP))
        slope = math.log(long[0] / short[0]) / math.log(long[1] / max(short[1], 1e-30))
        share = slope * math.log(self.effect / max(short[1], 1e-30)) / math.log(long[0] / short[0])
        return short[0] * (long[0] / short[0]) ** min(max(share, 0.1), 0.9)

    def _power(self) -> float:
        """Of length in the effect, by the last two that were tried; 1 where that says nothing."""
        if len(self.tried) < 2:
            return 1.0
        (a, before), (b, after) = self.tried[-2:]
        if a == b or min(before, after) <= 0:
            return 1.0
        return max(math.log(after / before) / math.log(b / a), 0.1)
