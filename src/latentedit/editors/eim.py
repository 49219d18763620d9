"""The method of this library: a direction identified from the text, and a slider along it.

A slider computes the inversion, the effects and the range of undamaged strengths once for all strengths.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.setting import Count, Level, check_value, settings, to_plain
from latentedit.editors.base import Editor, StrengthResult, check_strength, own_names, stored_settings
from latentedit.editors.edit import Edit
from latentedit.editors.judge import Judge
from latentedit.editors.refinement import refined_direction
from latentedit.editors.strength import EffectCurve, effect_along
from latentedit.encoding.inversion import InversionTrace, invert, retrace
from latentedit.encoding.joint import JointLatent
from latentedit.identification.direction import Direction, EffectCalibration, clean_share, lives_at_level
from latentedit.identification.hsds import HSDS, find_direction
from latentedit.identification.residuals import check_finite
from latentedit.models.base import Backbone
from latentedit.models.model_settings import ModelSettings
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import Seed

Arm = Literal["image", "text", "joint"]

# Text and joint arms jump: most of the effect may come between two scales (docs/concepts/strength.md).
WITHIN = (0.2, 0.4, 0.6, 0.8, 1.0)  # scales at which the effect is measured for strengths between 0 and 1
# Further scales that are measured for strengths above 1; strengths are clamped to the last.
BEYOND = (1.25, 1.5, 2.0, 3.0)

# Scales that are measured for negative strengths; strengths are clamped to the first.
BELOW = (-3.0, -2.0, -1.5, -1.0, -0.5)

# Share of the damaging residual to which strengths are clamped; at 1, a clamped edit would be called damaged.
_SAFE = 0.9
_SAME_LEVEL = 1e-6  # noise levels that differ by less are equal; files store them as decimals
ROWS = 64  # most latents that move in one batch, so that a sweep fits into memory


@dataclasses.dataclass(kw_only=True, eq=False)
class Slider:
    """Images, a direction for all or one per image, and the way along it.

    - image: ``z + scale * d``. Its effect is the scale.
    - text: invert under c0 up to ``level``, return aligned under ``c0 + scale * n``.
    - joint: the same, started from ``Z_level + max(1 - level, 0.01) * scale * d``. Without a text part n, the
      displacement of the start is all that moves.

    ``judge`` says where the images are damaged, by noises of ``seed``. The arms are those of
    Encode-Identify-Manipulate (arXiv 2411.08196); level, aligned return, the factor ``1 - level`` (the share of x in
    ``z(s)``) and the strength are ours. Directions at a level: see `identification.direction`.
    """

    latent: JointLatent
    direction: Direction
    arm: Arm
    level: float
    steps: int
    judge: Judge
    seed: Seed = 0
    progress: Progress | None = None

    def __post_init__(self) -> None:
        self._latents: dict[tuple[float, ...], Tensor] = {(0.0,): self.latent.z[None]}
        check_value(Arm, arm=self.arm)
        self.direction.check_model(self.latent.backbone.name, self.latent.backbone.fingerprint)
        self.direction.condition.expand(len(self.latent))
        shape, expected = list(self.direction.z.shape), list(self.latent.z.shape)
        if shape[1:] != expected[1:] or shape[0] not in (1, expected[0]):
            raise ShapeError(
                f"the direction does not fit latents of shape {expected}; got one of {shape}. Make it on images of "
                "these proportions, or crop the image"
            )

    def move(self, scales: Float[Tensor, "k b"]) -> Float[Tensor, "k b *latent"]:
        """Clean latents at raw scales of the direction, in batches.

        The text and joint arms take one evaluation per step below ``level`` for each scale and image, and as many for
        each image, once, for the inversion.
        """
        latent, z, count = self.latent, self.latent.z, len(self.latent)
        factors = scales.to(z.device, z.dtype)
        d = factors.reshape(len(factors), -1, *[1] * (z.ndim - 1)) * self.direction.z
        if self.arm == "image":
            return z + d
        parts: list[Tensor] = []
        group = max(1, ROWS // count)
        for start in range(0, len(factors), group):
            some = factors[start : start + group]
            rows = latent.repeat(len(some))
            text = rows.condition + self.direction.condition.expand(count).repeat(len(some)) * some.flatten()
            share = clean_share(self.trace.levels[-1])
            shift = share * d[start : start + group].flatten(0, 1) if self.arm == "joint" else None
            trace = self.trace.repeat(len(some))
            parts.append(retrace(rows, trace, text, offset=shift, progress=self.progress))
            check_finite(parts[-1], "way back", latent.backbone.name, trace.levels[-1])
        return torch.cat(parts).unflatten(0, (len(factors), count))

    def edit(self, strengths: Sequence[float]) -> list[StrengthResult]:
        """Images at strengths: 0 is the image, 1 the full direction, and between them shares of its effect.

        Strengths above 1 and below 0 are clamped to where the off-manifold residual stays below ``judge.damage``. Each
        costs ``evaluations(...)``, less what earlier ones have measured.
        """
        for strength in strengths:
            check_strength(strength)
        strengths = [float(strength) for strength in strengths]
        result = functools.partial(StrengthResult, direction=self.direction, notes=self.direction.notes)
        # Equal texts: no limit or curve can be measured along a direction of length zero, and none is paid for.
        if self.direction.moves_nothing:
            return [result(z=self.latent.z, strength=strength) for strength in strengths]
        limits = [self._limit(strength) for strength in strengths]
        scales = torch.stack([self._scale(s, limit) for s, limit in zip(strengths, limits, strict=True)])
        moving = [index for index, strength in enumerate(strengths) if strength != 0]
        edited = dict(zip(moving, self.move(scales[moving]), strict=True)) if moving else {}
        return [
            result(z=edited.get(index, self.latent.z), strength=strength, limit=limits[index])
            for index, strength in enumerate(strengths)
        ]

    def evaluations(self, strength: float) -> int:
        """Network evaluations per image of the first ``edit([strength])``."""
        if strength == 0:
            return 0
        walk = 0 if self.arm == "image" else self.latent.path(self.steps, self.level).steps
        walk *= self.latent.condition.evaluations
        curve = 0 if strength == 1 else len(WITHIN) * walk
        source, edit = 2 * self.judge.pairs, self.judge.evaluations(self.latent)
        if strength > 1:
            curve += len(BEYOND) * walk + source + (len(BEYOND) + 1) * edit
        if strength < 0:
            curve += len(BELOW) * walk + source + len(BELOW) * edit
        return curve + 2 * walk

    def calibration(self) -> EffectCalibration:
        """Strength against effect from the lowest to the highest scale, and the strengths that damage no image.

        It costs as much as the curves of `edit` at a strength above 1 and one below 0.
        """
        scales, effects = self._effects(below=True, beyond=True)
        return EffectCalibration(
            arm=self.arm,
            level=self.level,
            steps=self.steps,
            scales=scales,
            effects=tuple(effects.mean(1).tolist()),
            lowest=float(self._limit(-1.0).max()),
            highest=float(self._limit(2.0).min()),
        )

    @functools.cached_property
    def trace(self) -> InversionTrace:
        """The inversion that the text and joint arms retrace."""
        return invert(self.latent, self.latent.path(self.steps, self.level), progress=self.progress)

    def _at(self, scales: tuple[float, ...]) -> Float[Tensor, "k b *latent"]:
        """Clean latents at scales, computed once for each set of scales."""
        if scales not in self._latents:
            column = torch.tensor(scales, dtype=torch.float64)[:, None]
            self._latents[scales] = self.move(column.expand(-1, len(self.latent)))
        return self._latents[scales]

    @functools.cached_property
    def _source_loss(self) -> Float[Tensor, " b"]:
        latent = self.latent
        return self.judge.losses(latent.backbone, latent.z, (latent.condition,), seed=self.seed)[0]

    @functools.cached_property
    def _upper(self) -> Float[Tensor, " b"]:
        z = torch.cat([self._at(WITHIN)[-1:], self._at(BEYOND)])
        return self._last_sound((1.0, *BEYOND), self._losses(z))

    @functools.cached_property
    def _lower(self) -> Float[Tensor, " b"]:
        losses = self._losses(self._at(BELOW).flip(0))
        return self._last_sound((0.0, *BELOW[::-1]), torch.cat([self._source_loss[None], losses]))

    def _last_sound(self, scales: tuple[float, ...], losses: Float[Tensor, "k b"]) -> Float[Tensor, " b"]:
        """The scale at which the residual passes the safe part of the limit; its logarithm is interpolated linearly."""
        residual = (losses / self._source_loss).cpu().double()
        excess = residual.log() - math.log(_SAFE * self.judge.damage)
        # The first crossing counts, going away from the image: what is sound again beyond it lies behind damage.
        last = self._each(scales[-1])
        for image in range(len(last)):
            column = excess[:, image].tolist()
            crossing = next((i for i, value in enumerate(column) if value > 0), None)
            if crossing == 0:
                last[image] = scales[0]
            elif crossing is not None:
                a, b = column[crossing - 1], column[crossing]
                last[image] = scales[crossing - 1] + (scales[crossing] - scales[crossing - 1]) * a / (a - b)
        return last

    def _losses(self, z: Float[Tensor, "k b *latent"]) -> Float[Tensor, "k b"]:
        latent = self.latent
        texts = latent.condition, latent.condition + self.direction.condition.expand(len(latent))
        return torch.stack([self.judge.least_loss(latent.backbone, row, texts, seed=self.seed) for row in z])

    def _effects(self, *, below: bool, beyond: bool) -> tuple[tuple[float, ...], Float[Tensor, "k b"]]:
        """Scales from 0 to 1, and below and beyond, with the effect of each on each image."""
        sets = [*[BELOW] * below, (0.0,), WITHIN, *[BEYOND] * beyond]
        delta = torch.cat([self._at(scales) for scales in sets]) - self.latent.z
        return tuple(itertools.chain(*sets)), effect_along(delta, self._at(WITHIN)[-1] - self.latent.z)

    def _curve(self, strength: float) -> EffectCurve:
        scales, effects = self._effects(below=strength < 0, beyond=strength > 1)
        return EffectCurve(scales=scales, effects=effects)

    def _each(self, value: float) -> Float[Tensor, " b"]:
        """One number for every image."""
        return torch.full((len(self.latent),), value, dtype=torch.float64)

    def _scale(self, strength: float, limit: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        clamped = self._each(strength)
        # The full direction is what was identified: it is never clamped, the verdict says whether it damages.
        if strength in (0, 1):
            return clamped
        if strength > 1:
            clamped = torch.minimum(clamped, limit)
        elif strength < 0:
            clamped = torch.maximum(clamped, limit)
        return clamped if self.arm == "image" else self._curve(strength).scale(clamped)

    def _limit(self, strength: float) -> Float[Tensor, " b"]:
        # Between the image and the full change nothing is extrapolated, so no evaluation is spent on a limit.
        if 0 <= strength <= 1:
            return self._each(torch.nan)
        last = self._upper if strength > 1 else self._lower
        return last if self.arm == "image" else self._curve(strength).effect(last)


@settings
class EIM(Editor):
    """Encode, identify, manipulate as one editor: find a direction from the text, then move along it.

    It is identified by Hessian score distillation (our derivation, see `identification.hsds`), and moves one arm. The
    settings stored for the bundled models use no Hessian and move the image latent x. With ``d = 0`` at first, and at
    falling levels s, the next being s', each with a noise e and its negative::

        x_s = (1 - s) x + s e,   y_s = x_s + (1 - s) d,   q = x - x_hat(x_s, c0)
        t = x_hat(y_s, c1);   first and last level: t <- t + .25 [x_hat(y_s, c1) - x_hat(y_s, c0)]
        r = mean_e [t + q - share(d, .3)^2 q_d] - x - d
        d <- d + (s - s') / (s (1 - s')) [share(d, .004) (d + r) - d]
        refined: d <- d + M (mean_e z_0 - x - d)
        image <- image + 1.03 share(Y, .03) Y - |strength| share(Y, .1) (1 - likeness) (image - decode(x))
        Y = decode(x + strength d) - decode(x)

    ``x_hat(z, c) = z - s v(z, s, c)``; ``share(d, f) = p / (p + f max p)`` with p the local energy of d, and 1 while
    d is 0; ``q_d`` is the part of q along d; M and z_0 are those of `Refinement`, the likeness that of
    `composed_change`, and a wide Y stays whole (`local_change`). Derived here from FlowEdit's path.

    Args:
        search: how the direction is identified.
        arm: which part of the joint latent moves; see `Slider`.
        level: how far up the text and joint arms go, in (0, 1].
        steps: of the model's full grid for those arms.
    """

    name: ClassVar[str] = "eim"
    localizes: ClassVar[bool] = True
    moves_along: ClassVar[bool] = True
    steps_by_map: ClassVar[bool] = True

    search: HSDS = dataclasses.field(default_factory=HSDS)
    arm: Arm = "image"
    level: Level = 0.75
    steps: Count = 28

    def cost(self, edit: Edit) -> int:
        """The search's (none for the text arm), and the slider's."""
        guided = edit.branches(self.search.guidance)
        price = edit.latent.condition.evaluations
        search = 0 if self.arm == "text" else price * self.search.evaluations(guided=guided)
        # The cost of a slider does not depend on its direction, which is not known before the search.
        unchanged = _text_direction(edit.latent, edit.latent.condition, self.level, seed=0)
        return search + self.slider(edit.latent, unchanged, seed=0).evaluations(edit.strength)

    def direction(
        self,
        latent: JointLatent,
        target: Condition,
        *,
        seed: Seed,
        refine: bool = False,
        progress: Progress | None = None,
    ) -> Direction:
        """The direction from the images' text to another, `refine`d; for the text arm, the texts' difference alone."""
        if self.arm == "text":
            return _text_direction(latent, target, self.level, seed=seed)
        direction = find_direction(latent, target, self.search, seed=seed, progress=progress)
        return refined_direction(direction, latent, target, seed=seed, progress=progress) if refine else direction

    def slider(
        self, latent: JointLatent, direction: Direction, *, seed: Seed, progress: Progress | None = None
    ) -> Slider:
        """The slider along a direction."""
        return Slider(
            latent=latent,
            direction=direction,
            arm=self.arm,
            level=self.level,
            steps=self.steps,
            judge=Judge.of(latent.backbone),
            seed=seed,
            progress=progress,
        )

    @classmethod
    def renamed(cls, settings: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of the search may stand beside the others; ``steps`` are also its own where the image arm moves."""
        given, own = own_names(settings, cls, HSDS), {field.name for field in dataclasses.fields(cls)}
        both = "search" not in given and {**stored, **given}.get("arm", "image") == "image"
        inner = {field.name for field in dataclasses.fields(HSDS)} - (own - {"steps"} if both else own)
        search = {name: value for name, value in given.items() if name in inner}
        if search:
            whole = given.get("search", stored.get("search", {}))
            given["search"] = {**(to_plain(whole) if isinstance(whole, HSDS) else whole), **search}
        return {name: value for name, value in given.items() if name in own or name not in search}

    @classmethod
    def setting_classes(cls) -> tuple[Any, ...]:
        """The search, too."""
        return cls, HSDS

    def localizes_on(self, backbone: Backbone) -> bool:
        """Whether to use a local mask: the calibration's choice, else yes."""
        stored = ModelSettings.of(backbone).local
        return self.localizes if stored is None else stored

    def refines(self, refine: bool | None) -> bool:
        """Whether to refine; by default where it was measured to gain: searches in the image part."""
        return self.arm == "image" and refine is not False

    def follows_map(self) -> bool:
        """Not of the image arm, whose search takes clean estimates, no steps."""
        return self.arm != "image"

    def settings_along(self) -> dict[str, Any]:
        """The settings without the search."""
        return {name: value for name, value in self.to_dict().items() if name != "search"}

    def move(self, edit: Edit) -> StrengthResult:
        return edit.once("results", lambda: self._results(edit))[edit.strength]

    def _results(self, edit: Edit) -> dict[float, StrengthResult]:
        """All strengths at once, which share the direction, the inversion and the measured curve."""
        direction = self.direction(edit.latent, edit.target, seed=edit.seed, progress=edit.progress)
        slider = self.slider(edit.latent, direction, seed=edit.seed, progress=edit.progress)
        return dict(zip(edit.strengths, slider.edit(edit.strengths), strict=True))


