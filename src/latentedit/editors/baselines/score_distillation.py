"""Editors by score distillation: the image descends along differences of estimates at random or chosen levels."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.setting import Count, Guidance, Levels, Positive, Share, settings
from latentedit.editors.baselines.walks import PairedSteps
from latentedit.editors.edit import Edit, Latents, LevelBatch
from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField
from latentedit.numerics.flow import level_batch, per_element, shift_level
from latentedit.numerics.rng import stream


@settings
class SDS(PairedSteps):
    """Score distillation from an image: the target's noise estimate against the noise that was added.

    ``y <- y - strength step_size (e_hat_w(y_s, c1) - e)`` from y = x, ``y_s = (1 - s) y + s e``, fresh e and level.
    The bracket is ``(1 - s) (v_w(y_s, c1) - (e - y))``, the residual of rectified-flow distillation with the weight
    ``1 - s``. Nothing but the start says what the image is: it drifts to what the target alone finds likely, and
    loses detail on the way. Delta denoising (`DDS`) takes that drift away.

    Args:
        levels: the highest and the lowest level; uniform between them, clipped to the model's range.
        steps: of the descent.
        step_size: of each step.
        guidance: classifier-free guidance weight.

    Source:
        Poole et al. 2022, arXiv 2209.14988, eq. 3 with a constant weight, from the image as in Hertz et al. 2023
        (arXiv 2304.07090); levels uniform in s and the strength, which scales the steps, are ours.
    """

    name: ClassVar[str] = "sds"
    loses_equal_texts: ClassVar[bool] = True  # the source text plays no part

    levels: Levels = (0.95, 0.05)
    steps: Count = 28
    step_size: Positive = 0.1
    guidance: Guidance = 2.0

    def move(self, edit: Edit) -> Latents:
        y, levels, times = edit.x, descent_levels(edit, self.levels, self.steps, self.shift), self.noises
        field = GuidedField(backbone=edit.backbone, condition=edit.target.repeat(times), guidance=self.guidance)
        for index, level in edit.counted(levels):
            at, s, clean = _level_weights(level, y)
            noise = self.drawn(edit, index=index)
            v = field((clean * y + s * noise).flatten(0, 1), at.repeat(times)).unflatten(0, noise.shape[:2])
            step = per_element((edit.strength * self.step_size * (1 - level)).to(y), y)
            y = y - step * (v - (noise - y)).mean(0)
        return y


@settings
class DDS(PairedSteps):
    """Delta denoising score, iterated: the difference of two noise estimates moves the image, at random levels.

    ``y <- y - strength step_size (e_hat_w(y_s, c1) - e_hat_w(x_s, c0))`` from y = x, at a random level each step.
    ``y_s = (1 - s) y + s e`` and ``x_s = (1 - s) x + s e`` have one fresh noise. With ``e_hat = z + (1 - s) v`` the
    bracket is ``(1 - s) (v_w(y_s, c1) - v_w(x_s, c0) + y - x)``: without its last part, the difference of velocities,
    it would be another method. The two branches are calls of one shape and ``y - x`` is the state, so equal texts
    leave exactly zero.

    It descends to where the two estimates agree, so the strength says how fast it gets there; steps so large that
    ``strength * step_size`` is beyond some 4 standard deviations of the data's narrowest axis overshoot.

    Args:
        levels: the highest and the lowest level; uniform between them, clipped to the model's range.
        steps: of the descent.
        step_size: of each step.
        guidance: classifier-free guidance weight of both branches.

    Source:
        Hertz et al. 2023, arXiv 2304.07090, which takes 200 steps of 0.049 at weight 7.5 and times uniform in the
        network's own clock; levels uniform in s are ours, the flow form is derived here.
    """

    name: ClassVar[str] = "dds"

    levels: Levels = (0.95, 0.05)
    steps: Count = 28
    step_size: Positive = 0.25
    guidance: Guidance = 2.0

    def move(self, edit: Edit) -> Latents:
        x, levels, times = edit.x, descent_levels(edit, self.levels, self.steps, self.shift), self.noises
        source_field, target_field = edit.two_fields(self.guidance, self.guidance, times=times)
        delta = torch.zeros_like(x)
        for index, level in edit.counted(levels):
            at, s, clean = _level_weights(level, x)
            x_s = clean * x + s * self.drawn(edit, index=index)
            a, b, at = x_s.flatten(0, 1), (x_s + clean * delta).flatten(0, 1), at.repeat(times)
            dv = target_field(b, at) - edit.at_image(index, source_field, a, at)
            dv = dv.unflatten(0, x_s.shape[:2]).mean(0)
            gradient = clean * (dv + delta)
            delta = delta - edit.strength * self.step_size * gradient
        return x + delta


def random_levels(
    backbone: Backbone,
    levels: tuple[float, float],
    steps: int,
    shift: float | None = None,
    *,
    seed: int,
    purpose: str,
) -> list[float]:
    """A level for each step, uniform between the lowest and the highest, both clipped to the model's range.

    The first levels do not depend on the number of steps. With a shift, they are spaced as those of `HSDS`.
    """
    first, last = map(backbone.capabilities.level, levels)
    shares = torch.rand(steps, generator=stream(seed, purpose), dtype=torch.float64)
    spaced = [share if shift is None else shift_level(share, shift) for share in shares.tolist()]
    return [last + (first - last) * share for share in spaced]


def descent_levels(edit: Edit, levels: tuple[float, float], steps: int, shift: float | None = None) -> list[LevelBatch]:
    """`random_levels` of each image, in float64; images share them where there is one seed for all.

    A negative strength is refused: it would climb the score, away from the fixed point of the descent.
    """
    if edit.strength < 0:
        raise ConfigError(
            f"the strength of {edit.name} must be 0 or above, since it scales the steps of a descent; got "
            f"{edit.strength:g}. For signed strengths use eim or flowslider"
        )
    seeds, purpose = [edit.seed] * len(edit.x) if isinstance(edit.seed, int) else edit.seed, f"{edit.name} levels"
    rows = [random_levels(edit.backbone, levels, steps, shift, seed=seed, purpose=purpose) for seed in seeds]
    return list(torch.tensor(rows, dtype=torch.float64).T)


def _level_weights(
    level: LevelBatch, x: Latents
) -> tuple[LevelBatch, Float[Tensor, "b *ones"], Float[Tensor, "b *ones"]]:
    """Levels as the network takes them, and ``s`` and ``1 - s`` as factors of latents."""
    at = level.to(x.device, torch.promote_types(x.dtype, torch.float32))
    return at, per_element(level.to(x), x), per_element((1 - level).to(x), x)


@settings
class ChordEdit(PairedSteps):
    """ChordEdit: one step along the difference of two texts' clean estimates, averaged over two nearby levels.

    ``y <- y + strength step_size (s D(s - d) + d D(s)) / (s + d)`` from y = x, at few levels s, mostly one.
    ``D(s)`` is the clean estimate under the target less that under the source, both at the one latent
    ``(1 - s) y + s e``; so ``D = -s (v(c1) - v(c0))``. The two are calls of one shape, and all levels share the noises:
    equal texts leave exactly zero. A step with one noise takes four evaluations.

    Args:
        levels: the first and the last s, evenly spaced between; one step is at the first. Clipped to the model's range.
        steps: how many.
        gap: d, how far below s the second difference is taken.
        step_size: of each step at strength 1.

    Source:
        Lu et al. 2026, arXiv 2602.19083, in the form of its code, which differs from a difference of velocities by the
        factor s: one step at .9, gap .15, step size 1, for one-step models. Those are times of the network, for SD
        the level .893 and gap .09; both weights are levels here. Their last pass under the target alone is left out.
    """

    name: ClassVar[str] = "chordedit"

    levels: Levels = (0.9, 0.3)
    steps: Count = 1
    gap: Share = 0.15
    step_size: Positive = 1.0

    def move(self, edit: Edit) -> Latents:
        x, capabilities = edit.x, edit.backbone.capabilities
        noise, delta = self.drawn(edit), torch.zeros_like(x)
        levels = torch.linspace(*self.levels, self.steps, dtype=torch.float64).tolist()
        if self.shift is not None:
            first, last = self.levels
            even = torch.linspace(1, 0, self.steps, dtype=torch.float64).tolist()
            levels = [last + (first - last) * shift_level(share, self.shift) for share in even]
        for _, level in edit.counted(levels):
            s = capabilities.level(level)
            below = max(s - self.gap, capabilities.s_min)
            upper, lower = (clean_difference(edit, x + delta, at, noise) for at in (s, below))
            chord = (s * lower + self.gap * upper) / (s + self.gap)
            delta = delta + edit.strength * self.step_size * chord
        return x + delta


def clean_difference(edit: Edit, y: Latents, s: float, noise: Float[Tensor, "noises b *latent"]) -> Latents:
    """``mean[x_hat(z, s, c1) - x_hat(z, s, c0)]`` at ``z = (1 - s) y + s e``, over the noises of each image."""
    velocity, times = edit.backbone.velocity, len(noise)
    source, target = edit.texts
    z = ((1 - s) * y + s * noise).flatten(0, 1)
    at = level_batch(s, z)
    steering = velocity(z, at, target.repeat(times)) - velocity(z, at, source.repeat(times))
    return -s * steering.unflatten(0, (times, len(y))).mean(0)
