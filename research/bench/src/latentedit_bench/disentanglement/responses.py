"""How a model's reconstruction of an image responds to another value of an attribute in the text."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit import Condition, JointLatent
from latentedit.models import GuidedField
from latentedit.numerics import level_batch, noise_like

LEVEL = 0.9  # noise level; of .65, .8, .9 and .97 on the calibration split, the one that suits portraits and scenes
NOISES = 4  # averaged, in antithetic pairs


def attribute_responses(
    latent: JointLatent,
    targets: Sequence[Condition],
    *,
    seed: int | Sequence[int],
    level: float = LEVEL,
    noises: int = NOISES,
) -> Float[Tensor, "k b *latent"]:
    """``u_k = mean_e [x_hat(z, c_k) - x_hat(z, c)]`` with ``z = (1 - s) x + s e``, for each text ``c_k``.

    ``x_hat(z, c) = z - s v(z, s, c)`` is the model's reconstruction of the image x from its noised latent under the
    text c, at the model's default guidance, and ``c_k`` is the images' own text c with another value of attribute k.
    All texts share the noises, which are independent of an editor's.

    Args:
        latent: the images under their own texts.
        targets: the texts of each attribute, one an image.
        seed: of the noises: one, which all images share, or one an image.
        level: s, cut to the range of the model.
        noises: an even number.

    Cost:
        ``noises * (1 + len(targets))`` evaluations an image, twice as many where guidance takes two.
    """
    known = latent.backbone.capabilities
    s = min(max(level, known.s_min), known.s_max)
    noise = noise_like(latent.z, seed=seed, purpose="responses", count=noises, antithetic=True)
    z = ((1 - s) * latent.z + s * noise).flatten(0, 1)

    def reconstructed(text: Condition) -> Tensor:
        texts = text.expand(len(latent)).repeat(noises)
        field = GuidedField(backbone=latent.backbone, condition=texts, guidance=known.guidance)
        return (z - s * field(z, level_batch(s, z))).unflatten(0, (noises, len(latent))).mean(0)

    source = reconstructed(latent.condition)
    return torch.stack([reconstructed(text) - source for text in targets])
