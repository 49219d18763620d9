"""What a search step must not change: attributes to keep, projected out, and parts of the picture that hardly change.

The second is a soft share of each position of a latent, from the displacement so far,

    share = p / (p + floor * max p)        p = local energy of the displacement

near 1 where the displacement is strong, one half where its energy is ``floor`` times the strongest, and 0 where there
is none. `HSDS` uses it in two ways, both derived here:

- *keep*: the displacement that a step aims at is multiplied by the share, so that what the texts hardly change goes
  back to what it is in the picture.
- *release*: a change of text asks for ``x_hat(y_s, c1) + q`` with ``q = x - x_hat(x_s, c0)``, the new estimate and what
  the old one left unexplained of the picture. Where the change is strong, a part of q belongs to what is replaced (the
  outline of a mouth, for instance): the part along the displacement. So the squared share of that part is subtracted
  there. No text describes the part across it: a caption that omits much leaves much of the picture there, and it stays.

`local_change`, the automatic soft mask of an edit, takes the share of the decoded change, pixel by pixel: moving a
latent changes every pixel a little, for the codec spreads what it decodes and a direction is never quite clean. It does
not depend on the strength.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from latentedit.core.flow import per_element
from latentedit.core.linalg import to_float64

# Columns whose squared sine to the others is below this count as dependent; differences of float32 networks have
# relative errors of 1e-4, so what is smaller is noise.
_RANK = 1e-8

# Local energy of a change, as a share of the strongest, at which about half of it is left; from the calibration split.
FLOOR = 0.03
_PER_SIDE = 3 / 128  # width of the local average as a share of the picture's shorter side


def project(
    d: Float[Tensor, "b *latent"], kept: Float[Tensor, "k b *latent"], raised: Float[Tensor, "k b *latent"]
) -> Float[Tensor, "b *latent"]:
    """``d - W (G^T W)^+ G^T d``, which has ``G^T d = 0``: the nearest displacement that keeps attributes as they are.

    With ``W = G`` it is the nearest in the Euclidean metric, ``d - G (G^T G)^+ G^T d``. With ``W = M^-1 G`` it is the
    nearest in the metric M, and from ``d = M^-1 g`` it makes the solution of ``max g^T d - d^T M d / 2`` under
    ``G^T d = 0``. ``G^T d = 0`` holds to rounding also where W is a rough solution. Solved in float64 over columns of
    unit length; dependent columns and columns of zeros add no constraint. ``kept`` is G, the delta residual of each
    attribute to keep, and ``raised`` is W, ``M^-1 G`` or G itself. Derived here.
    """
    columns, lifted = _unit(_columns(kept)), _unit(_columns(raised))
    flat = to_float64(d).flatten(1)[..., None]
    inverse = torch.linalg.pinv(columns.mT @ lifted, rtol=_RANK)
    return (flat - lifted @ (inverse @ (columns.mT @ flat)))[..., 0].reshape(d.shape).to(d)


def change_share(delta: Float[Tensor, "b *latent"], floor: float, *, width: int = 3) -> Float[Tensor, "b *share"]:
    """The share of each position in a displacement, in [0, 1]; it multiplies latents, and is 0 if nothing moved.

    The local energy of latents ``[channels, height, width]`` is the sum of squares over the channels, averaged over
    ``width`` x ``width`` positions, an odd number; that of other latents is the square of each number.
    """
    energy = delta.square()
    if delta.ndim == 4:
        energy = energy.sum(1, keepdim=True)
        energy = functional.avg_pool2d(functional.pad(energy, (width // 2,) * 4, mode="replicate"), width, stride=1)
    strongest = per_element(energy.flatten(1).amax(1), delta)
    return energy / (energy + floor * strongest).clamp_min(torch.finfo(energy.dtype).tiny)


def local_change(change: Float[Tensor, "b 3 h w"], *, floor: float = FLOOR) -> Float[Tensor, "b 3 h w"]:
    """A change of pixels, edited minus source as the model decodes them, multiplied by ``(1 + floor) share``.

    So all of the change stays where it is strongest, pixels that it hardly touches stay as they are, and there is no
    seam.
    """
    width = 2 * round((_PER_SIDE * min(change.shape[-2:]) - 1) / 2) + 1
    return change * ((1 + floor) * change_share(change, floor, width=max(3, width)))


def along(part: Float[Tensor, "m b *latent"], delta: Float[Tensor, "b *latent"]) -> Float[Tensor, "m b *latent"]:
    """``(part . delta / |delta|^2) delta`` at each position: the part of a latent along a displacement.

    A position of latents ``[channels, height, width]`` is a vector of channels; that of other latents is a number,
    which is along any displacement.
    """
    product, square = part * delta, delta.square()
    if delta.ndim == 4:
        product, square = product.sum(-3, keepdim=True), square.sum(-3, keepdim=True)
    return product / square.clamp_min(torch.finfo(square.dtype).tiny) * delta


def _columns(stack: Tensor) -> Float[Tensor, "b d k"]:
    return to_float64(stack).flatten(2).permute(1, 2, 0)


def _unit(columns: Float[Tensor, "b d k"]) -> Float[Tensor, "b d k"]:
    norms = torch.linalg.vector_norm(columns, dim=1, keepdim=True)
    return columns / norms.clamp_min(torch.finfo(torch.float64).tiny)
