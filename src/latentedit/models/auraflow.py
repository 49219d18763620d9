"""AuraFlow as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; the text is Pile-T5's 256 tokens, whose padding
is zeros that are attended to; positions are learned, so pictures have a largest size.

Source:
    fal 2024, AuraFlow, as diffusers 0.42.1 has it.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.codec import KL_CODECS
from latentedit.models.fit import check_widths
from latentedit.models.flow import FlowBackbone
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Site


class AuraFlowBackbone(FlowBackbone):
    """AuraFlow: ``v(z, s, c) = transformer(z, s, t5)``.

    Args:
        components: of an ``AuraFlowPipeline`` by name.
        placement: name, fingerprint, settings, device, pipeline and configuration, see `NetworkBackbone`.

    Raises:
        ModelError: parts that do not fit together.
    """

    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "scheduler": ("FlowMatchEulerDiscreteScheduler",),
        "tokenizer": ("LlamaTokenizer", "LlamaTokenizerFast", "T5Tokenizer", "T5TokenizerFast"),
        "text_encoder": ("UMT5EncoderModel",),
        "transformer": ("AuraFlowTransformer2DModel",),
        "vae": KL_CODECS,
    }
    nodes: ClassVar[Literal["even", "scheduler"]] = "scheduler"
    window: int = 256

    def __init__(self, components: Mapping[str, Any], **placement: Any) -> None:
        config, vae = components["transformer"].config, components["vae"]
        check_widths(
            text=int(config.joint_attention_dim),
            encoder=components["text_encoder"],
            channels=int(config.in_channels),
            vae=vae,
        )
        patch = int(config.patch_size)
        self._begin(
            components,
            patch=patch,
            widths=(int(config.joint_attention_dim), 0),
            guidance=3.5,
            largest_px=math.isqrt(config.pos_embed_max_size) * patch * 2 ** (len(vae.config.block_out_channels) - 1),
            **placement,
        )

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        tokens, *_ = self.stock.encode_prompt(
            text, do_classifier_free_guidance=False, device=self.device, max_sequence_length=self.window
        )
        return tokens, None, None

    def _time(self, s: Float[Tensor, " b"], z: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        del z
        return s

    def _ask(
        self, z: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c h w"]:
        return self._network(z, encoder_hidden_states=condition.tokens, timestep=time, return_dict=False)[0]

    def _sites(self) -> Mapping[str, Site]:
        """Both streams after each double block, and the picture's tokens after each single one."""
        sites: dict[str, Site] = {}
        for index, block in enumerate(self._network.joint_transformer_blocks):
            sites[f"double.{index}.text"] = Site(module=block, item=0)
            sites[f"double.{index}.image"] = Site(module=block, item=1)
        for index, block in enumerate(self._network.single_transformer_blocks):
            sites[f"single.{index}.image"] = Site(module=block, image="last")
        return sites
