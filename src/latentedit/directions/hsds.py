"""Score distillation with one Hessian term: a direction in the image latent, found from two texts.

This is **our own derivation**. The papers that name Hessian score distillation sampling (arXiv 2411.08196) do not give
its formula in any text that we have; nothing here should be cited as theirs.

With ``r`` the difference of clean estimates under target and source text and ``D = dx_hat/dz = I - s J_v`` the
denoiser's Jacobian under the source text, ``s^2 H = I - (1 - s) D`` is the Hessian of ``-log p_s(z | source)``, and

    d_gamma = r + gamma (1 - s) D r

costs one Jacobian-vector product for a whole family: gamma = -1 keeps the Hessian (``s^2 H r``, the exact gradient of
the score residual), 0 is delta denoising, and +1 is the first step towards the Newton direction ``(s^2 H)^-1 r``.
"""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.backbones.derivatives import velocity_product
from latentedit.backbones.guidance import GuidedField
from latentedit.directions.base import Direction
from latentedit.directions.settings import check_count, check_number, to_plain
from latentedit.encoding.joint import JointLatent
from latentedit.errors import ConfigError
from latentedit.noise.rng import draw
from latentedit.solvers.base import level_batch
from latentedit.types import Condition, Progress

ROWS = 64
"""Most latents in one network call."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HSDS:
    """Settings of the one-JVP family; our derivation, see the module.

    Args:
        gamma: weight of the Hessian term, in [-1, 1]; 0 needs no derivative.
        levels: first and last level, falling; a single step uses the first.
        steps: 1 looks once; more follow the edit as it grows, at falling levels.
        step_size: how far each of several steps goes; a single step goes all the way.
        noises: noises averaged in each step.
        guidance: classifier-free guidance weight of both branches; 1 is the conditional velocity. The Jacobian is
            always that of the unguided velocity: a guided field is not the score of any density.

    Raises:
        ConfigError: a setting outside its range.
    """

    gamma: float = 0.0
    levels: tuple[float, float] = (0.95, 0.3)
    steps: int = 16
    step_size: float = 0.4
    noises: int = 1
    guidance: float = 1.0

    def __post_init__(self) -> None:
        check_number("gamma", self.gamma, -1, 1)
        if len(self.levels) != 2:
            raise ConfigError(f"expected two levels, the first and the last; got {self.levels}")
        check_number("the first level", self.levels[0], 0, 1, above=True)
        check_number("the last level", self.levels[1], 0, self.levels[0], above=True)
        check_count("steps", self.steps)
        check_number("step_size", self.step_size, 0, 10, above=True)
        check_count("noises", self.noises)
        check_number("guidance", self.guidance, -100, 100)

    def path(self) -> list[float]:
        """The levels at which it looks, equally spaced."""
        return torch.linspace(*self.levels, self.steps, dtype=torch.float64).tolist()

    def evaluations(self) -> int:
        """Network evaluations a picture: ``steps * noises * (2 branches * (2 if guided) + (2 if gamma))``."""
        branches = 2 if self.guidance == 1 else 4
        return self.steps * self.noises * (branches + (2 if self.gamma != 0 else 0))


def identify(
    latent: JointLatent, target: Condition, config: HSDS, *, seed: int, progress: Progress | None = None
) -> Direction:
    """The displacement of the clean latent that the change of text asks for.

    From ``y = x``, at each level: ``x_s = (1-s) x + s e``, ``y_s = (1-s) y + s e`` with one noise for both,
    ``r = x_hat(y_s, c1) - x_hat(x_s, c0) - (y - x)``, ``d = r + gamma (1-s) (r - s J_v(x_s, c0) r)``,
    ``y <- y + step_size * mean(d)``; a single step takes ``mean(d)`` whole. The direction is ``y - x``.

    Args:
        latent: encoded pictures with their full captions.
        target: the text wanted, one or one a picture; full captions too, for what a caption leaves out may change.
        config: settings.
        seed: of the noises, which all pictures share.
        progress: told after each step.

    Raises:
        CoordinateError: a level that the model does not know.
        ShapeError: neither one target nor one a picture.

    Cost:
        ``config.evaluations()`` a picture.

    Source:
        Delta denoising score (Hertz et al. 2023) on rectified flow for gamma 0; the gamma family is our derivation.
    """
    target = target.expand(len(latent))
    distil = _Distiller(latent=latent, target=target, config=config, unconditional=_empty(latent, config))
    moved = torch.zeros_like(latent.z)
    scale = config.step_size if config.steps > 1 else 1.0
    for index, level in enumerate(config.path()):
        noise = draw((config.noises, *latent.z.shape[1:]), seed=seed, purpose="hsds", index=index)
        moved = moved + scale * distil.step(moved, level, noise.to(latent.z.device, latent.z.dtype))
        if progress is not None:
            progress("identify", index + 1, config.steps)
    return Direction(
        z=moved,
        condition=target - latent.condition,
        level=config.levels[0],
        method="hsds",
        settings=to_plain(config) | {"seed": seed},
        fingerprint=latent.backbone.fingerprint,
    )


def _empty(latent: JointLatent, config: HSDS) -> Condition | None:
    return None if config.guidance == 1 else latent.backbone.embed([""])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Distiller:
    latent: JointLatent
    target: Condition
    config: HSDS
    unconditional: Condition | None

    def step(
        self, moved: Float[Tensor, "b *latent"], level: float, noise: Float[Tensor, "m *latent"]
    ) -> Float[Tensor, "b *latent"]:
        """``mean(d_gamma)`` over noises; rows of a call are ordered noise by noise, pictures within."""
        x, source, count = self.latent.z, self.latent.condition.repeat(len(noise)), len(noise) * len(moved)
        spread = moved.repeat(len(noise), *[1] * (moved.ndim - 1))
        x_s = ((1 - level) * x[None] + level * noise[:, None]).flatten(0, 1)
        y_s = x_s + (1 - level) * spread
        both = Condition.cat([self.target.repeat(len(noise)), source])
        v = self._velocity(torch.cat([y_s, x_s]), level, both)
        r = -level * (v[:count] - v[count:] + spread)
        if self.config.gamma != 0:
            r = r + self.config.gamma * (1 - level) * (r - level * self._product(x_s, level, source, r))
        return r.unflatten(0, (len(noise), len(moved))).mean(0)

    def _velocity(self, z: Tensor, level: float, condition: Condition) -> Tensor:
        parts: list[Tensor] = []
        for rows in _chunks(len(z)):
            field = GuidedField(
                backbone=self.latent.backbone,
                condition=condition[rows],
                guidance=self.config.guidance,
                unconditional=self.unconditional,
            )
            parts.append(field(z[rows], level_batch(level, z[rows])))
        return torch.cat(parts)

    def _product(self, z: Tensor, level: float, condition: Condition, tangent: Tensor) -> Tensor:
        backbone = self.latent.backbone
        parts = [
            velocity_product(backbone, z[rows], level_batch(level, z[rows]), condition[rows], tangent[rows])
            for rows in _chunks(len(z))
        ]
        return torch.cat(parts)


def _chunks(rows: int) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, rows, ROWS)]
