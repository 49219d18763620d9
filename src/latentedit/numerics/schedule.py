"""A model's own clock: times and levels of discrete variance-preserving models."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.errors import CoordinateError
from latentedit.core.setting import check_value
from latentedit.numerics.flow import LevelGrid, alpha_sigma_from_level, level_from_log_snr, log_snr_from_level
from latentedit.numerics.precision import to_float64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DiscreteSchedule:
    """A variance-preserving model trained at the times 0, 1, ..., n - 1; between them log-SNR is interpolated linearly.

    Laws:
        1. ``level(time(s)) == s`` for s in [s_min, s_max], up to rounding.
        2. ``level`` rises strictly with time.

    ``log_snr`` is ``log(alpha^2 / sigma^2)`` of each trained time in float64 on the CPU, strictly falling. A schedule
    with zero terminal SNR has no finite table; drop its last time.
    """

    log_snr: Float[Tensor, " n"]

    def __post_init__(self) -> None:
        table = self.log_snr
        good = table.ndim == 1 and len(table) >= 2 and table.dtype == torch.float64 and bool(table.isfinite().all())
        if not good or not bool((table[1:] < table[:-1]).all()):
            raise CoordinateError(
                "a schedule needs two or more finite, strictly falling log-SNR values in float64; got shape "
                f"{list(table.shape)}, {table.dtype}. Drop times with zero SNR"
            )

    @staticmethod
    def from_alphas_cumprod(alphas_cumprod: Float[Tensor, " n"]) -> "DiscreteSchedule":
        """The schedule of a table of alpha^2, as diffusers' schedulers hold it (``scheduler.alphas_cumprod``)."""
        table = alphas_cumprod.detach().cpu().double()
        return DiscreteSchedule(log_snr=torch.log(table) - torch.log1p(-table))

    @property
    def times(self) -> int:
        """The number of trained times."""
        return len(self.log_snr)

    @property
    def levels(self) -> Float[Tensor, " n"]:
        """The level of every trained time, rising, float64."""
        return level_from_log_snr(self.log_snr)

    @property
    def s_min(self) -> float:
        """Level of time 0: the network has never seen cleaner latents."""
        return float(self.levels[0])

    @property
    def s_max(self) -> float:
        """Level of the last time: the network has never seen noisier latents."""
        return float(self.levels[-1])

    @property
    def start_std(self) -> float:
        """Standard deviation of z where sampling starts: ``1 / (alpha + sigma)`` at ``s_max``."""
        alpha, sigma = alpha_sigma_from_level(torch.tensor([self.s_max], dtype=torch.float64))
        return float(1 / (alpha + sigma))

    def level(self, time: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The level of a time in [0, n - 1]."""
        wide = to_float64(time)
        table = self.log_snr.to(wide.device)
        left = wide.floor().long().clamp(max=self.times - 2)
        return level_from_log_snr(torch.lerp(table[left], table[left + 1], wide - left)).to(time)

    def time(self, s: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The time of a level, not rounded; levels outside [s_min, s_max] are clamped."""
        wide = to_float64(s)
        table = self.log_snr.to(wide.device)
        value = log_snr_from_level(wide.clamp(self.s_min, self.s_max))
        # searchsorted needs rising values, and log-SNR falls.
        left = (torch.searchsorted(-table, -value, right=True) - 1).clamp(0, self.times - 2)
        part = (value - table[left]) / (table[left + 1] - table[left])
        return (left + part.clamp(0, 1)).to(s)

    def grid(self, steps: int) -> LevelGrid:
        """Levels of equally spaced times from ``s_max`` down to ``s_min``, in 1 to n - 1 steps.

        The network is defined at both ends, so the grid can be walked in either direction. The clean estimate
        ``x_hat = z - s v`` at the last level is what diffusers' last DDIM step returns.
        """
        check_value(Annotated[int, Field(ge=1, le=self.times - 1)], steps=steps)
        times = torch.linspace(self.times - 1, 0, steps + 1, dtype=torch.float64)
        # The ends are taken from the table, for a level that is computed from a time may differ in rounding.
        return LevelGrid(levels=(self.s_max, *self.level(times)[1:-1].tolist(), self.s_min))


def schedule_from_betas(betas: Sequence[float] | Float[Tensor, " n"]) -> DiscreteSchedule:
    """The schedule ``alpha_t^2 = prod_{i <= t} (1 - beta_i)``, computed in float64 without cancellation."""
    table = torch.as_tensor(betas, dtype=torch.float64)
    log_alpha_squared = torch.cumsum(torch.log1p(-table), dim=0)
    return DiscreteSchedule(log_snr=log_alpha_squared - torch.log(-torch.expm1(log_alpha_squared)))


def scaled_linear_schedule() -> DiscreteSchedule:
    """Square roots of the betas linear in time (Stable Diffusion 1 and 2, SDXL): s in [0.028, 0.936]."""
    return schedule_from_betas(torch.linspace(8.5e-4**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2)
