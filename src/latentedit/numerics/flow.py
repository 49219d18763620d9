"""Flow coordinates: exact maps from and to a model's own, the only place that knows alpha and sigma; grids of levels.

A diffusion model in its own coordinates sees ``x_t = alpha x + sigma e``. In flow coordinates

    s = sigma / (alpha + sigma) = sigmoid(-log_snr / 2)        log_snr = log(alpha^2 / sigma^2)
    z = x_t / (alpha + sigma) = (1 - s) x + s e
    v = E[e - x | z, c]        x_hat = z - s v        e_hat = z + (1 - s) v

Nothing is lost: every map below is exact and, at the levels where it is defined, invertible. Signs, in one table:

    model predicts                     velocity
    "epsilon"       e                  ((alpha + sigma) epsilon - x_t) / alpha                                alpha > 0
    "score"         -e / sigma         -((alpha + sigma) sigma out + x_t) / alpha                            alpha > 0
    "v_prediction"  alpha e - sigma x  ((sigma - alpha) x_t + (alpha + sigma) out) / (alpha^2 + sigma^2)
    "sample"        x                  (x_t - (alpha + sigma) out) / sigma                                    sigma > 0
    "flow"          e - x              out            (flow_matching counts time as 1 - s; its velocity is -v)

(a) A VP model never reaches s = 0 or s = 1. Linear betas (1e-4 to 0.02, 1000 steps) give s in [0.0099, 0.9937],
    scaled-linear betas (8.5e-4 to 0.012) only [0.028, 0.936]. So sampling starts at ``s_max`` with standard deviation
    ``1 / (alpha + sigma)`` (0.938 for scaled-linear), not with N(0, I) at 1.
(b) A uniform grid of s is not the model's own grid: build the grid from the model's schedule and store its levels.
    Shifting (SD3, FLUX) is a matter of the grid, not of the coordinates.
(c) For data of unit variance the norm of z dips to 0.707 at s = 1/2, so thresholds on norms that were tuned on x_t do
    not carry over; angles and eigenvectors at a fixed level do.
(d) Discrete models know only the times they were trained at: `numerics.schedule` interpolates time in log-SNR.
(e) An error of epsilon grows by 1 / (1 - s) in v (158 at the noisy end of linear betas), so everything here is computed
    in float32 at least and returned in the dtype of the latent that came in.
"""

import dataclasses
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from latentedit.core.errors import ConfigError, CoordinateError
from latentedit.core.setting import Count, check_value

Prediction = Literal["epsilon", "score", "v_prediction", "sample", "flow"]
"""What a network was trained to predict; "score" is the gradient of the log density of ``x_t``."""


def per_element(value: Shaped[Tensor, " b"], like: Shaped[Tensor, "#b *latent"]) -> Shaped[Tensor, "b *ones"]:
    """One number an element, shaped so that it multiplies a batch of latents: ``[b]`` to ``[b, 1, ..., 1]``."""
    return value.reshape(len(value), *(1 for _ in like.shape[1:]))


def level_batch(s: float, z: Float[Tensor, "b *latent"]) -> Float[Tensor, " b"]:
    """One level for every element of a batch, in at least float32, on the device of z."""
    dtype = torch.promote_types(z.dtype, torch.float32)
    return torch.full((len(z),), s, dtype=dtype, device=z.device)


