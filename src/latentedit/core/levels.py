"""Levels as an explicit falling list: uniform, shifted, or a model's own."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import CoordinateError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LevelGrid:
    """Levels that fall strictly from noise to data. Solvers walk them in either direction.

    Args:
        levels: at least two, each in [0, 1], strictly falling.

    Raises:
        CoordinateError: fewer than two levels, or levels that do not fall strictly within [0, 1].
    """

    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip(self.levels, self.levels[1:], strict=False))
        if len(self.levels) < 2 or not falling or self.levels[0] > 1 or self.levels[-1] < 0:
            raise CoordinateError(f"a grid needs two or more levels, falling strictly within [0, 1]; got {self.levels}")

    @property
    def steps(self) -> int:
        """Number of solver steps, one less than the number of levels."""
        return len(self.levels) - 1

    def tensor(self, dtype: torch.dtype = torch.float64) -> Float[Tensor, " n"]:
        """The levels as a tensor on the CPU."""
        return torch.tensor(self.levels, dtype=dtype)

    def below(self, level: float) -> "LevelGrid":
        """The part of the grid from ``level`` down, which starts exactly at ``level`` (a shorter first step).

        Raises:
            CoordinateError: ``level`` is not above the last level.
        """
        if level <= self.levels[-1]:
            raise CoordinateError(f"the level must lie above {self.levels[-1]:.4g}; got {level:.4g}")
        start = min(level, self.levels[0])
        return LevelGrid(levels=(start, *(node for node in self.levels if node < start - 1e-9)))


def uniform_grid(steps: int, *, start: float = 1.0, end: float = 0.0) -> LevelGrid:
    """``steps`` equal steps from ``start`` down to ``end``."""
    if steps < 1:
        raise CoordinateError(f"steps must be at least 1; got {steps}")
    nodes = torch.linspace(start, end, steps + 1, dtype=torch.float64).tolist()
    return LevelGrid(levels=tuple(nodes))


def shift_level(s: float, shift: float) -> float:
    """SD3's resolution shift ``shift * s / (1 + (shift - 1) * s)`` (Esser et al. 2024, eq. 23; FLUX: exp(mu))."""
    return shift * s / (shift * s + (1 - s))  # this form is exactly 1 at s = 1


def shifted_grid(steps: int, shift: float, *, start: float = 1.0, end: float = 0.0) -> LevelGrid:
    """A uniform grid with every level shifted towards the noise."""
    return LevelGrid(levels=tuple(shift_level(s, shift) for s in uniform_grid(steps, start=start, end=end).levels))
