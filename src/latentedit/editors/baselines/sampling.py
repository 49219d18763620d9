"""Editors that sample from a noised image, which enters by the start of the sampling or is mixed in."""

from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.setting import Guidance, Natural, Share, Start, Until, settings
from latentedit.editors.baselines.walks import PairedRuns
from latentedit.editors.edit import Edit, Latents
from latentedit.editors.strength import EffectCurve, effect_along
from latentedit.models.guidance import arriving
from latentedit.numerics.flow import level_batch, per_element
from latentedit.numerics.solvers import EulerSolver, integrate


@settings
class SDEdit(PairedRuns):
    """SDEdit: add noise up to a level, then sample down from there under the target text.

    ``z = (1 - s) x + s e`` at ``s = strength * level``.

    Args:
        level: where strength 1 starts, in (0, 1].
        steps: of the model's full grid; an edit walks the part below its start.

    Source:
        Meng et al. 2021, arXiv 2108.01073; the start level is a real number here, not a step of the grid.
    """

    name: ClassVar[str] = "sdedit"
    loses_equal_texts: ClassVar[bool] = True  # noise replaces what the caption does not say
    steps_by_map: ClassVar[bool] = True

    level: Start = 0.7
    guidance: Guidance = 3.0

    def _start(self, edit: Edit) -> float:
        strength, highest = edit.strength, edit.backbone.capabilities.s_max
        level = edit.latent.level(self.steps, self.level)
        if strength < 0 or strength * level > highest + 1e-9:
            raise ConfigError(
                f"the strength of sdedit must lie from 0 to {highest / level:g}, since it is a share of the "
                f"start level {level:g}; got {strength:g}. For signed strengths use eim or flowedit"
            )
        return strength * level

    def run(self, edit: Edit) -> Latents:
        grid = edit.path(self.steps, self._start(edit), self.shift)
        field, z = edit.field(edit.target, self.guidance), edit.noised(grid.levels[0])
        return integrate(field, z, grid.levels, EulerSolver(), progress=edit.progress)


@settings
class VeloEdit(PairedRuns):
    """VeloEdit: sampling from noise, at high levels with velocities mixed with those toward the source.

    ``z' = z + (s' - s) u`` from ``(1 - s) x + s e``, with u between v of the target and ``w = (z - x) / s``, which
    leads straight back to the image x. Above ``until``, numbers of v that resemble w, ``|w| >= threshold (|w| +
    |v - w|)``, are replaced by w, and the others by ``w + strength (v - w)``: there the clean estimate becomes ``x +
    strength (x_hat - x)``. From ``until`` down u is v. So strength says how much of the image is mixed in, and near
    0 the last steps still show the target.

    It was made for models that take the image as a reference. Models that take captions alone see the image
    only through the mix, and want a lower ``level``, where the path starts with more of it.

    Args:
        threshold: similarity from which on a number of the velocity is replaced; 1 replaces those that are equal.
        until: steps that start at this level or below are plain.

    Source:
        VeloEdit, arXiv 2603.13388, in the form of its code, which mixes the first 1 of 6 steps of FLUX.1 Kontext
        (``until`` .95; .84 is that of a uniform grid) at a threshold of .8 and counts the strength from the other end;
        the real-valued start and end are ours.
    """

    name: ClassVar[str] = "veloedit"
    loses_equal_texts: ClassVar[bool] = True  # noise replaces what the text does not say
    steps_by_map: ClassVar[bool] = True

    guidance: Guidance = 1.0
    threshold: Share = 0.8
    until: Until = 0.84

    def run(self, edit: Edit) -> Latents:
        levels, until = edit.path(self.steps, self.level, self.shift).levels, edit.latent.level(self.steps, self.until)
        field, z = edit.field(edit.target, self.guidance), edit.noised(levels[0])
        for _, s, s_next in edit.steps(levels):
            velocity = field(z, level_batch(s, z), s_next)
            if s > until:
                back = (z - edit.x) / s
                away = velocity - back
                alike = back.abs() >= self.threshold * (back.abs() + away.abs())
                velocity = torch.where(alike, back, back + edit.strength * away)
            z = z + (s_next - s) * velocity
        return z


