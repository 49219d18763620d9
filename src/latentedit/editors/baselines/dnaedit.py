"""DNAEdit: a noise that is aligned with the picture step by step, then a way down towards a reference that moves."""

import dataclasses
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Guidance, Level, settings
from latentedit.core.solvers import each_step, level_batch
from latentedit.editors.baselines.path_editor import PathEditor, branches, towards
from latentedit.editors.baselines.text_field import text_field
from latentedit.latents.joint import JointLatent


@settings
class DNAEdit(PathEditor):
    """Align a noise with the picture under c0, then come down under ``c1' = c0 + strength (c1 - c0)``.

    Way up, from a random e: ``p = z + (s' - s) (e - z) / (1 - s)``, ``v = v(p, s', c0)``, ``z' = z + (s' - s) v``, and
    e moves by as much as keeps z' on the line to it. Way down over the same steps, with ``dv = v(z + p - z', s', c1')
    - v``: the reference ``m <- m + (s - s') dv`` starts at the picture x, and
    ``z <- z + (s - s') (eta v(c1') + (1 - eta) (z - m) / s')``. Levels in quotients count from the clean end of the
    grid, which is 0 for rectified flow. Strength by interpolating the text is ours.

    Args:
        level: how far up, in (0, 1].
        eta: share of the network's velocity on the way down; the rest leads to the reference.
        guidance: classifier-free guidance weight of the way down.

    Source:
        Xie et al. 2025, arXiv 2506.01430 (direct noise alignment, mobile velocity guidance), in the order of its code.
    """

    name: ClassVar[str] = "dnaedit"

    level: Level = 0.85
    eta: Level = 0.8
    guidance: Guidance = 1.0

    @property
    def keeps_equal_texts(self) -> bool:
        """With the network's velocity alone and no guidance, the way down retraces the way up."""
        return self.eta == 1 and self.guidance == 1

    def _cost(self, k: int) -> int:
        """``k (1 up + 1 down, or 2 down if guided)``."""
        return k * (1 + branches(self.guidance))

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        levels = self._path(latent).levels[::-1]
        noise = noise_like(latent.z, seed=seed, purpose=self.name)
        way = align_noise(latent, levels, noise, progress=progress)
        text = towards(latent, target, strength)
        field = text_field(latent, text, guidance=self.guidance)
        moved, drift = torch.zeros_like(latent.z), torch.zeros_like(latent.z)  # z less the way up, m less x
        for done, upper, lower in each_step(levels[::-1], name=self.name, progress=progress):
            index = len(levels) - 2 - done
            z, point, velocity = way.states[index + 1] + moved, way.points[index] + moved, way.velocities[index]
            dv = field(point, level_batch(upper, z)) - velocity
            drift = drift + (lower - upper) * dv
            back = (z - latent.z - drift) / (upper - levels[0]) - velocity
            moved = moved + (lower - upper) * (self.eta * dv + (1 - self.eta) * back)
        return latent.z + moved


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedNoise:
    """The way up of a direct noise alignment.

    Args:
        states: z at every level; the first is the picture.
        points: where the network was evaluated in each step, at the step's upper level.
        velocities: its answers.
        noise: e after each step, on which z has a straight line.
    """

    states: tuple[Float[Tensor, "b *latent"], ...]
    points: tuple[Float[Tensor, "b *latent"], ...]
    velocities: tuple[Float[Tensor, "b *latent"], ...]
    noise: tuple[Float[Tensor, "b *latent"], ...]


def align_noise(
    latent: JointLatent, levels: tuple[float, ...], noise: Float[Tensor, "*latent"], *, progress: Progress | None = None
) -> AlignedNoise:
    """Correct a noise by the velocity that the picture, interpolated with it, should have had.

    ``p = z + (s' - s) w`` with ``w = (e - z) / (1 - s)``, ``v = v(p, s', c0)``, ``z <- p - (s' - s) (w - v)``,
    ``e <- e - (1 - s) (w - v)``; so ``(e - z) / (1 - s') = v`` after the step.

    Args:
        levels: rising, from the clean end.
        noise: e at first, shared by all pictures.

    Cost:
        One evaluation a step.
    """
    field = text_field(latent, latent.condition)
    states, points, velocities, noises = [latent.z], list[Tensor](), list[Tensor](), [noise.expand_as(latent.z)]
    for _, s, s_next in each_step(levels, name="align", progress=progress):
        z, e = states[-1], noises[-1]
        straight = (e - z) / (1 - s)
        points.append(z + (s_next - s) * straight)
        velocities.append(field(points[-1], level_batch(s_next, z)))
        states.append(z + (s_next - s) * velocities[-1])
        noises.append(e - (1 - s) * (straight - velocities[-1]))
    return AlignedNoise(
        states=tuple(states), points=tuple(points), velocities=tuple(velocities), noise=tuple(noises[1:])
    )
