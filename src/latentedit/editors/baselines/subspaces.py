"""Editors that move a latent at one level, in a subspace that Jacobians of the network span."""

from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.setting import Count, Natural, Probe, Scale, Share, Start, settings
from latentedit.editors.baselines.masks import difference_mask
from latentedit.editors.baselines.walks import Walk
from latentedit.editors.edit import Edit, Latents
from latentedit.encoding.inversion import InversionTrace, retrace
from latentedit.encoding.joint import JointLatent
from latentedit.geometry.walks import noise_guided
from latentedit.identification.direction import clean_share
from latentedit.identification.residuals import check_finite
from latentedit.models.derivatives import FeatureJacobian, FeatureMap, VelocityJacobian, denoiser_jacobian
from latentedit.numerics.block_lanczos import truncated_svd
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import level_batch, per_element
from latentedit.numerics.operator import BlockOperator
from latentedit.numerics.precision import to_float64
from latentedit.numerics.rng import stream

Rows = Float[Tensor, "b r *latent"]  # vectors of the latent space, r of each image
_BLOCK = 2  # directions that are multiplied at once in a search
# Singular values below this many roundings of the largest are zero: their vectors are noise.
_ZERO = 100


@settings
class Pullback(Walk):
    """X-space guidance along the local latent basis under the target text, choosing directions by the texts' change.

    Invert, move by x-space guidance along the part of d in the span of the local basis, and return aligned. The basis
    are the leading right singular vectors of ``df/dZ`` under the target text, f the feature at the backbone's
    default site. In the paper a person picks one of them by eye, and the text enters through the basis alone. Here the
    text picks: d is what it changes in the clean estimate, ``x_hat(Z, c1) - x_hat(Z, c0)``, projected on their span and
    given the length ``strength scale (1 - s) |d|``, that of d as a displacement of Z. The guidance is under the target
    text too; up and down are under the source text.

    The guidance probes ahead in the direction of its sign, so a negative strength is the reverse of a positive one to
    first order in the length of the probe, and not of the strength alone.

    Args:
        rank: vectors of the basis; at most the size of a latent, and of the feature.
        products: with the Jacobian or its transpose in the search for them, see `leading_span`.
        scale: of the move at strength 1.
        repeats: of the guidance, each with its share of the scale.
        probe: length, in that of d, at which guidance probes the noise estimate.

    Source:
        Park et al. 2023, arXiv 2307.12868, eq. 7; the choice by the text, the length and the aligned way back are ours.
    """

    name: ClassVar[str] = "pullback"

    level: Start = 0.7
    rank: Count = 5
    products: Count = 40
    scale: Scale = 1.0
    repeats: Count = 4
    probe: Probe = 1.0

    def cost(self, edit: Edit) -> int:
        """``2 k + 3 + 2 * products + 2 * repeats``, with the products in whole steps."""
        k = edit.path(self.steps, self.level).steps
        return 2 * k + 3 + 2 * whole_steps(self.products) + 2 * self.repeats

    def move(self, edit: Edit) -> Latents:
        latent, backbone = edit.latent, edit.backbone
        check_rank(self.rank, latent)
        trace = edit.invert(edit.path(self.steps, self.level))
        top, level, change = trace.top, top_level(latent, trace), clean_change(edit, trace)
        site = backbone.default_site
        spans = torch.stack([self._span(edit, site, top, level, row) for row in range(len(latent))])
        length = clean_share(level) * torch.linalg.vector_norm(change.flatten(1), dim=1)
        v = of_length(projected(spans, change), length)
        size, text = torch.full_like(length, edit.strength * self.scale), edit.texts[1]
        guided = noise_guided(
            backbone, top, level, text, v, size, repeats=self.repeats, probe=self.probe, progress=edit.progress
        )
        still = per_element((v.flatten(1) == 0).all(1), v)  # equal rows of a batch may round otherwise
        offset = torch.where(still, torch.zeros_like(v), guided - top)
        return retrace(latent, trace, latent.condition, offset=offset, progress=edit.progress)

    def _span(self, edit: Edit, site: str, top: Latents, level: float, row: int) -> Tensor:
        jacobian = feature_jacobian(edit, site, top, level, edit.texts[1], row)
        return leading_span(edit, jacobian, self.rank, row, products=self.products)