def _text_direction(latent: JointLatent, target: Condition, level: float, *, seed: Seed) -> Direction:
    return Direction(
        z=torch.zeros_like(latent.z),
        condition=(target - latent.condition).words,
        level=level,
        method="text difference",
        settings={"seed": seed},
        model_name=latent.backbone.name,
        model_fingerprint=latent.backbone.fingerprint,
        source_captions=latent.captions,
        images=latent.images,
        instructed=latent.instructed,
    )


def stored_eim(model: Backbone) -> EIM:
    """`EIM` with the settings stored for a model."""
    return EIM.from_dict(stored_settings(EIM.name, model))


def default_manipulation(latent: JointLatent, directions: Sequence[Direction], settings: Mapping[str, Any]) -> EIM:
    """The editor that moves images along directions: with these settings, and defaults for model and directions.

    Directions at a noise level move images there, by the joint arm, together with any others.
    Directions that were found on other images and have words move as ``latentedit.json`` says under "transfer".
    """
    defaults = stored_eim(latent.backbone).settings_along()
    if at_level := [direction for direction in directions if lives_at_level(direction)]:
        defaults = _at_their_level(at_level)
    elif all(_is_transferred(direction, latent) for direction in directions):
        defaults |= latent.backbone.defaults.get("transfer", {})
    return EIM.from_dict({**defaults, **settings})


def _at_their_level(directions: Sequence[Direction]) -> dict[str, Any]:
    levels = [direction.level for direction in directions]
    if max(levels) - min(levels) > _SAME_LEVEL:
        listed = ", ".join(f"{level:g}" for level in sorted(set(levels)))
        raise ConfigError(
            f"directions of different noise levels cannot be applied together; got levels {listed}. "
            "Apply them in sequence, each to the previous result"
        )
    steps = [direction.settings["steps"] for direction in directions]
    for count in steps:
        check_value(Count, steps=count)  # it may come from a file
    return {"arm": "joint", "level": levels[0], "steps": max(steps)}


def _is_transferred(direction: Direction, latent: JointLatent) -> bool:
    """Whether a direction was found on other images, not these nor their edits, and has words for other captions."""
    here = {frame.image.fingerprint for frame in latent.frames}
    return (
        bool(direction.images and direction.target_captions)
        and here.isdisjoint(name.partition("-")[0] for name in direction.images)
        and direction.target_captions != latent.captions
    )
