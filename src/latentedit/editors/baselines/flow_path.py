"""FlowEdit's path from a picture: the integral of a difference of velocities along shared noise."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.levels import LevelGrid
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.solvers import each_step, level_batch
from latentedit.latents.joint import JointLatent

Latents = Float[Tensor, "b *latent"]
"""A batch of latents."""

Levels = Float[Tensor, " b"]
"""The noise level of each latent of a batch."""

Difference = Callable[[Latents, Latents, Levels], Latents]
"""Called as ``difference(a, b, levels)`` with the noised picture, the noised edit and their levels."""


def fidelity_and_steering(latent: JointLatent, target: Condition, weight: float, *, times: int = 1) -> Difference:
    """``(v(b, c0) - v(a, c0)) + weight (v(b, c1) - v(b, c0))`` at the picture a and the edit b.

    The first difference, *fidelity*, holds the source where it is; the second, *steering*, goes towards the target. The
    three are calls of one shape, not one of three times the rows: kernels may round equal rows of one batch
    differently, equal calls they round alike. So equal texts leave exactly zero.

    Args:
        latent: the pictures, under c0.
        target: c1, one text a picture.
        weight: of the steering, any number.
        times: how often the batch is repeated.
    """
    velocity = latent.backbone.velocity
    source_text, target_text = latent.condition.repeat(times), target.repeat(times)

    def difference(a: Latents, b: Latents, levels: Levels) -> Latents:
        held = velocity(b, levels, source_text)
        return (held - velocity(a, levels, source_text)) + weight * (velocity(b, levels, target_text) - held)

    return difference


def follow_difference(
    latent: JointLatent,
    grid: LevelGrid,
    difference: Difference,
    *,
    noises: int,
    seed: Seed,
    name: str,
    weight: float = 1.0,
    pull: float = 0.0,
    progress: Progress | None = None,
) -> Float[Tensor, "b *latent"]:
    """``y <- y + (s' - s) dv + pull (s dv - (y - x))``, ``dv = weight mean[difference(a, b, s)]``, from y = x.

    With ``a = (1 - s) x + s e`` and ``b = a + (y - x)``. What ``pull`` multiplies is the clean estimate at a less that
    at b: ``s dv - (b - a) = (a - s v_a) - (b - s v_b)`` where ``dv = v_b - v_a``.

    ``y - x`` is what is kept, so a difference that is zero wherever a = b leaves exactly x.

    Args:
        grid: levels that the path walks down.
        difference: gets all pictures with the first noise, then all with the second, and so on, in one call a step.
        noises: averaged in each step; editors with one seed share them.
        name: what ``progress`` is told about.
        weight: of every step.
        pull: of the edit's clean estimate back to the picture's, in each step.

    Returns:
        The edited latents y.

    Cost:
        ``grid.steps`` calls of ``difference`` with ``noises * b`` rows.
    """
    batch, shape = len(latent), latent.z.shape[1:]
    moved = torch.zeros_like(latent.z)
    for index, s, s_next in each_step(grid.levels, name=name, progress=progress):
        noise = noise_like(latent.z, seed=seed, purpose="flowedit", index=index, count=noises)
        a = ((1 - s) * latent.z + s * noise).flatten(0, 1)
        b = a + moved.repeat(noises, *[1] * len(shape))
        dv = difference(a, b, level_batch(s, a)).unflatten(0, (noises, batch)).mean(0)
        back = 0 if pull == 0 else pull * (s * weight * dv - moved)
        moved = moved + (s_next - s) * weight * dv + back
    return latent.z + moved
