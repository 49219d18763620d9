"""Classifier-free guidance on velocities, both branches in one batched call."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.setting import check_value
from latentedit.models.base import Backbone
from latentedit.models.codec import PATCH_SIDE, pack, unpack
from latentedit.models.sites import AttentionFeatures
from latentedit.numerics.condition import Condition


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GuidedField:
    """The velocity field ``v_w(z, s) = v(z, s, n) + w (v(z, s, c) - v(z, s, n))`` of a backbone and its texts.

    Weight 1 is the conditional velocity, 0 the unconditional one. (Ho and Salimans' own weight is w - 1.) The map is
    affine at fixed z, so guiding v, e_hat or x_hat is the same. A network that takes the weight as an input is called
    once, as is any other at weight 1; otherwise a call takes two evaluations an element. Ho and Salimans 2022, eq. 6,
    in the convention of Saharia et al. 2022 and diffusers.

    Args:
        condition: c, one text or one an element.
        unconditional: n, the empty text or a negative one; None is `Backbone.null` where it is needed.
        renormalized: give v_w the norm of v(z, s, c), as the stock pipelines of Qwen-Image (each token of 2 x 2
            latents) and Lumina 2 (each row of latents) do; then the field is no longer affine in w.
        clipped: take a level outside of ``[s_min, s_max]`` of the backbone for the nearest inside; else it is an error.
    """

    backbone: Backbone
    condition: Condition
    guidance: float = 1.0
    unconditional: Condition | None = None
    renormalized: bool = False
    clipped: bool = False

    def __post_init__(self) -> None:
        check_value(float, guidance=self.guidance)
        kind = self.backbone.capabilities.guidance_kind
        if kind == "embedded":
            # The network takes the weight as an input, so there is no second branch.
            embedded = dataclasses.replace(self.condition, guidance=float(self.guidance))
            object.__setattr__(self, "condition", embedded)
            object.__setattr__(self, "unconditional", None)
            return
        if self.guidance == 1:
            return
        if kind == "none":
            raise ConfigError(
                f"{self.backbone.name} was distilled to need no guidance, so its weight is 1; got {self.guidance:g}"
            )
        null = self.backbone.null(self.condition) if self.unconditional is None else self.unconditional
        object.__setattr__(self, "unconditional", null)

    def __call__(
        self,
        z: Float[Tensor, "b *latent"],
        s: Float[Tensor, " b"],
        arrival: float | None = None,
        *,
        given: AttentionFeatures | None = None,
    ) -> Float[Tensor, "b *latent"]:
        """The guided velocity; of a step that ends at ``arrival``, where the backbone is a flow map.

        ``given`` are queries, keys or values in both branches (`Backbone.velocity_given`).
        """
        if arrival is not None and self.backbone.capabilities.flow_map:
            return self.towards(arrival)(z, s, given=given)
        if self.clipped:
            s = s.clamp(self.backbone.capabilities.s_min, self.backbone.capabilities.s_max)
        if self.guidance == 1 or self.unconditional is None:
            if given is None:
                return self.backbone.velocity(z, s, self.condition)
            return self.backbone.velocity_given(z, s, self.condition, given)
        if given is None and not self.renormalized:
            v = self.backbone.velocity_guided(z, s, self.condition, self.unconditional, self.guidance)
            if v is not None:
                return v
        both = Condition.cat([self.unconditional.expand(len(z)), self.condition.expand(len(z))])
        two_z, two_s = torch.cat([z, z]), torch.cat([s, s])
        if given is None:
            v = self.backbone.velocity(two_z, two_s, both)
        else:
            twice = {name: torch.cat([part, part]) for name, part in given.items()}
            v = self.backbone.velocity_given(two_z, two_s, both, twice)
        # In float32 or better: two nearly equal velocities are subtracted, and the weight multiplies their rounding.
        null, conditional = v.to(torch.promote_types(v.dtype, torch.float32)).chunk(2)
        guided = null + self.guidance * (conditional - null)
        if self.renormalized:
            by_row = self.backbone.capabilities.guidance_norm == "row"
            guided = _rows_with_norm_of(conditional, guided) if by_row else _with_norm_of(conditional, guided)
        return guided.to(v.dtype)

    def towards(self, level: float) -> "GuidedField":
        """The field of steps that end at a level, where the backbone is a flow map; else itself."""
        if not self.backbone.capabilities.flow_map:
            return self
        texts = (text and arriving(self.backbone, text, level) for text in (self.condition, self.unconditional))
        return dataclasses.replace(self, **dict(zip(("condition", "unconditional"), texts, strict=True)))


def arriving(backbone: Backbone, condition: Condition, level: float) -> Condition:
    """The condition for a step that ends at a level, where the backbone is a flow map; else itself."""
    return dataclasses.replace(condition, arrival=level) if backbone.capabilities.flow_map else condition


def unguided(backbone: Backbone, condition: Condition) -> Condition:
    """The condition with guidance weight 1, under which the network returns the conditional velocity."""
    return GuidedField(backbone=backbone, condition=condition).condition


def _with_norm_of(conditional: Tensor, guided: Tensor) -> Tensor:
    """Tokens of 2 x 2 latents scaled to their norm without guidance."""
    size = (guided.shape[-2] // PATCH_SIDE, guided.shape[-1] // PATCH_SIDE)
    return unpack(_rows_with_norm_of(pack(conditional), pack(guided)), size)


def _rows_with_norm_of(conditional: Tensor, guided: Tensor) -> Tensor:
    """Vectors along the last axis scaled to their norm without guidance."""
    return guided * (conditional.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))