@settings
class LOCO(Walk):
    """LOCO Edit supervised by text: one step at one level, inside a mask and away from what moves the rest.

    Invert, add ``strength scale v`` at the top, and return aligned under the source text.

        d = m (x_hat(Z, c1) - x_hat(Z, c0))        v = (I - V V^T) J^T d,   as long as (1 - s) d

    J is the Jacobian of the clean estimate under the target text, m the mask where the texts differ
    (`difference_mask`), and V the leading right singular vectors of ``(1 - m) dx_hat/dZ`` under the source text: what
    would change the outside most is left out.

    Args:
        scale: of the move at strength 1.
        rank: columns of V, less than the size of a latent; 0 projects nothing out.
        products: with the Jacobian or its transpose in the search for V, see `leading_span`.
        mask_level: level of the latents from which the mask is made, clipped to the model's range.
        maps: noises averaged for the mask.
        ratio: a pixel is inside where the map is above ``ratio / 2`` times its mean.

    Source:
        Chen et al. 2024, arXiv 2409.02374, its text-supervised form with null-space projection. There masks come from
        a segmentation and lie on images; the mask from the texts on the latent (that of DiffEdit, arXiv 2210.11427),
        the length and the aligned way back are ours, and nothing is guided.
    """

    name: ClassVar[str] = "loco"

    level: Start = 0.7
    scale: Scale = 3.0
    rank: Natural = 5
    products: Count = 40
    mask_level: Share = 0.5
    maps: Count = 4
    ratio: Scale = 3.0

    def cost(self, edit: Edit) -> int:
        """``2 k + 2 * maps + 4``, and for V ``1 + 2 * products``, with the products in whole steps."""
        k = edit.path(self.steps, self.level).steps
        search = 1 + 2 * whole_steps(self.products) if self.rank else 0
        return 2 * k + 2 * self.maps + 4 + search

    def move(self, edit: Edit) -> Latents:
        latent, backbone = edit.latent, edit.backbone
        check_rank(self.rank, latent, spare=1)
        mask = difference_mask(edit, level=self.mask_level, maps=self.maps, ratio=self.ratio)
        trace = edit.invert(edit.path(self.steps, self.level))
        level = top_level(latent, trace)
        change = mask * clean_change(edit, trace)
        at = level_batch(level, trace.top)
        v = denoiser_jacobian(VelocityJacobian(backbone, trace.top, at, edit.texts[1]), level).rmatvec(change)
        if self.rank:
            outside = (~mask).expand(len(latent), *mask.shape[1:])
            spans = [self._outside(edit, trace.top, level, outside[row], row) for row in range(len(latent))]
            v = v - projected(torch.stack(spans), v)
        check_finite(v, "direction", backbone.name, level)
        length = clean_share(level) * torch.linalg.vector_norm(change.flatten(1), dim=1)
        offset = edit.strength * self.scale * of_length(v, length)
        return retrace(latent, trace, latent.condition, offset=offset, progress=edit.progress)

    def _outside(self, edit: Edit, top: Latents, level: float, outside: Bool[Tensor, "*place"], row: int) -> Tensor:
        """V of one image."""
        jacobian = Masked(feature_jacobian(edit, "clean", top, level, edit.texts[0], row), outside)
        return leading_span(edit, jacobian, self.rank, row, products=self.products)


@final
class Masked(BlockOperator):
    """``m A``: what a map changes inside a mask, which broadcasts against its products."""

    def __init__(self, operator: BlockOperator, mask: Bool[Tensor, "*place"]) -> None:
        super().__init__(
            in_shape=operator.in_shape, out_shape=operator.out_shape, dtype=operator.dtype, device=operator.device
        )
        self._operator, self._mask = operator, mask

    def _matmat(self, v: Tensor) -> Tensor:
        return self._mask * self._operator.matmat(v)

    def _rmatmat(self, u: Tensor) -> Tensor:
        return self._operator.rmatmat(self._mask * u)


