"""ChordEdit: one step along the difference of two texts' clean estimates, averaged over two nearby levels."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Count, Levels, Positive, Share, settings
from latentedit.core.solvers import level_batch
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent


@settings
class ChordEdit(Editor):
    """``y <- y + strength step_size (s D(s - d) + d D(s)) / (s + d)`` from y = x, at few levels s, mostly one.

    ``D(s)`` is the clean estimate under the target less that under the source, both at the one latent
    ``(1 - s) y + s e``; so ``D = -s (v(c1) - v(c0))``. The two are calls of one shape, and all levels share the noises:
    equal texts leave exactly zero. A step with one noise takes four evaluations.

    Args:
        levels: the first and the last s, evenly spaced between; one step is at the first. Cut to what the model knows.
        steps: how many.
        gap: d, how far below s the second difference is taken.
        step_size: of each step at strength 1.
        noises: noises averaged in each step.

    Source:
        Lu et al. 2026, arXiv 2602.19083, in the form of its code, which differs from a difference of velocities by the
        factor s: one step at .9, gap .15, step size 1, for one-step models. Their last pass under the target alone is
        left out. Levels of the network's own clock there are levels s here.
    """

    name: ClassVar[str] = "chordedit"

    levels: Levels = (0.9, 0.3)
    steps: Count = 1
    gap: Share = 0.15
    step_size: Positive = 1.0
    noises: Count = 1

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """``4 * steps * noises``."""
        del latent  # the same on every model
        return 0 if strength == 0 else 4 * self.steps * self.noises

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        x, known = latent.z, latent.backbone.capabilities
        noise = noise_like(x, seed=seed, purpose=self.name, count=self.noises)
        moved = torch.zeros_like(x)
        for index, level in enumerate(torch.linspace(*self.levels, self.steps, dtype=torch.float64).tolist()):
            s = min(max(level, known.s_min), known.s_max)
            below = max(s - self.gap, known.s_min)
            upper, lower = (clean_difference(latent, target, x + moved, at, noise) for at in (s, below))
            chord = (s * lower + self.gap * upper) / (s + self.gap)
            moved = moved + strength * self.step_size * chord
            if progress is not None:
                progress(self.name, index + 1, self.steps)
        return x + moved


def clean_difference(
    latent: JointLatent,
    target: Condition,
    y: Float[Tensor, "b *latent"],
    s: float,
    noise: Float[Tensor, "noises b *latent"],
) -> Float[Tensor, "b *latent"]:
    """``mean[x_hat(z, s, c1) - x_hat(z, s, c0)]`` at ``z = (1 - s) y + s e``, over the noises of each picture.

    Args:
        latent: whose texts are c0.
        target: c1, one text a picture.
        y: clean latents.
        s: level, the same for all.

    Cost:
        Two evaluations a picture and noise.
    """
    velocity, times = latent.backbone.velocity, len(noise)
    z = ((1 - s) * y + s * noise).flatten(0, 1)
    at = level_batch(s, z)
    steering = velocity(z, at, target.repeat(times)) - velocity(z, at, latent.condition.repeat(times))
    return -s * steering.unflatten(0, (times, len(y))).mean(0)