def alpha_sigma_from_level(s: Float[Tensor, " b"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """The variance-preserving pair of a level: ``(1 - s, s) / sqrt((1 - s)^2 + s^2)``, so alpha^2 + sigma^2 = 1."""
    wide = _wide(s)
    norm = torch.hypot(1 - wide, wide)
    return ((1 - wide) / norm).to(s.dtype), (wide / norm).to(s.dtype)


def level_from_log_snr(log_snr: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The level ``s = sigmoid(-log_snr / 2)`` of a log signal-to-noise ratio ``log(alpha^2 / sigma^2)``."""
    return torch.sigmoid(-_wide(log_snr) / 2).to(log_snr.dtype)


def log_snr_from_level(s: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The log signal-to-noise ratio ``2 log((1 - s) / s)``; infinite at s = 0 and s = 1."""
    wide = _wide(s)
    return (2 * (torch.log1p(-wide) - torch.log(wide))).to(s.dtype)


def model_from_canonical(
    z: Float[Tensor, "b *latent"], alpha: Float[Tensor, " b"], sigma: Float[Tensor, " b"]
) -> Float[Tensor, "b *latent"]:
    """A model's own latents ``x_t = (alpha + sigma) z`` of canonical ones."""
    return (_wide(z) * per_element(_wide(alpha) + _wide(sigma), z)).to(z.dtype)


def clean_estimate(
    z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], v: Float[Tensor, "b *latent"]
) -> Float[Tensor, "b *latent"]:
    """The posterior mean of the clean latent, ``x_hat = z - s v``."""
    return (_wide(z) - per_element(_wide(s), z) * _wide(v)).to(z.dtype)


def noise_estimate(
    z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], v: Float[Tensor, "b *latent"]
) -> Float[Tensor, "b *latent"]:
    """The posterior mean of the noise, ``e_hat = z + (1 - s) v``."""
    return (_wide(z) + (1 - per_element(_wide(s), z)) * _wide(v)).to(z.dtype)


def velocity_from_prediction(
    kind: Prediction,
    output: Float[Tensor, "b *latent"],
    x_t: Float[Tensor, "b *latent"],
    alpha: Float[Tensor, " b"],
    sigma: Float[Tensor, " b"],
) -> Float[Tensor, "b *latent"]:
    """The velocity that a network's raw output stands for, by the table of this module, in the dtype of ``x_t``.

    ``x_t`` are latents in the model's own coordinates, ``alpha x + sigma e``, of any alpha and sigma: alpha is 1 where
    noise is added to the data as they are (EDM). alpha is above 0 for "epsilon" and "score", sigma for "sample".
    """
    check_value(Prediction, prediction=kind)
    a, b, x, out = per_element(_wide(alpha), x_t), per_element(_wide(sigma), x_t), _wide(x_t), _wide(output)
    if kind == "epsilon":
        v = ((a + b) * out - x) / a
    elif kind == "score":
        v = -((a + b) * b * out + x) / a
    elif kind == "v_prediction":
        v = ((b - a) * x + (a + b) * out) / (a * a + b * b)
    elif kind == "sample":
        v = (x - (a + b) * out) / b
    else:
        v = out
    return v.to(x_t.dtype)


def _wide(value: Tensor) -> Tensor:
    """The tensor in float32, or in its own dtype where that is wider."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LevelGrid:
    """Two or more levels in [0, 1] that fall strictly from noise to data. Solvers walk them in either direction."""

    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip(self.levels, self.levels[1:], strict=False))
        if len(self.levels) < 2 or not falling or self.levels[0] > 1 or self.levels[-1] < 0:
            raise CoordinateError(f"a grid needs two or more levels, falling strictly within [0, 1]; got {self.levels}")

    @property
    def steps(self) -> int:
        """Number of solver steps, one less than the number of levels."""
        return len(self.levels) - 1

    def below(self, level: float) -> "LevelGrid":
        """The part of the grid from ``level`` down, which starts exactly at ``level`` (a shorter first step)."""
        if level <= self.levels[-1]:
            raise CoordinateError(f"the level must lie above {self.levels[-1]:.4g}; got {level:.4g}")
        start = min(level, self.levels[0])
        # A node that equals the start up to rounding would make a step of no length.
        return LevelGrid(levels=(start, *(node for node in self.levels if node < start - 1e-9)))


def uniform_grid(steps: int, *, start: float = 1.0, end: float = 0.0) -> LevelGrid:
    """``steps`` equal steps from ``start`` down to ``end``."""
    check_value(Count, steps=steps)
    nodes = torch.linspace(start, end, steps + 1, dtype=torch.float64).tolist()
    return LevelGrid(levels=tuple(nodes))


def shift_level(s: float, shift: float) -> float:
    """SD3's resolution shift ``shift * s / (1 + (shift - 1) * s)`` (Esser et al. 2024, eq. 23; FLUX: exp(mu))."""
    return shift * s / (shift * s + (1 - s))  # this form is exactly 1 at s = 1


def grid_above(lowest: float, steps: int, *, start: float = 1.0, end: float = 0.0, shift: float = 1.0) -> LevelGrid:
    """Steps from ``start`` down to ``end``, spaced by a shift; all levels but the last are ``lowest`` or above.

    Raises:
        ConfigError: more steps than there are levels from ``start`` to ``lowest``.
    """

    def spaced(count: int, last: float) -> list[float]:
        return [last + (start - last) * shift_level(share, shift) for share in uniform_grid(count).levels]

    levels = spaced(steps, end)
    if steps == 1 or levels[-2] >= lowest:
        return LevelGrid(levels=tuple(levels))
    if start <= lowest:
        raise ConfigError(
            f"the model has no level below {lowest:.4g}, so it takes 1 step; got {steps}. "
            "Give steps=1, or model.grid(1) as the `levels` of `edit_latent`"
        )
    return LevelGrid(levels=(*spaced(steps - 1, lowest), end))


def shifted_grid(steps: int, shift: float) -> LevelGrid:
    """A uniform grid with every level shifted towards the noise."""
    return LevelGrid(levels=tuple(shift_level(s, shift) for s in uniform_grid(steps).levels))