def feature_jacobian(edit: Edit, site: str, top: Latents, level: float, texts: Condition, row: int) -> FeatureJacobian:
    """Jacobian of a site's feature, at the last level of one image's inversion."""
    image = slice(row, row + 1)
    feature = FeatureMap(backbone=edit.backbone, site=site, level=level, condition=texts[image])
    return FeatureJacobian(feature, top[image])


def top_level(latent: JointLatent, trace: InversionTrace) -> float:
    """The level of the top of an inversion, or the lowest that the model allows."""
    return max(trace.levels[-1], latent.backbone.capabilities.s_min)


def clean_change(edit: Edit, trace: InversionTrace) -> Latents:
    """``x_hat(Z, c1) - x_hat(Z, c0) = -s (v(Z, s, c1) - v(Z, s, c0))`` at the top of an inversion.

    Two calls of one shape: equal texts give exactly zero. A network that answers with nan raises a `ModelError`.
    """
    level, backbone = top_level(edit.latent, trace), edit.backbone
    at = level_batch(level, trace.top)
    target, source = (backbone.velocity(trace.top, at, text) for text in edit.texts[::-1])
    change = -level * (target - source)
    check_finite(change, "change", backbone.name, level)
    return change


def check_rank(rank: int, latent: JointLatent, *, spare: int = 0) -> None:
    """Refuse more directions than the dimensions of a latent less those to be spared."""
    most = latent.z[0].numel() - spare
    if rank > most:
        raise ConfigError(f"the rank must be at most {most} for latents of this size; got {rank}")


def leading_span(edit: Edit, operator: BlockOperator, rank: int, row: int, *, products: int) -> Tensor:
    """The ``rank`` leading right singular vectors of a map at one image, as rows, by a fixed number of products.

    An editor states its cost before it starts, so `truncated_svd` goes on to the end of the products, whatever it has
    reached; only where it has the whole space does it end before. At rank 5 on the bundled U-Net (two portraits, three
    seeds), 40 products leave 0.3 to 5 degrees to the true space at level 0.85, but 3 to 82 at 0.7, where the next
    singular value is nearly as large. Rows that are mapped to zero are zeros.
    """
    seed = edit.seed if isinstance(edit.seed, int) else edit.seed[row % len(edit.seed)]
    found = truncated_svd(
        operator,
        rank,
        generator=stream(seed, edit.name),
        tolerance_degrees=0.0,
        most_products=products,
        block=_BLOCK,
        progress=edit.progress,
    )
    s = found.singular_values
    kept = s > _ZERO * torch.finfo(s.dtype).eps * s[0]
    return torch.where(per_element(kept, found.v), found.v, torch.zeros_like(found.v))


def whole_steps(products: int) -> int:
    """Products in whole steps of the search: each takes a block of them with the map, and one with its transpose."""
    return -(-products // (2 * _BLOCK)) * 2 * _BLOCK


def projected(rows: Rows, v: Latents) -> Latents:
    """The part of v in the span of orthonormal rows, ``sum_k <q_k, v> q_k``."""
    basis, wide = to_float64(rows).flatten(2), to_float64(v).flatten(1)
    shares = torch.einsum("brn,bn->br", basis, wide)
    return torch.einsum("br,brn->bn", shares, basis).to(v).reshape(v.shape)


def of_length(v: Latents, length: Float[Tensor, " b"]) -> Latents:
    """Each v scaled to a length; zeros stay zeros."""
    own = torch.linalg.vector_norm(v.flatten(1), dim=1)
    factor = torch.where(own > 0, length / own.clamp_min(torch.finfo(own.dtype).tiny), torch.zeros_like(own))
    return v * per_element(factor, v)
