"""Two pictures between which something is to be drawn: encoded together, at one size."""

from collections.abc import Sequence

import torch

from latentedit.core.errors import ConfigError
from latentedit.latents.captions.base import captioner_for
from latentedit.latents.encode import PictureLike, encode_frames, fit_all
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone

SAME_TWICE = "there are no two pictures, but the same one twice. Name another one"


@torch.no_grad()
def encode_pair(model: Backbone, pictures: Sequence[PictureLike], captions: Sequence[str | None]) -> JointLatent:
    """Encode two pictures in one batch, each under what it shows.

    Args:
        pictures: two.
        captions: of each; None has it read by the model's captioner, and stands for no text where there is none.

    Raises:
        ConfigError: not two pictures, two that the model takes at different sizes, the same one twice, or a model that
            knows latents only.
        ImageError: a file that is no picture fit for editing.
    """
    if not len(pictures) == len(captions) == 2:
        raise ConfigError(f"a pair is two pictures and two captions; got {len(pictures)} and {len(captions)}")
    frames = fit_all(model, pictures)
    first, second = (frame.pixels for frame in frames)
    if first.shape != second.shape:
        sizes = " and ".join(f"{pixels.shape[2]} x {pixels.shape[1]}" for pixels in (first, second))
        raise ConfigError(
            f"the model takes the two pictures at different sizes, {sizes}. Crop one to the other's proportions"
        )
    if torch.equal(first, second):
        raise ConfigError(SAME_TWICE)
    reader = captioner_for(model)
    texts = tuple(
        caption if caption is not None else "" if reader is None else reader.caption(frame.pixels[None])[0]
        for frame, caption in zip(frames, captions, strict=True)
    )
    return encode_frames(model, frames, caption=texts)
