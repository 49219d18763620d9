"""Residuals: the displacement that a change of text asks for at one level, from differences of clean estimates.

With ``x_s = (1-s) x + s e`` and ``y_s = (1-s) y + s e`` (one noise for both, y the edit as it stands), clean estimates
``x_hat = z - s v`` and the text direction ``n = c1 - c0``, the residual r is one of

    dds      x_hat(y_s, c1) - x_hat(x_s, c0) - (y - x)
    sds      x_hat(y_s, c1) - y
    mixed    [x_hat(y_s, c0 + h n) - x_hat(y_s, c0 - h n)] / 2h  +  x_hat(y_s, c0) - x_hat(x_s, c0) - (y - x)

All are displacements of the clean latent, not velocities and not scores.

The mixed residual puts the derivative along the text, ``g = (d x_hat / dc) n``, in the place of the difference that
delta denoising takes: ``r_dds = [x_hat(y_s, c1) - x_hat(y_s, c0)] + x_hat(y_s, c0) - x_hat(x_s, c0) - (y - x)``, and g
is the first order of the bracket. The remaining terms pull back by ``s^2 H (y - x)`` to first order, so the search has
a fixed point where delta denoising has one, and the same one if x_hat is affine in the text. Without them, every step
would add g again. At ``y = x`` they vanish, and the first step needs no source branch; later, the mean of the two
perturbed estimates stands for ``x_hat(y_s, c0)``, with an error of the order of h^2, as the difference itself has.
"""

import dataclasses
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ModelError
from latentedit.core.flow import per_element
from latentedit.core.solvers import level_batch
from latentedit.latents.joint import JointLatent
from latentedit.models.derivatives import ROWS, VelocityJacobian
from latentedit.models.guidance import GuidedField, unguided

Residual = Literal["dds", "sds", "mixed"]
TARGET_BRANCHES = {"dds": 1, "sds": 1, "mixed": 2}  # estimates that each residual takes at y_s


