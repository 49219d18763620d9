"""FLUX.3 and its distilled flow map against their stock pipelines, which are modular."""

import functools
from typing import Any

from torch import Tensor

from latentedit.models.codec import patchify, unpatchify
from latentedit.testing.miniatures.flow import flux3
from tests.models.families.family import (
    CAPTION,
    NO_CHAT,
    Distilled,
    Variants,
    asked,
    other_width,
)


class TestFlux3(Variants):
    make = flux3
    guidance = (3.5, "cfg")
    room = 800 - 6  # the beginning of the chat
    misfits = (NO_CHAT, ("text width of the denoiser is 24, .* 32", other_width("joint_attention_dim")[1]))

    def stock_latents(self, z: Tensor) -> Tensor:
        return patchify(z)

    def own_latents(self, output: Tensor, like: Tensor) -> Tensor:
        del like
        return unpatchify(output)

    def stock_picture(self, pipeline: Any, weight: float, size: tuple[int, int], z: Tensor, **settings: Any) -> Any:
        if (guider := getattr(pipeline, "guider", None)) is not None:
            guider.guidance_scale = weight
        return sampled(pipeline, z, size, self.stock_latents(z.clone()), **settings)


def sampled(pipeline: Any, z: Tensor, size: tuple[int, int], latents: Tensor, **settings: Any) -> Any:
    """What the blocks behind the prompt upsampler make."""
    kind = type(pipeline._blocks)
    blocks = kind()
    blocks.sub_blocks.pop("prompt_upsampler", None)
    runner = blocks.init_pipeline()
    runner.update_components(**{name: part for name, part in pipeline.components.items() if part is not None})
    known = {**asked(size), "prompt": CAPTION, "latents": latents, **settings}
    output_type = known.pop("output_type")
    runner.set_progress_bar_config(disable=True)
    if output_type == "latent":
        return runner(output="latents", **known)
    return runner(output="images", output_type=output_type, **known)


class TestFlux3Klein(Distilled, TestFlux3):
    make = functools.partial(flux3, distilled=True)
    kind_at_one = "none"
