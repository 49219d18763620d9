"""Where two texts want different things: the places at which their velocities differ most, noise by noise."""

from jaxtyping import Bool, Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.flow import per_element
from latentedit.core.rng import Seed, noise_like
from latentedit.core.solvers import level_batch
from latentedit.latents.joint import JointLatent


def difference_map(
    latent: JointLatent, target: Condition, *, level: float, maps: int, seed: Seed
) -> Float[Tensor, "b *place"]:
    """``mean |v(x_s, c1) - v(x_s, c0)|`` over noises and channels, ``x_s = (1 - s) x + s e``.

    A guided difference of noise estimates, ``e_hat_w(c1) - e_hat_w(c0)``, is ``w (1 - s)`` times the one taken here:
    the unconditional branch cancels. So guidance would cost twice as much and change no mask that is relative. The two
    texts are calls of one shape, so equal texts give exactly zero.

    Args:
        latent: the pictures with the source text.
        target: the other text, one a picture.
        level: s, cut to what the model knows.
        maps: noises averaged, shared by all pictures.

    Returns:
        ``[b, 1, height, width]`` of latents ``[b, channels, height, width]``, else one number for each of the latent.

    Cost:
        ``2 * maps`` evaluations a picture.

    Source:
        Couairon et al. 2022, arXiv 2210.11427, step 1.
    """
    x, known = latent.z, latent.backbone.capabilities
    s = min(max(level, known.s_min), known.s_max)
    noise = noise_like(x, seed=seed, purpose="difference mask", count=maps)
    noisy = ((1 - s) * x + s * noise).flatten(0, 1)
    at = level_batch(s, noisy)
    there = latent.backbone.velocity(noisy, at, target.repeat(maps))
    here = latent.backbone.velocity(noisy, at, latent.condition.repeat(maps))
    found = (there - here).abs().unflatten(0, (maps, len(x))).mean(0)
    return found.mean(1, keepdim=True) if x.ndim == 4 else found


def binarised(found: Float[Tensor, "b *place"], ratio: float) -> Bool[Tensor, "b *place"]:
    """Where a map is above ``ratio / 2`` times the mean of its picture.

    The published form clamps the map at ``ratio`` times the mean, divides by that and cuts at one half, which is the
    same. Each picture has its own mean, where diffusers takes one of the batch.

    Args:
        found: of `difference_map`.
        ratio: above 0; 3 is published.
    """
    return found > ratio / 2 * per_element(found.flatten(1).mean(1), found)


def difference_mask(
    latent: JointLatent, target: Condition, *, level: float, maps: int, ratio: float, seed: Seed
) -> Bool[Tensor, "b *place"]:
    """`difference_map`, `binarised`: it broadcasts against latents, true where the texts differ, false for equal ones.

    Cost:
        ``2 * maps`` evaluations a picture.
    """
    return binarised(difference_map(latent, target, level=level, maps=maps, seed=seed), ratio)