@settings
class TextSteering(PairedRuns):
    """Steering by the embedded text alone: what a shifted text changes in a sample, added to the image.

    ``y = x + R(c0 + strength (c1 - c0)) - R(c0)``, R(c) the sample under c from ``(1 - s) x + s e``, s = level. The
    noise is drawn once and both samples start there, so what they have in common, the reconstruction's error with
    it, cancels. The two are calls of one shape: equal texts leave exactly zero.

    Args:
        level: where the samples start, in (0, 1]; the higher, the more the text decides.

    Source:
        Steering of text embeddings for generation with a real strength: arXiv 2603.17998, without its search for a
        direction (ours is the difference of the two texts). The difference of two samples on a real image is ours.
    """

    name: ClassVar[str] = "text-steering"
    steps_by_map: ClassVar[bool] = True

    level: Start = 0.8
    guidance: Guidance = 1.0

    def run(self, edit: Edit) -> Latents:
        levels = edit.path(self.steps, self.level, self.shift).levels
        plain, steered = (edit.field(text, self.guidance) for text in (edit.latent.condition, edit.text))
        source = target = edit.noised(levels[0])
        for _, s, s_next in edit.steps(levels):
            source = EulerSolver().step(plain, source, s, s_next)
            target = EulerSolver().step(steered, target, s, s_next)
        return edit.x + (target - source)


@settings
class VelocitySteering(PairedRuns):
    """Steering by velocities: what a multiple of their difference changes in a sample, added to the image.

    ``y = x + R(a) - R(0)``, R(a) the sample of ``v0 + a (v1 - v0)`` from ``(1 - s) x + s e``, s = level. v0 is the
    velocity under the image's own text, v1 that under the target: for a model that sees the image, with the
    instruction to change nothing and with the one to be followed. Both samples start from one noise, so what the
    model repaints of its own accord is in both and cancels: only the change is added.

    The strength is calibrated: a is such that the change makes that share of the full change u, the one at ``scale``,
    along u. It is read from a monotone curve through the effects at ``probes`` scales between 0 and the full change,
    and at as many beyond for a strength below 0 or above 1; strengths are clamped to the effect of the last. With no
    probes, ``a = strength * scale``.

    Made for models that take the image as a reference. Models that take captions alone see the image only
    through the start, and want a lower ``level``. Where the guidance weight is an input, it is the makers'.

    Args:
        scale: a at strength 1: on models with classifier-free guidance the guidance weight, with the image's own text
            as the negative one; 1 where the weight is an input.
        probes: scales between 0 and the full change at which the effect is measured.

    Source:
        Derived here; the difference of two samples is that of `TextSteering`, the curve that of `EIM`'s strength.
    """

    name: ClassVar[str] = "velocity-steering"
    steps_by_map: ClassVar[bool] = True

    scale: Guidance = 1.0
    probes: Natural = 3

    def _scales(self, strength: float) -> tuple[float, ...]:
        """The shares of ``scale`` at which the effect is measured for a strength; none where it needs no curve."""
        if self.probes == 0 or strength in (0, 1):
            return ()
        shares = torch.linspace(0, 1, self.probes + 2, dtype=torch.float64).tolist()
        below = [strength * share for share in shares[:0:-1]] if strength < 0 else []
        beyond = [1 + (strength - 1) * share for share in shares[1:]] if strength > 1 else []
        return (*below, *shares, *beyond)

    def run(self, edit: Edit) -> Latents:
        change, changes = edit.once("changes", lambda: (self._change(edit), {0.0: torch.zeros_like(edit.x)}))
        same = torch.ones(len(edit.latent), dtype=torch.float64)
        scales, share = self._scales(edit.strength), edit.strength * same
        for scale in scales:
            if scale not in changes:
                changes[scale] = change(scale * same)
        if scales:
            effects = effect_along(torch.stack([changes[scale] for scale in scales]), changes[1.0])
            share = EffectCurve(scales=scales, effects=effects).scale(edit.strength)
        return edit.x + change(share)

    def _change(self, edit: Edit) -> Callable[[Float[Tensor, " b"]], Latents]:
        """From shares of ``scale``, one per image, to the change; the sample without the text is drawn once."""
        backbone, levels = edit.backbone, edit.path(self.steps, self.level, self.shift).levels
        start = edit.noised(levels[0])

        def sampled(share: Float[Tensor, " b"] | None) -> Latents:
            z = start
            for _, s, s_next in edit.steps(levels):
                at = level_batch(backbone.capabilities.level(s), z)
                own, target = (arriving(backbone, text, s_next) for text in (edit.latent.condition, edit.target))
                velocity = backbone.velocity(z, at, own)
                if share is not None:
                    factor = per_element((self.scale * share).to(z), z)
                    velocity = velocity + factor * (backbone.velocity(z, at, target) - velocity)
                z = z + (s_next - s) * velocity
            return z

        plain = sampled(None)
        return lambda share: sampled(share) - plain
