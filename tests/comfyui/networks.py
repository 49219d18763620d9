"""Random networks with the same weights in ComfyUI and in diffusers.

ComfyUI is on the path of Python. The variable COMFYUI_STAND_INS names a folder of stand-ins for torchvision and
torchaudio.
"""

import dataclasses
import functools
import os
import sys
from typing import Any

import torch
from torch import Tensor

from latentedit.models.base import Backbone
from latentedit.models.registry import from_pipeline, load
from latentedit.numerics.condition import Condition
from tests.miniatures.flow import flux
from tests.miniatures.noise import sd_pipeline


def load_comfy() -> None:
    """Make ComfyUI ready to import; it runs on the CPU."""
    # The stand-ins are too small for diffusers, which this module has imported.
    sys.path.insert(0, os.environ.get("COMFYUI_STAND_INS", ""))
    import comfy.cli_args

    comfy.cli_args.args.cpu = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Twin:
    """One network as a model of ComfyUI and as one of this library."""

    model: Any
    backbone: Backbone
    source: Condition
    target: Condition
    empty: Condition
    extra: dict[str, float]

    def cond(self, text: Condition) -> Any:
        return [[text.tokens, {"pooled_output": text.pooled, **self.extra}]]

    def latents(self, count: int = 2) -> Tensor:
        """Random clean latents, in the library's scale."""
        shape = self.backbone.latent_shape(64, 64)
        return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))

    @property
    def inner(self) -> Any:
        return self.model.model

    def sigmas(self, steps: int = 8) -> Tensor:
        """The library's own levels, as ComfyUI counts noise."""
        levels = torch.tensor(self.backbone.grid(steps).levels, dtype=torch.float64)
        return (levels / (1 - levels) if self.backbone.capabilities.predicts_noise else levels).float()


def _twin(config: Any, backbone: Backbone, fill: Any, **extra: float) -> Twin:
    import comfy.model_patcher

    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, "", "cpu")
    with torch.no_grad():
        fill(model.diffusion_model.state_dict())
    cpu = torch.device("cpu")
    texts = ("a photo of a man", "a photo of a man with glasses", "")
    source, target, empty = (backbone.embed([text]) for text in texts)
    return Twin(
        model=comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu),
        backbone=backbone,
        source=source,
        target=target,
        empty=empty,
        extra=extra,
    )


@functools.cache
def flux_twin() -> Twin:
    import comfy.supported_models
    import comfy.utils

    pipeline = flux(guidance_embeds=True)
    config, weights = pipeline.transformer.config, pipeline.transformer.state_dict()
    shape = {
        "image_model": "flux",
        "in_channels": config.in_channels // 4,
        "patch_size": 2,
        "out_channels": config.in_channels // 4,
        "vec_in_dim": config.pooled_projection_dim,
        "context_in_dim": config.joint_attention_dim,
        "hidden_size": config.attention_head_dim * config.num_attention_heads,
        "mlp_ratio": 4.0,
        "num_heads": config.num_attention_heads,
        "depth": config.num_layers,
        "depth_single_blocks": config.num_single_layers,
        "axes_dim": list(config.axes_dims_rope),
        "theta": 10000,
        "qkv_bias": True,
        "guidance_embed": True,
        "txt_ids_dims": [],
    }
    import comfy.ldm.flux.model as network

    known = {field.name for field in dataclasses.fields(network.FluxParams)} | {"image_model"}
    shape = {name: value for name, value in shape.items() if name in known}

    fill = functools.partial(_fill, comfy.utils.flux_to_diffusers(shape), weights)
    return _twin(comfy.supported_models.Flux(shape), from_pipeline(pipeline), fill, guidance=3.5)


def _fill(names: Any, weights: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Copy weights to the names that ComfyUI has for them: a name, a part of one, or a change."""
    for name, to in names.items():
        if name in weights:
            key, rows, change = (to, None, None) if isinstance(to, str) else (*to, None)[:3]
            weight = weights[name] if change is None else change(weights[name])
            (own[key] if rows is None else own[key].narrow(*rows)).copy_(weight)


PORTRAITS = {  # the network of the bundled model of portraits, an SD3, as ComfyUI describes it
    "in_channels": 8,
    "out_channels": 8,
    "patch_size": 2,
    "depth": 4,
    "num_blocks": 8,
    "input_size": None,
    "adm_in_channels": 256,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 256, "out_features": 256}},
    "num_patches": 256,
    "pos_embed_max_size": 16,
    "pos_embed_scaling_factor": None,
    "qk_norm": "rms",
    "x_block_self_attn_layers": [],
}


@functools.cache
def portraits_twin() -> Twin:
    """The bundled model of portraits, whose weights are trained."""
    import comfy.supported_models
    import comfy.utils

    backbone: Any = load("portraits")
    names = comfy.utils.mmdit_to_diffusers(PORTRAITS)
    for end in ("weight", "bias"):  # it takes the block of number `depth` for the last one, whose norm is another
        (own, _, change), last = names[f"transformer_blocks.3.norm1_context.linear.{end}"], PORTRAITS["num_blocks"] - 1
        names[f"transformer_blocks.3.norm1_context.linear.{end}"] = own
        names[f"transformer_blocks.{last}.norm1_context.linear.{end}"] = (own.replace(".3.", f".{last}."), None, change)
    fill = functools.partial(_fill, names, backbone.pipeline.transformer.state_dict())
    return _twin(comfy.supported_models.SD3(PORTRAITS), backbone, fill)


@functools.cache
def sd_twin() -> Twin:
    import comfy.supported_models
    import comfy.utils

    built = sd_pipeline(widths=(32, 64), heads=8, groups=32)  # ComfyUI's SD 1.5 has 8 heads
    weights = built.unet.state_dict()
    shape = {
        "image_size": 32,
        "use_checkpoint": False,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 32,
        "num_res_blocks": [1, 1],
        "channel_mult": [1, 2],
        "transformer_depth": [1, 0],
        "transformer_depth_output": [1, 1, 0, 0],
        "transformer_depth_middle": 1,
        "context_dim": 16,
        "num_heads": 8,
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
        "legacy": False,
        "use_spatial_transformer": True,
    }

    def fill(own: dict[str, Tensor]) -> None:
        for name, to in comfy.utils.unet_to_diffusers(shape).items():
            if name in weights and to in own:
                own[to].copy_(weights[name].reshape(own[to].shape))

    return _twin(comfy.supported_models.SD15(shape), from_pipeline(built), fill)
