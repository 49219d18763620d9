"""Walk a list of levels with a solver: sampling down a grid, inversion up the very same levels."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import CoordinateError
from latentedit.core.levels import LevelGrid
from latentedit.core.progress import Progress
from latentedit.core.solvers.base import Field, Solver


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trajectory:
    """Latents along a walk over levels.

    Args:
        levels: in the order walked, rising or falling.
        states: one batch of latents a level; the first is what came in.
    """

    levels: tuple[float, ...]
    states: tuple[Float[Tensor, "b *latent"], ...]

    @property
    def final(self) -> Float[Tensor, "b *latent"]:
        """The latents where the walk ended."""
        return self.states[-1]


def each_step(levels: Sequence[float], *, name: str, progress: Progress | None) -> Iterator[tuple[int, float, float]]:
    """The steps of a walk over levels: number from 0, the level before and the one after.

    ``progress`` is told ``(name, steps done, all steps)`` when the body of the loop has done each.
    """
    for index, (s, s_next) in enumerate(itertools.pairwise(levels)):
        yield index, s, s_next
        if progress is not None:
            progress(name, index + 1, len(levels) - 1)


def integrate(
    field: Field,
    z: Float[Tensor, "b *latent"],
    levels: Sequence[float],
    solver: Solver,
    *,
    progress: Progress | None = None,
) -> Trajectory:
    """Follow the flow ``dz/ds = v(z, s)`` through levels in the order given.

    Args:
        z: latents at ``levels[0]``; not changed.
        levels: one or more levels in [0, 1], strictly rising (towards noise) or strictly falling (towards data).
        solver: makes the steps.

    Returns:
        The latents at every level.

    Raises:
        CoordinateError: no level, or levels that turn back.

    Cost:
        ``solver.evaluations_per_step`` evaluations of the field a step.
    """
    nodes = tuple(float(level) for level in levels)
    pairs = list(itertools.pairwise(nodes))
    if not nodes or not (all(a < b for a, b in pairs) or all(a > b for a, b in pairs)):
        raise CoordinateError(f"levels must strictly rise or strictly fall; got {nodes}")
    states = [z]
    for _, s, s_next in each_step(nodes, name="integrate", progress=progress):
        states.append(solver.step(field, states[-1], s, s_next))
    return Trajectory(levels=nodes, states=tuple(states))


def sample(
    field: Field, z: Float[Tensor, "b *latent"], grid: LevelGrid, solver: Solver, *, progress: Progress | None = None
) -> Trajectory:
    """From latents at the grid's first level down to its last one, where `invert` starts.

    A grid whose last level is not 0 (variance-preserving models) ends in a latent that still has that much noise.

    Cost:
        ``grid.steps * solver.evaluations_per_step`` evaluations of the field.
    """
    return integrate(field, z, grid.levels, solver, progress=progress)


def invert(
    field: Field, z: Float[Tensor, "b *latent"], grid: LevelGrid, solver: Solver, *, progress: Progress | None = None
) -> Trajectory:
    """From latents at the grid's last level up to its first one, where `sample` starts: the same levels, reversed.

    Cost:
        ``grid.steps * solver.evaluations_per_step`` evaluations of the field.
    """
    return integrate(field, z, grid.levels[::-1], solver, progress=progress)
