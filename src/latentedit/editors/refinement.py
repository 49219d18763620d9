"""Refinement: redraws the core of a change by a few denoising steps under the target caption.

A search finds where an image changes better than what appears there: its result is a mean, with smeared edges. The hold
mask is hard, since a soft one would act again in every step. Changes of most of the image stay: there nothing is held.
What is drawn counts, not what the latent moves: glasses are a tenth of the pixels, and a third of the positions.
"""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from latentedit.core.console import Progress
from latentedit.core.setting import Count, Level, Share, settings
from latentedit.editors.base import StrengthResult
from latentedit.encoding.joint import JointLatent
from latentedit.identification.direction import Direction
from latentedit.identification.locality import change_share, pixel_share
from latentedit.models.guidance import arriving
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import grid_above, level_batch
from latentedit.numerics.rng import Seed, noise_like
from latentedit.numerics.solvers import each_step

_NOISES = 2  # an antithetic pair, whose errors of odd order cancel


@settings
class Refinement:
    """Settings of the refinement of a change.

    With x the source latent, d the change, ``share(d, f) = p / (p + f max p)`` and p the local energy of d::

        M = share(d, core),  H = [share(d, hold) > 1/2], grown by one position
        z_i = (1 - level) (x + d) + level e_i,  e_2 = -e_1
        z_i <- H z_i + (1 - H) ((1 - s) x + s e_i);  z_i <- z_i + (s' - s) v(z_i, s, c1)      down to s = 0
        d <- d + M (mean_i z_i - x - d)

    Derived here; level, steps and masks were chosen on the calibration split.

    Args:
        level: noise level from which the edited latent is denoised, in (0, 1].
        steps: denoising steps, evenly spaced down to 0.
        core: energy, as a share of the strongest, at which half of the redrawn latent is taken.
        hold: energy, as a share of the strongest, below which the source image is held.
        widest: largest share of the decoded image above ``hold`` that is refined; wider changes stay as they are. Of
            latents without a decoded image, the share of positions.
    """

    level: Level = 0.5
    steps: Count = 1
    core: Share = 0.3
    hold: Share = 0.03
    widest: Share = 0.3

    @property
    def evaluations(self) -> int:
        """Network evaluations per image; none where the change is too wide."""
        return _NOISES * self.steps

    def __call__(
        self,
        latent: JointLatent,
        target: Condition,
        change: Float[Tensor, "b *latent"],
        *,
        seed: Seed,
        progress: Progress | None = None,
    ) -> Float[Tensor, "b *latent"]:
        """The refined change of clean latents (edited minus source, at strength 1); zero where it is zero."""
        held = change_share(change, self.hold) > 0.5
        rows, decoded = change.flatten(1).any(1), latent.decoded
        narrow = held.flatten(1).float().mean(1) <= self.widest
        # The drawn part is narrower than the moved one: of 88 moves within the limit, none was drawn beyond it.
        if decoded is not None and not bool(narrow.all()):
            own = decoded if latent.start is None else latent.backbone.decode(latent.z)
            drawn = pixel_share(latent.backbone.decode(latent.z + change) - own, self.hold) > 0.5
            narrow |= drawn.flatten(1).float().mean(1) <= self.widest
        rows &= narrow
        chosen = rows.nonzero()[:, 0]
        if not len(chosen):
            return change
        x, d, backbone = latent.z[chosen], change[chosen], latent.backbone
        # Noise is drawn for all images and then chosen, so that an image's noise does not depend on the others.
        half = noise_like(latent.z, seed=seed, purpose="refinement")[chosen]
        noise = torch.stack([half, -half])
        hold = held[chosen]
        if hold.ndim == 4:  # grown by one position in every direction, where there is an image grid
            hold = functional.max_pool2d(hold.float(), 3, stride=1, padding=1) > 0
        text = target.expand(len(latent))[chosen].repeat(_NOISES)
        known = backbone.capabilities
        start = known.level(self.level)
        z = (1 - start) * (x + d) + start * noise
        levels = grid_above(known.s_min, self.steps, start=start).levels
        for _, s, after in each_step(levels, name="refine", progress=progress):
            # The image outside is put back before each step, at its level: the network then draws what fits it.
            z = torch.where(hold, z, (1 - s) * x + s * noise)
            flat = z.flatten(0, 1)
            v = backbone.velocity(flat, level_batch(s, flat), arriving(backbone, text, after))
            z = z + (after - s) * v.unflatten(0, z.shape[:2])
        # A soft mask here, where it acts once; in the steps above it would act again in each.
        refined = change.clone()
        refined[chosen] = d + change_share(d, self.core) * (z.mean(0) - x - d)
        return refined


def not_refined(before: Float[Tensor, "b *latent"], after: Float[Tensor, "b *latent"]) -> tuple[str, ...]:
    """A note on the images whose change a refinement left as it was; none on those without a change."""
    left = (before == after).flatten(1).all(1) & before.flatten(1).any(1)
    if not left.any():
        return ()
    which = "" if left.all() else f" on {int(left.sum())} of {len(left)} images"
    return (f"not refined{which}: the change covers more than {100 * Refinement().widest:.0f} % of the image",)


def refined_direction(
    direction: Direction, latent: JointLatent, target: Condition, *, seed: Seed, progress: Progress | None = None
) -> Direction:
    """A direction that was identified on these images, its displacement refined; a direction of text as it is."""
    change = direction.z.expand_as(latent.z)
    refined = Refinement()(latent, target, change, seed=seed, progress=progress)
    return dataclasses.replace(direction, z=refined, notes=(*direction.notes, *not_refined(change, refined)))


def refined_steps(
    latent: JointLatent, target: Condition, steps: Sequence[StrengthResult], *, seed: Seed, progress: Progress | None
) -> list[StrengthResult]:
    """The results of an editor, one of them at strength 1, which is refined.

    What that adds at strength 1 is added to others in proportion, to strengths above 1 whole, to negative ones not.
    """
    change = next(step.z for step in steps if step.strength == 1) - latent.z
    # Refined once, at strength 1, and scaled. Refining at each strength costs as much again for each, and changed
    # the mean error by 0.002 or less, up or down (docs/methods.md, "Refinement at each strength").
    refined = Refinement()(latent, target, change, seed=seed, progress=progress)
    added, note = refined - change, not_refined(change, refined)
    return [
        dataclasses.replace(step, z=step.z + min(step.strength, 1.0) * added, notes=(*step.notes, *note))
        if step.strength > 0
        else step
        for step in steps
    ]
