"""Residuals: the displacement that a change of text asks for at one level, from differences of clean estimates.

With ``x_s = (1-s) x + s e`` and ``y_s = (1-s) y + s e`` (one noise for both, y the edit as it stands), clean estimates
``x_hat = z - s v`` and the text direction ``n = c1 - c0``, the residual r is one of

    dds      x_hat(y_s, c1) - x_hat(x_s, c0) - (y - x)
    sds      x_hat(y_s, c1) - y
    mixed    [x_hat(y_s, c0 + h n) - x_hat(y_s, c0 - h n)] / 2h  +  x_hat(y_s, c0) - x_hat(x_s, c0) - (y - x)

All are displacements of the clean latent, not velocities and not scores.

The mixed residual has the derivative along the text, ``g = (d x_hat / dc) n``, in the place of delta denoising's
difference ``x_hat(y_s, c1) - x_hat(y_s, c0)``, of which it is the first order. The other terms pull back by
``s^2 H (y - x)`` to first order: without them, every step would add g again. At ``y = x`` they vanish, and the first
step needs no source branch; later, the mean of the two perturbed estimates stands for ``x_hat(y_s, c0)``, with an error
of the order of h^2, as the difference itself has.
"""

import dataclasses
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentedit.core.errors import ModelError
from latentedit.encoding.joint import JointLatent
from latentedit.models.derivatives import ROWS, VelocityJacobian
from latentedit.models.guidance import GuidedField, unguided
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import level_batch, per_element

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

    residual: Float[Tensor, "m b *latent"]  # r; exactly zero for images whose source and target text are equal
    unexplained: Float[Tensor, "m b *latent"]  # ``x - x_hat(x_s, c0)``, the source reconstruction residual ("dds" only)
    velocity: Float[Tensor, "m b *latent"]  # the source branch's, ``v(x_s, c0)``; zero where it was not computed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distillation:
    """The residuals of one search, level by level; texts are one per image each."""

    latent: JointLatent
    target: Condition
    residual: Residual = "dds"
    guidance: float = 1.0  # scale in every branch; the Jacobian is never guided
    unconditional: Condition | None = None  # the empty text, where the weight is not 1

    def at(
        self,
        delta: Float[Tensor, "b *latent"] | None,
        level: float,
        noise: Float[Tensor, "m #b *latent"],
        *,
        contrast: float = 1.0,
    ) -> Residuals:
        """All residuals at one level, in one batched call cut into chunks; ``delta`` is ``y - x``, None at first.

        A noise and image costs an evaluation for each target branch (two of "mixed") and the source branch where
        `needs_source`, and one more where there is a ``delta`` and a contrast other than 1 (see `HSDS`); twice that
        under guidance.
        """
        x, source, count = self.latent.z, self.latent.condition, len(noise)
        x_s = self._noised(level, noise)
        y_s = x_s if delta is None else x_s + (1 - level) * delta.repeat(count, *[1] * (x.ndim - 1))
        points = [(y_s, text) for text in self._texts()]
        if needs_source(self.residual, first=delta is None):
            points.append((x_s, source))
        if contrast != 1 and delta is not None:  # before that, y_s is x_s
            points.append((y_s, source))
        v = self._velocities(points, level, count)
        branches = TARGET_BRANCHES[self.residual]
        source_v = v[branches] if len(v) > branches else torch.zeros_like(v[0])
        ahead = [v[-1] + contrast * (one - v[-1]) for one in v[:branches]] if contrast != 1 else v[:branches]
        residual = -level * self._change(ahead, source_v, delta, noise)
        # Rows of one batch may round differently, so what equal texts give is set to zero, not computed.
        changes = per_element(texts_differ(self.latent.condition, self.target), x)
        return Residuals(
            residual=torch.where(changes, residual, torch.zeros_like(residual)),
            unexplained=level * (source_v - noise + x),
            velocity=source_v,
        )

    def jacobian(self, level: float, noise: Float[Tensor, "m b *latent"]) -> VelocityJacobian:
        """Jacobian of the unguided velocity at x_s under the source text; rows are grouped by noise."""
        backbone, x_s = self.latent.backbone, self._noised(level, noise)
        plain = unguided(backbone, self.latent.condition).repeat(len(noise))
        return VelocityJacobian(backbone, x_s, level_batch(level, x_s), plain)

    def _noised(self, level: float, noise: Float[Tensor, "m #b *latent"]) -> Float[Tensor, "mb *latent"]:
        return ((1 - level) * self.latent.z + level * noise).flatten(0, 1)

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
        """The guided velocity at each point, unflattened to noises and images."""
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


def needs_source(residual: Residual, *, first: bool) -> bool:
    """Whether a step needs the source branch: not for "sds" and the first "mixed" step."""
    return residual == "dds" or (residual == "mixed" and not first)


def check_finite(values: Tensor, what: str, model: str, level: float) -> None:
    """Raise a `ModelError` if a damaged or overflowing network returned values that are not finite."""
    if not bool(torch.isfinite(values).all()):
        raise ModelError(
            f"the {what} from the network {model} has values that are not finite, at level "
            f"s = {level:.4g}. Check its weights, or use a wider dtype: half precision may overflow"
        )


def texts_differ(source: Condition, target: Condition) -> Bool[Tensor, " b"]:
    """Whether the two texts of each image are different to the last bit."""
    tokens = (target.tokens != source.tokens).flatten(1).any(dim=1)
    return tokens | (target.pooled != source.pooled).any(dim=1)
