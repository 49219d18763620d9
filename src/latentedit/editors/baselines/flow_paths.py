"""Editors along FlowEdit's path: from the image, by the integral of a difference of velocities along shared noise."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import torch

from latentedit.core.errors import ConfigError
from latentedit.core.setting import Guidance, Positive, Share, Start, Weight, settings
from latentedit.editors.baselines.walks import PairedWalk
from latentedit.editors.edit import Edit, Latents, LevelBatch
from latentedit.models.guidance import GuidedField
from latentedit.numerics.flow import level_batch
from latentedit.numerics.progress import note_estimate

# Called as `velocity(z, levels, arrival)` with noised latents, their levels and the next one.
Velocity = Callable[[Latents, LevelBatch, float], Latents]


def follow_difference(
    editor: PairedWalk, edit: Edit, at_a: Velocity, at_b: Velocity, *, weight: float = 1.0, pull: float = 0.0
) -> Latents:
    """``y <- y + (s' - s) dv + pull (s dv - (y - x))``, ``dv = weight mean[at_b(b, s) - at_a(a, s)]``, from y = x.

    With ``a = (1 - s) x + s e`` and ``b = a + (y - x)``. What ``pull`` multiplies is the clean estimate at a less that
    at b: ``s dv - (b - a) = (a - s v_a) - (b - s v_b)`` where ``dv = v_b - v_a``.

    The state is ``y - x``, so velocities that are equal wherever a = b leave exactly x. Each step calls both once, with
    all images and the first of the editor's noises, then all with the second, and so on; a is that of all strengths.
    """
    x, delta = edit.x, torch.zeros_like(edit.x)
    for index, s, s_next in edit.steps(edit.path(editor.steps, editor.level, editor.shift).levels):
        a, b = editor.noised(edit, index, s, delta)
        levels = level_batch(s, a)
        dv = at_b(b, levels, s_next) - edit.at_image(index, at_a, a, levels, s_next)
        dv = dv.unflatten(0, (editor.noises, -1)).mean(0)
        back = 0 if pull == 0 else pull * (s * weight * dv - delta)
        delta = delta + (s_next - s) * weight * dv + back
        note_estimate(edit.progress, x, delta)
    return x + delta


def steered(fields: tuple[GuidedField, GuidedField], weight: float) -> Velocity:
    """``v(b, c0) + weight (v(b, c1) - v(b, c0))`` at the edit b.

    Less v(a, c0), the first part is *fidelity*, which holds the source where it is; the second, *steering*, goes
    towards the target. The velocities are calls of one shape, not one of three times the rows: kernels may round equal
    rows of one batch differently, equal calls they round alike. So equal texts and weights leave exactly zero. The
    target's guidance weight is that of both velocities at b.
    """
    source, target = fields
    reference = dataclasses.replace(target, condition=source.condition)

    def velocity(b: Latents, levels: LevelBatch, arrival: float) -> Latents:
        held = reference(b, levels, arrival)
        return held + weight * (target(b, levels, arrival) - held)

    return velocity


@settings
class FlowEdit(PairedWalk):
    """FlowEdit: integrate the difference of two velocities under one noise a step; real-valued start and strength.

    ``y <- y + (s' - s) strength mean[v(a + (y - x), s, c1) - v(a, s, c0)]``, ``a = (1 - s) x + s e``, from y = x.
    Both branches are called alike and ``y - x`` is the state, so equal texts and weights leave exactly zero.

    Source:
        Kulikov et al. 2024, arXiv 2412.08629, algorithm 1 with n_min = 0; the real-valued start, pairs of noises, other
        levels than the model's and the strength, which scales the difference of velocities, are ours.
    """

    name: ClassVar[str] = "flowedit"
    steps_by_map: ClassVar[bool] = True

    source_guidance: Guidance = 1.0
    target_guidance: Guidance = 2.0

    @property
    def keeps_equal_texts(self) -> bool:
        """Equal weights make the two branches the same call."""
        return self.source_guidance == self.target_guidance

    def move(self, edit: Edit) -> Latents:
        source, target = self.fields(edit)
        return follow_difference(self, edit, source, target, weight=edit.strength)

    def fields(self, edit: Edit) -> tuple[GuidedField, GuidedField]:
        """The velocities under source and target, for each of the noises."""
        return edit.two_fields(self.source_guidance, self.target_guidance, times=self.noises)


@settings
class DVRF(FlowEdit):
    """DVRF: descent on a residual of two velocities with an offset, whose ends are delta denoising score and FlowEdit.

    ``y <- y - h (strength mean[v(b, s, c1) - v(a, s, c0)] + (1 - q) (y - x))``, from y = x down the model's levels.
    With ``a = (1 - s) x + s e`` and ``b = a + (1 - s + q s) (y - x)``: b is y with the noise, offset by ``q s`` times
    the change so far. Without an offset, q = 0, a step of ``h = (1 - s) step_size`` is one of `DDS`; with a full one,
    q = 1, and a step of ``h = s - s'`` it is FlowEdit. Both branches are called alike, so equal texts and weights leave
    exactly zero. That the strength scales the difference of velocities, as in FlowEdit, is ours.

    Args:
        offset: q at the first step, and where it has grown to after the last, evenly.
        step_size: h; None takes the path's own steps, ``s - s'``.

    The weights are FlowEdit's.

    Source:
        Beaudouin et al. 2025, arXiv 2509.05342, eq. 6 and 8, in the form of its code: 50 steps down all levels, the
        offset (its shift) from 0 to 1, weights 6 and 16.5 on SD3. There the step is .02 or a hump of levels; the path's
        own is ours.
    """

    name: ClassVar[str] = "dvrf"
    steps_by_map: ClassVar[bool] = False

    level: Start = 1.0
    offset: tuple[Share, Share] = (0.0, 1.0)
    step_size: Positive | None = None

    def move(self, edit: Edit) -> Latents:
        x, grid, (source, target) = edit.x, edit.path(self.steps, self.level, self.shift), self.fields(edit)
        delta, (first, last) = torch.zeros_like(x), self.offset
        for index, s, s_next in edit.steps(grid.levels):
            offset = first + (last - first) * index / grid.steps
            a, b = self.noised(edit, index, s, (1 - s + offset * s) * delta)
            at = level_batch(s, a)
            dv = target(b, at) - edit.at_image(index, source, a, at)
            dv = dv.unflatten(0, (self.noises, -1)).mean(0)
            step = s - s_next if self.step_size is None else self.step_size
            delta = delta - step * (edit.strength * dv + (1 - offset) * delta)
            note_estimate(edit.progress, x, delta)
        return x + delta


@settings
class FlowSlider(FlowEdit):
    """FlowSlider: FlowEdit's difference of velocities in two parts, of which the strength scales only the second.

    ``y <- y + (s' - s) mean[(v(b, s, c0) - v(a, s, c0)) + strength (v(b, s, c1) - v(b, s, c0))]``, from y = x, with
    ``a = (1 - s) x + s e`` and ``b = a + (y - x)``; see `steered`. Strength 1 is `FlowEdit` with
    the same weights and noises; any real strength is allowed, also negative ones and those above 1.

    Args:
        source_guidance: weight of the velocity at a.
        target_guidance: weight of both velocities at b.

    Source:
        FlowSlider, arXiv 2604.02088, in the form of its code for FLUX.1; the real-valued start is ours, and FlowEdit
        that of Kulikov et al. 2024, arXiv 2412.08629.
    """

    name: ClassVar[str] = "flowslider"

    target_guidance: Guidance = 1.0

    def move(self, edit: Edit) -> Latents:
        fields = self.fields(edit)
        return follow_difference(self, edit, fields[0], steered(fields, edit.strength))


@settings
class FlowAlign(PairedWalk):
    """FlowAlign: FlowEdit's path with the source as the negative text and a pull between the clean estimates.

    ``y <- y + (s' - s) (p - q) + pull ((a - s q) - (b - s p))``, from y = x, with two velocities
    ``p = v(b, s, c0) + strength guidance (v(b, s, c1) - v(b, s, c0))`` and ``q = v(a, s, c0)``, ``a = (1 - s) x + s e``
    and ``b = a + (y - x)``. The last bracket is the image's clean estimate less that of the edit.

    Strength 1 is the published method. That it scales the guidance is ours: so it may have any sign and size, and
    without a pull the product ``strength * guidance`` is `FlowSlider`'s strength.

    Args:
        guidance: weight of the target over the source text.
        pull: of the edit's clean estimate to the image's, in each step.

    Source:
        Kim et al. 2025, FlowAlign, arXiv 2505.23145, with the defaults of its code; the real-valued start is ours.
    """

    name: ClassVar[str] = "flowalign"
    steps_by_map: ClassVar[bool] = True

    level: Start = 1.0
    guidance: Guidance = 7.0
    pull: Share = 0.01

    def move(self, edit: Edit) -> Latents:
        fields = edit.two_fields(1.0, 1.0, times=self.noises)
        velocity = steered(fields, edit.strength * self.guidance)
        return follow_difference(self, edit, fields[0], velocity, pull=self.pull)


@settings
class SteeringFields(PairedWalk):
    """Steering Fields: a velocity that one text attracts and another repels, walked along FlowEdit's path.

    ``y <- y + (s' - s) (u(b, s) - v(a, s, n))`` with ``u = (v(n) + m v(c1) - l v(c0)) / (1 + m - l)``, from y = x.
    ``m = strength * attract``, ``l = strength * repel``, n is the empty text, ``a = (1 - s) x + s e`` and
    ``b = a + (y - x)``; all velocities are at guidance weight 1. The field u is the published one; the rest is ours. It
    steers sampling from noise; we walk it along FlowEdit's path, the way to keep a given image without an inversion,
    so that strength 0 leaves the image and strength may have either sign. Its base is the empty text: were it the
    source, which is also what repels, both weights would act as one, and the editor be `FlowSlider` at the strength
    ``m / (1 + m - l)``.

    The velocities are calls of one shape, so with equal weights equal texts leave exactly zero.

    Args:
        attract: weight of the target text.
        repel: weight of the source text; 0 saves its evaluation.

    Source:
        Steering Fields, after a description by others; FlowEdit's path: Kulikov et al. 2024, arXiv 2412.08629.
    """

    name: ClassVar[str] = "steering-fields"

    attract: Positive = 2.0
    repel: Weight = 2.0

    @property
    def keeps_equal_texts(self) -> bool:
        """Equal weights let one text attract as much as it repels."""
        return self.attract == self.repel

    def _scale(self, strength: float) -> float:
        balance = self.attract - self.repel
        scale = 1 + strength * balance
        if scale > 0:
            return scale
        raise ConfigError(
            f"the strength of steering-fields must be {'above' if balance > 0 else 'below'} {-1 / balance:g}, where "
            f"1 + strength (attract - repel) is above 0; got {strength:g}. Equal weights allow any strength"
        )

    def move(self, edit: Edit) -> Latents:
        velocity, texts = edit.backbone.velocity, edit.texts
        empty = edit.backbone.null(texts[0]).expand(len(edit.latent))
        source, target, empty = (text.repeat(self.noises) for text in (*texts, empty))
        share = edit.strength / self._scale(edit.strength)

        def at_b(b: Latents, levels: LevelBatch, _: float) -> Latents:
            base = velocity(b, levels, empty)
            steering = self.attract * (velocity(b, levels, target) - base)
            if self.repel:
                steering = steering - self.repel * (velocity(b, levels, source) - base)
            return base + share * steering

        return follow_difference(self, edit, lambda a, levels, _: velocity(a, levels, empty), at_b)