def text_step(dtype: torch.dtype) -> float:
    """The step h of the mixed residual, as a share of the way from source to target text.

    A central difference errs by ``h^2 / 6`` of the third derivative along n and by ``noise / h`` of the estimate, least
    near the cube root of the noise: 6e-6 for float64, and 0.02 otherwise, for a relative noise of 1e-5. On the bundled
    model in float32, 0.02 gives what 0.001 to 0.005 give to 0.3 %, 0.05 is off by 1 % and 0.2 by 20 %. A share of n, so
    no scale of the embedding enters; networks that run in half precision round such a step coarsely.
    """
    return 6e-6 if dtype == torch.float64 else 0.02


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Residuals:
    """The residuals at one level, noise by noise."""

    residual: Float[Tensor, "m b *latent"]  # r; exactly zero for pictures whose source and target text are equal
    unexplained: Float[Tensor, "m b *latent"]  # ``x - x_hat(x_s, c0)``, the source reconstruction residual ("dds" only)
    preserved: tuple[Float[Tensor, "m b *latent"], ...]  # ``x_hat(x_s, c_j) - x_hat(x_s, c0)`` of each c_j to preserve
    velocity: Float[Tensor, "m b *latent"]  # the source branch's, ``v(x_s, c0)``; zero where it was not computed
    jacobian: VelocityJacobian  # of the unguided velocity under the source text at x_s; rows noise by noise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distillation:
    """The residuals of one search, level by level; texts are one per picture each."""

    latent: JointLatent
    target: Condition
    preserve: tuple[Condition, ...] = ()
    residual: Residual = "dds"
    guidance: float = 1.0  # of every branch; the Jacobian is never guided
    unconditional: Condition | None = None  # the empty text, where the weight is not 1

    def at(
        self, delta: Float[Tensor, "b *latent"] | None, level: float, noise: Float[Tensor, "m b *latent"]
    ) -> Residuals:
        """All residuals at one level, in one batched call cut into chunks; ``delta`` is ``y - x``, None at first.

        A noise and picture costs an evaluation for each target branch (two of "mixed"), the source branch where
        `needs_source`, and each caption to preserve; twice that under guidance.
        """
        x, source, count = self.latent.z, self.latent.condition, len(noise)
        x_s = ((1 - level) * x + level * noise).flatten(0, 1)
        y_s = x_s if delta is None else x_s + (1 - level) * delta.repeat(count, *[1] * (x.ndim - 1))
        points = [(y_s, text) for text in self._texts()]
        if needs_source(self.residual, first=delta is None, preserved=len(self.preserve)):
            points += [(x_s, text) for text in (source, *self.preserve)]
        v = self._velocities(points, level, count)
        branches = TARGET_BRANCHES[self.residual]
        source_v = v[branches] if len(v) > branches else torch.zeros_like(v[0])
        residual = -level * self._change(v[:branches], source_v, delta, noise)
        plain = unguided(self.latent.backbone, source).repeat(count)
        changes = per_element(texts_differ(self.latent.condition, self.target), x)
        return Residuals(
            residual=torch.where(changes, residual, torch.zeros_like(residual)),
            unexplained=level * (source_v - noise + x),
            preserved=tuple(-level * (changed - source_v) for changed in v[branches + 1 :]),
            velocity=source_v,
            jacobian=VelocityJacobian(self.latent.backbone, x_s, level_batch(level, x_s), plain),
        )

    def _texts(self) -> list[Condition]:
        if self.residual != "mixed":
            return [self.target]
        source = self.latent.condition
        step = (self.target - source) * text_step(source.tokens.dtype)
        return [source + step, source - step]

    def _change(
        self, ahead: list[Tensor], source_v: Tensor, delta: Tensor | None, noise: Tensor
    ) -> Float[Tensor, "m b *latent"]:
        """``-r / s`` from the velocities of the target branches and of the source branch."""
        away = torch.zeros_like(self.latent.z) if delta is None else delta
        if self.residual == "sds":
            return ahead[0] - (noise - self.latent.z - away)
        if self.residual == "dds":
            return ahead[0] - source_v + away
        slope = (ahead[0] - ahead[1]) / (2 * text_step(self.latent.condition.tokens.dtype))
        return slope if delta is None else slope + (ahead[0] + ahead[1]) / 2 - source_v + away

    def _velocities(
        self, points: list[tuple[Tensor, Condition]], level: float, count: int
    ) -> list[Float[Tensor, "m b *latent"]]:
        """The guided velocity at each point, unflattened to noises and pictures."""
        z = torch.cat([latents for latents, _ in points])
        text = Condition.cat([text.repeat(count) for _, text in points])
        empty = self.unconditional
        if empty is not None:
            empty = empty.expand(len(self.latent)).repeat(len(points) * count)
        parts: list[Tensor] = []
        for start in range(0, len(z), ROWS):
            rows = slice(start, start + ROWS)
            field = GuidedField(
                backbone=self.latent.backbone,
                condition=text[rows],
                guidance=self.guidance,
                unconditional=None if empty is None else empty[rows],
            )
            parts.append(field(z[rows], level_batch(level, z[rows])))
        v = torch.cat(parts)
        check_finite(v, "velocity", self.latent.backbone.name, level)
        return list(v.unflatten(0, (len(points), count, -1)).unbind(0))


def needs_source(residual: Residual, *, first: bool, preserved: int) -> bool:
    """Whether a step needs the source branch: not for "sds" and the first "mixed" step without texts to preserve."""
    return residual == "dds" or preserved > 0 or (residual == "mixed" and not first)


def check_finite(values: Tensor, what: str, model: str, level: float) -> None:
    """Raise a `ModelError` if a damaged or overflowing network returned values that are not finite."""
    if not bool(torch.isfinite(values).all()):
        raise ModelError(
            f"the {what} from the network {model} has values that are not finite, at level "
            f"s = {level:.4g}. Check its weights, or use a wider dtype: half precision may overflow"
        )


def texts_differ(source: Condition, target: Condition) -> Bool[Tensor, " b"]:
    """Whether the two texts of each picture are different to the last bit."""
    tokens = (target.tokens != source.tokens).flatten(1).any(dim=1)
    return tokens | (target.pooled != source.pooled).any(dim=1)
