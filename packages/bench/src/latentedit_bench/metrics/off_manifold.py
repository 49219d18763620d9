"""Whether an edited picture is one that the model could have made, by how well the model denoises it."""

from jaxtyping import Float, Float64
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError


def residual_ratio(edited_losses: Float[Tensor, " b"], source_losses: Float[Tensor, " b"]) -> Float64[Tensor, " b"]:
    """``loss(edited) / loss(source)`` of the denoising losses ``mean |x_hat(z_s, c) - z|^2``.

    Above 0. About 1 on the manifold, larger off it; well below 1 the picture was smoothed. So 1 is best, and lower is
    not better.

    Traps: the loss depends on level, text and noise: both losses need the same level and the same noises, and each a
    text that fits its picture (else the ratio tells the text, not the picture; take the smaller of the losses under
    source and target text). Flat pictures are easy to denoise. A model that judges its own edits flatters what fools
    it.

    Args:
        edited_losses: above 0, such as ``Judge.losses`` of `latentedit.editors.judge` gives them.
        source_losses: those of the same pictures before.

    Raises:
        ConfigError: a loss that is not a finite number above 0.
        ShapeError: not one loss of each.
    """
    if edited_losses.shape != source_losses.shape:
        raise ShapeError(
            f"losses are {list(source_losses.shape)} before and {list(edited_losses.shape)} after. Give one a picture"
        )
    for name, losses in (("edited", edited_losses), ("source", source_losses)):
        if not (losses.isfinite() & (losses > 0)).all():
            wrong = losses[~(losses.isfinite() & (losses > 0))][0].item()
            raise ConfigError(f"a loss of the {name} pictures is {wrong:g}, not above 0. Count it as failed")
    return edited_losses.double() / source_losses.double()
