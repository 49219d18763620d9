"""Where a change takes place: a soft share of each place of a latent, from the change as it stands.

    share = p / (p + floor * max p)        p = local energy of the displacement

is near 1 where the displacement is strong, one half where its energy is ``floor`` times the strongest, and 0 where
there is none. Two things are done with it, both derived here:

- *keep*: the displacement that a step aims at is multiplied by the share, so that what the texts hardly change goes
  back to what it is in the picture.
- *release*: a change of text asks for ``x_hat(y_s, c1) + q`` with ``q = x - x_hat(x_s, c0)``, the new estimate and what
  the old one left unexplained of the picture. Where the change is strong, a part of q belongs to what goes away (the
  outline of a mouth that is replaced): the part that lies along the displacement. So there the squared share of that
  part is let go. What lies across it, no text speaks of; a caption that leaves much out leaves much of the picture
  there, and it stays.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from latentedit.core.flow import per_element


def change_share(moved: Float[Tensor, "b *latent"], floor: float, *, width: int = 3) -> Float[Tensor, "b *share"]:
    """How much each place takes part in a displacement, in [0, 1]; it multiplies latents.

    The local energy of latents ``[channels, height, width]`` is the sum of squares over the channels, averaged over
    ``width`` x ``width`` places; that of other latents is the square of each number.

    Args:
        moved: the displacement so far.
        floor: energy, as a part of the strongest, at which the share is one half; above 0.
        width: of the average, an odd number of places.

    Returns:
        ``[b, 1, height, width]``, or the shape of ``moved``; 0 for pictures that have not moved.
    """
    energy = moved.square()
    if moved.ndim == 4:
        energy = energy.sum(1, keepdim=True)
        energy = functional.avg_pool2d(functional.pad(energy, (width // 2,) * 4, mode="replicate"), width, stride=1)
    strongest = per_element(energy.flatten(1).amax(1), moved)
    return energy / (energy + floor * strongest).clamp_min(torch.finfo(energy.dtype).tiny)


def along(part: Float[Tensor, "m b *latent"], moved: Float[Tensor, "b *latent"]) -> Float[Tensor, "m b *latent"]:
    """``(part . moved / |moved|^2) moved`` at each place: what of a latent lies along a displacement.

    A place of latents ``[channels, height, width]`` is a vector of channels; that of other latents is a number, all of
    which lies along a displacement.

    Args:
        part: latents, such as one a noise.
        moved: the displacement; where it is 0, nothing lies along it.
    """
    product, square = part * moved, moved.square()
    if moved.ndim == 4:
        product, square = product.sum(-3, keepdim=True), square.sum(-3, keepdim=True)
    return product / square.clamp_min(torch.finfo(square.dtype).tiny) * moved
