"""Directions that nobody named: a local basis walked in both signs, named by what it changes, against random ones."""

import dataclasses
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.api.keep import preview_of
from latentedit.api.measure import metered, peak_bytes
from latentedit.api.naming import Meaning, ProbabilityReader, meaning_of
from latentedit.core.cost import Cost
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.directions.at_level import clean_share, random_direction
from latentedit.directions.base import Calibration, Direction
from latentedit.directions.local_basis import LocalBasis
from latentedit.editors.judge import Judge
from latentedit.editors.local_change import local_change
from latentedit.editors.slider import ROWS
from latentedit.editors.strength import EffectCurve, measure_effect
from latentedit.editors.walks.step_length import Walk, effect_of, step_lengths
from latentedit.latents.captions.base import captioner_for, to_images
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone

SCALES = (-2.0, -1.0, 1.0, 2.0)
"""Multiples of a direction at which it is looked at; 0 is the picture."""

_DECODED_ROWS = 16
"""Latents decoded at once."""

CONTROLS = 4
"""Random directions of each kind that are walked beside those of the basis."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walked:
    """One direction at a level, walked to every one of `SCALES`.

    Args:
        length: of its displacement of the latent at the level, at scale 1.
        effect: change of the clean latent at scale 1 and -1; see `step_length`.
        meaning: what it changes.
        z: clean latents, one a scale.
        pictures: at the model's size in [-1, 1], likewise.
    """

    length: float
    effect: float
    meaning: Meaning
    z: Float[Tensor, "m *latent"]
    pictures: Float[Tensor, "m 3 h w"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Discovered:
    """One direction of the basis.

    Args:
        direction: calibrated; strength 1 has the effect that `step_length` says.
        walked: what it did to the picture.
    """

    direction: Direction
    walked: Walked


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Discovery:
    """What a basis does to its picture, and what random directions do.

    Args:
        basis: of the picture.
        found: one for each of its directions, in its order.
        equal_length: random directions at the same level, as long as the first ones of the basis.
        equal_effect: random directions at the same level, each as long as it takes for the same effect.
        cost: of all this, without the basis.
    """

    basis: LocalBasis
    found: tuple[Discovered, ...]
    equal_length: tuple[Walked, ...]
    equal_effect: tuple[Walked, ...]
    cost: Cost


@torch.no_grad()
def discover(basis: LocalBasis, *, progress: Progress | None = None) -> Discovery:
    """Walk along every direction of a basis in both signs, and along random ones; name what they change.

    Args:
        basis: of a picture; whole, as `local_basis` gives it.
        progress: told after each step of "step lengths", "edits" and "random directions".

    Raises:
        ConfigError: latents without a picture, or of a model that knows latents only.
        ModelError: the network gave values that are not finite.

    Cost:
        For each direction of the basis, and for each of `CONTROLS` random ones of equal effect, two ways back a round
        of at most `step_length.ROUNDS`, and four more; four for each random one of equal length; and the judge's
        evaluations of the pictures that the basis made.
    """
    latent = basis.latent
    walk = Walk(latent=latent, trace=basis.trace, progress=progress)
    with metered(latent.backbone) as meter:
        found = discovered_along(
            basis, basis.v, lambda index, step: basis.direction(index, step=step), progress=progress
        )
        controls, what = _controls(basis), "random directions"
        same = torch.tensor([one.walked.length for one in found[: len(controls)]], dtype=torch.float64)
        equal_length = walk_all(walk, controls, same, what=what)
        equal_effect = walk_all(walk, controls, step_lengths(walk, controls).length, what=what)
        evaluations, seconds = meter.read()
    peak = peak_bytes(latent.backbone.device)
    return Discovery(
        basis=basis,
        found=found,
        equal_length=tuple(equal_length),
        equal_effect=tuple(equal_effect),
        cost=Cost(evaluations=float(evaluations), seconds=seconds, peak_bytes=peak),
    )


@torch.no_grad()
def discovered_along(
    basis: LocalBasis,
    units: Float[Tensor, "k *latent"],
    made: Callable[[int, float], Direction],
    *,
    progress: Progress | None = None,
) -> tuple[Discovered, ...]:
    """Directions where a basis was taken, each as long as it takes for the effect; walked, named and calibrated.

    Args:
        basis: says at which picture and level; a whole one.
        units: directions there, of unit length.
        made: the direction of that number, whose displacement of the latent at the level has the length wanted.
        progress: told after each step of "step lengths" and "edits".

    Raises:
        ConfigError: latents without a picture.
        ModelError: the network gave values that are not finite.

    Cost:
        For each direction two ways back a round of at most `step_length.ROUNDS`, four more, and the judge's
        evaluations.
    """
    latent = basis.latent
    if not latent.frames:
        raise ConfigError("expected a basis at a picture; got one at bare latents. Encode a picture")
    walk = Walk(latent=latent, trace=basis.trace, progress=progress)
    walked = walk_all(walk, units, step_lengths(walk, units).length, what="edits")
    directions = [made(index, one.length) for index, one in enumerate(walked)]
    kept = _kept(basis, directions, walked)
    return tuple(Discovered(direction=direction, walked=one) for direction, one in zip(kept, walked, strict=True))


def walk_all(walk: Walk, units: Float[Tensor, "k *latent"], lengths: Float[Tensor, " k"], *, what: str) -> list[Walked]:
    """Directions at every one of `SCALES`, decoded and named.

    Args:
        walk: back from the level.
        units: directions of unit length.
        lengths: at scale 1.
        what: progress calls it.

    Cost:
        Four ways back a direction.
    """
    latent, backbone = walk.latent, walk.latent.backbone
    scales = torch.tensor(SCALES, dtype=torch.float64)
    by_scale = walk.to(units, scales[:, None] * lengths, what=what)
    effects = effect_of(by_scale[[SCALES.index(1), SCALES.index(-1)]], latent.z)
    z = by_scale.transpose(0, 1)
    decoded = backbone.decode(latent.z) if latent.decoded is None else latent.decoded
    source = latent.frames[0].pixels.to(decoded.device, decoded.dtype)
    changes = torch.cat(
        [local_change(backbone.decode(rows) - decoded) for rows in z.flatten(0, 1).split(_DECODED_ROWS)]
    )
    pictures = (source + changes).clamp(-1, 1).unflatten(0, (len(units), len(SCALES)))
    reader = probability_reader(backbone)
    return [
        Walked(
            length=float(lengths[index]),
            effect=float(effects[index]),
            meaning=meaning_of(reader, source, pictures[index], SCALES),
            z=rows,
            pictures=pictures[index],
        )
        for index, rows in enumerate(z)
    ]


def probability_reader(backbone: Backbone) -> ProbabilityReader | None:
    """The model's captioner, where it can say how sure it is of each value."""
    captioner = captioner_for(backbone)
    return captioner if isinstance(captioner, ProbabilityReader) else None


