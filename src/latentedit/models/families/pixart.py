"""PixArt-alpha and PixArt-Sigma as a velocity field.

Times, levels and sampler are those of `latentedit.models.vp`. The network returns noise and a variance, of which the
first half counts. The text is T5's last layer, 120 tokens in alpha and 300 in Sigma; padding is masked in T5 and in the
network. Networks with additional conditions (alpha of 1024 px) take the height, the width and their ratio. The stock
pipelines round sides to a list of sizes and crop, unless called with ``use_resolution_binning=False``, and clean
captions (``clean_caption``) if beautifulsoup4 and ftfy are installed; here neither is done, except for lower case.

Source:
    Chen et al. 2023, PixArt-alpha, arXiv 2310.00426, and 2024, PixArt-Sigma, arXiv 2403.04692, as in diffusers 0.42.1.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ModelError
from latentedit.models.prompts import PromptBackbone
from latentedit.models.sites import Blocks
from latentedit.models.vp import VPBackbone
from latentedit.numerics.condition import Condition


class PixArtBackbone(VPBackbone, PromptBackbone):
    """PixArt-alpha and Sigma: ``e_hat(x_t, t, c) = transformer(x_t, t, t5)``, in flow coordinates.

    A float64 network computes in float64 throughout, so it serves derivatives to 1e-10.
    """

    family: ClassVar[str] = "PixArt-alpha, Sigma"
    license: ClassVar[str] = "OpenRAIL++"
    multiple_px: ClassVar[int] = 16
    pipelines: ClassVar[tuple[str, ...]] = ("PixArtSigmaPipeline", "PixArtAlphaPipeline")
    guidance: ClassVar[float] = 4.5
    mask_at: ClassVar[int | None] = 1
    blocks: ClassVar[tuple[Blocks, ...]] = (Blocks(attention=("attn1",)),)
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "masked"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> type["PixArtBackbone"]:
        """Transformers of the same name take classes."""
        if config and not config.get("caption_channels"):
            raise ModelError("this transformer takes classes, and no text (DiT). Use a text-to-image model")
        return cls

    def __init__(self, pipeline: Any, **facts: Any) -> None:
        super().__init__(pipeline, **facts)
        config = self._network.config
        channels, patch, text = int(config.in_channels), int(config.patch_size), int(config.caption_channels)
        self._check_fit(text=text, channels=channels)
        self.window = 120 if "Alpha" in type(pipeline).__name__ else 300
        self._set_shape(channels=channels, scale=self._codec.scale_px, stride=patch, widths=(text, 0))
        trained = int(config.sample_size) * self._scale
        self._set_capabilities(trained, 2 * trained)

    def _predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        dtype = self.network_dtype
        output = self._network(
            x_t.to(dtype),
            encoder_hidden_states=condition.tokens.to(dtype),
            encoder_attention_mask=condition.mask,
            timestep=time,
            added_cond_kwargs=self._size_conditions(x_t),
            return_dict=False,
        )[0]
        return output[:, : self._channels]

    def _size_conditions(self, x_t: Float[Tensor, "b c h w"]) -> dict[str, Tensor | None]:
        if not self._network.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        height, width = (side * self._scale for side in x_t.shape[-2:])
        resolution = torch.tensor([[height, width]], device=x_t.device, dtype=torch.float32)
        ratio = torch.tensor([[height / width]], device=x_t.device, dtype=torch.float32)
        return {"resolution": resolution.repeat(len(x_t), 1), "aspect_ratio": ratio.repeat(len(x_t), 1)}