def _controls(basis: LocalBasis) -> Float[Tensor, "n *latent"]:
    """Random directions at the level of the basis, of unit length."""
    drawn = [
        random_direction(basis.latent, level=basis.level, steps=basis.steps, seed=basis.seed, index=index).z
        for index in range(min(CONTROLS, len(basis)))
    ]
    return torch.cat(drawn) * clean_share(basis.level)


def _kept(basis: LocalBasis, directions: Sequence[Direction], walked: Sequence[Walked]) -> list[Direction]:
    """The directions as they are kept in files, calibrated by what the walk tells: effects, and where it damages."""
    latent, judge = basis.latent, Judge.of(basis.latent.backbone)
    z = torch.cat([latent.z, *(one.z for one in walked)])
    losses = torch.cat([_losses(judge, latent, rows, seed=basis.seed) for rows in z.split(ROWS)])
    residuals = (losses[1:] / losses[0]).to("cpu", torch.float64).unflatten(0, (len(walked), len(SCALES)))
    kept: list[Direction] = []
    for direction, one, row in zip(directions, walked, residuals.tolist(), strict=True):
        strip = [
            one.pictures[SCALES.index(-1)],
            latent.frames[0].pixels.to(one.pictures),
            one.pictures[SCALES.index(1)],
        ]
        kept.append(
            dataclasses.replace(
                direction,
                settings={**direction.settings, "name": one.meaning.name, "place": one.meaning.place},
                calibration=_calibration(basis, one, [value / judge.damage for value in row]),
                preview=preview_of(to_images(torch.stack(strip))),
            )
        )
    return kept


def _losses(judge: Judge, latent: JointLatent, z: Float[Tensor, "n *latent"], *, seed: int) -> Float[Tensor, " n"]:
    text = latent.condition.expand(len(z))
    return judge.losses(latent.backbone, z, (text, text), seed=seed)[0]


def _calibration(basis: LocalBasis, walked: Walked, damage: Sequence[float]) -> Calibration:
    """Effects of the scales, and the strengths up to which the residual stays below that which damages."""
    x, one = basis.latent.z, SCALES.index(1)
    displaced = torch.cat([walked.z - x, torch.zeros_like(x)])
    effects = measure_effect(displaced[:, None], walked.z[one][None] - x)[:, 0].tolist()
    points = sorted(zip((*SCALES, 0.0), effects, strict=True))
    scales, effects = (tuple(column) for column in zip(*points, strict=True))
    curve = EffectCurve(scales=scales, effects=torch.tensor(effects, dtype=torch.float64)[:, None])
    ends = sorted(last_sound(SCALES, damage, sign=sign) for sign in (-1, 1))
    lowest, highest = (float(curve.effect(end)) for end in ends)
    return Calibration(
        arm="joint",
        level=basis.level,
        steps=basis.steps,
        scales=scales,
        effects=effects,
        lowest=lowest,
        highest=highest,
    )


def last_sound(scales: Sequence[float], damage: Sequence[float], *, sign: int) -> float:
    """The furthest scale of one sign that does no damage, by linear interpolation; the last one where none does.

    Args:
        scales: that were tried, without 0.
        damage: of each, the residual in units of that which damages; a scale is sound below 1.
        sign: 1 or -1.
    """
    tried = sorted((abs(scale), value) for scale, value in zip(scales, damage, strict=True) if scale * sign > 0)
    before, least = 0.0, 0.0
    for scale, value in tried:
        if value >= 1:
            return sign * (before + (scale - before) * (1 - least) / (value - least))
        before, least = scale, value
    return sign * before
