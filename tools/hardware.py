"""Writes what much used models need: ``src/latentedit/models/known_models.json`` and ``docs/hardware.md``.

The networks are built on the meta device from published configurations, of which only what differs from the defaults
of diffusers and transformers is listed here. Everything on the page is computed; nothing was timed.

python -m tools.hardware
"""

import dataclasses
import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers

from latentedit.editing.checkup import edit_costs
from latentedit.models.known import known_models
from latentedit.models.libraries import library_class
from latentedit.models.loading import ModelFolder
from latentedit.models.placement import Placement, model_needs
from latentedit_keep.base.files import write_text
from tools.running import ROOT

DATA = ROOT / "src" / "latentedit" / "models" / "known_models.json"
PAGE = ROOT / "docs" / "hardware.md"

Part = tuple[str, str, Mapping[str, Any]]
"""Library, class and configuration of a network."""


def diffusers(kind: str, **config: Any) -> Part:
    return ("diffusers", kind, config)


def encoder(kind: str, **config: Any) -> Part:
    return ("transformers", kind, config)


_QWEN3 = {
    "vocab_size": 151936,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
_QWEN3_4B = {**_QWEN3, "hidden_size": 2560, "intermediate_size": 9728}
_QWEN3_8B = {**_QWEN3, "hidden_size": 4096, "intermediate_size": 12288}
_SIGHT_4B = {"hidden_size": 1024, "intermediate_size": 4096, "depth": 24, "out_hidden_size": 2560}
_SIGHT_8B = {"hidden_size": 1152, "intermediate_size": 4304, "depth": 27, "out_hidden_size": 4096}

QWEN3_4B = encoder("Qwen3ForCausalLM", **_QWEN3_4B, tie_word_embeddings=True)
QWEN3_8B = encoder("Qwen3ForCausalLM", **_QWEN3_8B, tie_word_embeddings=False)
QWEN3_VL_4B = encoder(
    "Qwen3VLForConditionalGeneration",
    text_config={**_QWEN3_4B, "tie_word_embeddings": True},
    vision_config={**_SIGHT_4B, "deepstack_visual_indexes": [5, 11, 17]},
    tie_word_embeddings=True,
)
QWEN3_VL_8B = encoder(
    "Qwen3VLForConditionalGeneration",
    text_config=_QWEN3_8B,
    vision_config={**_SIGHT_8B, "deepstack_visual_indexes": [8, 16, 24]},
    tie_word_embeddings=False,
)
QWEN25_VL_7B = encoder(
    "Qwen2_5_VLForConditionalGeneration",
    text_config={
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
    vision_config={"hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584, "depth": 32},
    tie_word_embeddings=False,
)
MISTRAL_24B = encoder(
    "Mistral3ForConditionalGeneration",
    text_config={
        "model_type": "mistral",
        "hidden_size": 5120,
        "intermediate_size": 32768,
        "num_hidden_layers": 40,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 131072,
        "tie_word_embeddings": False,
    },
    vision_config={"model_type": "pixtral", "image_size": 1540, "patch_size": 14},
    tie_word_embeddings=False,
)
T5_XXL = encoder(
    "T5EncoderModel",
    d_model=4096,
    d_ff=10240,
    num_layers=24,
    num_heads=64,
    vocab_size=32128,
    feed_forward_proj="gated-gelu",
)
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "projection_dim": 768}
CLIP_G = encoder(
    "CLIPTextModelWithProjection",
    hidden_size=1280,
    intermediate_size=5120,
    num_hidden_layers=32,
    num_attention_heads=20,
    projection_dim=1280,
)

_KL: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
}
KL_4 = diffusers("AutoencoderKL", **_KL, latent_channels=4)
KL_16 = diffusers("AutoencoderKL", **_KL, latent_channels=16, use_quant_conv=False, use_post_quant_conv=False)

_UNET_SD = diffusers("UNet2DConditionModel", sample_size=64, cross_attention_dim=768, attention_head_dim=8)
_UNET_SDXL = diffusers(
    "UNet2DConditionModel",
    sample_size=128,
    cross_attention_dim=2048,
    attention_head_dim=[5, 10, 20],
    block_out_channels=[320, 640, 1280],
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    transformer_layers_per_block=[1, 2, 10],
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=2816,
)
_SD35_MEDIUM = diffusers(
    "SD3Transformer2DModel",
    sample_size=128,
    num_layers=24,
    num_attention_heads=24,
    attention_head_dim=64,
    caption_projection_dim=1536,
    pos_embed_max_size=384,
    dual_attention_layers=list(range(13)),
    qk_norm="rms_norm",
)
_KLEIN_4B = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680}
_KLEIN_9B = {"num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32, "joint_attention_dim": 12288}


def flux2_shift(tokens: int, steps: int) -> float:
    """The empirical shift of FLUX.2 (diffusers, ``compute_empirical_mu``, up to 4300 tokens)."""
    many, few = 0.00016927 * tokens + 0.45666666, 8.73809524e-05 * tokens + 1.89833333
    slope = (many - few) / 190
    return math.exp(many + slope * (steps - 200))


def dynamic_shift(tokens: int, *, low: float, high: float, most: int) -> float:
    """The shift of FLUX.1, Qwen-Image and Krea 2: exp of a line through (256, low) and (most, high)."""
    return math.exp(low + (high - low) * (tokens - 256) / (most - 256))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """One model: its networks, and how its makers generate. Windows are the texts' tokens in the denoiser."""

    parts: Mapping[str, Part]
    steps: int
    guidance: float = 1.0
    guidance_kind: str = "none"
    shift: float
    source: str
    alike: tuple[str, ...] = ()
    instructed: bool = False
    side_px: int = 1024
    window: int = 512
    half: torch.dtype = torch.bfloat16


_SCRIPT = "diffusers, scripts/convert_flux2_to_diffusers.py"
_DEFAULTS = "defaults of {} in diffusers 0.42.1"
_VL = "huggingface.co/Qwen/Qwen3-VL-{}B-Instruct"

MODELS = {
    "Qwen/Qwen-Image-2.1": Published(
        parts={
            "text_encoder": QWEN3_VL_8B,
            "transformer": diffusers("QwenImage21Transformer2DModel"),
            "vae": diffusers("AutoencoderKLQwenImage21"),
        },
        steps=40,
        guidance=1.0,
        guidance_kind="cfg",
        shift=dynamic_shift(1024, low=0.5, high=0.9, most=8192),
        instructed=True,
        source=f"{_DEFAULTS.format('its classes')}; {_VL.format(8)}",
    ),
    "Qwen/Qwen-Image-Edit-2511": Published(
        alike=("Qwen/Qwen-Image-Edit-2509", "Qwen/Qwen-Image-Edit", "Qwen/Qwen-Image", "Qwen/Qwen-Image-2512"),
        parts={
            "text_encoder": QWEN25_VL_7B,
            "transformer": diffusers("QwenImageTransformer2DModel"),
            "vae": diffusers("AutoencoderKLQwenImage"),
        },
        steps=40,
        guidance=4.0,
        guidance_kind="renormalized",
        shift=dynamic_shift(4096, low=0.5, high=0.9, most=8192),
        instructed=True,
        source=f"{_DEFAULTS.format('its classes')}; huggingface.co/Qwen/Qwen2.5-VL-7B-Instruct",
    ),
    "black-forest-labs/FLUX.2-dev": Published(
        parts={
            "text_encoder": MISTRAL_24B,
            "transformer": diffusers("Flux2Transformer2DModel"),
            "vae": diffusers("AutoencoderKLFlux2"),
        },
        steps=50,
        guidance=4.0,
        guidance_kind="embedded",
        shift=flux2_shift(4096, 28),
        instructed=True,
        source=f"{_SCRIPT}; huggingface.co/mistralai/Mistral-Small-3.1-24B-Instruct-2503",
    ),
    "black-forest-labs/FLUX.2-klein-4B": Published(
        parts={
            "text_encoder": QWEN3_4B,
            "transformer": diffusers("Flux2Transformer2DModel", **_KLEIN_4B, guidance_embeds=False),
            "vae": diffusers("AutoencoderKLFlux2"),
        },
        steps=4,
        shift=flux2_shift(4096, 28),
        instructed=True,
        source=f"{_SCRIPT}; huggingface.co/Qwen/Qwen3-4B",
    ),
    "black-forest-labs/FLUX.2-klein-9B": Published(
        parts={
            "text_encoder": QWEN3_8B,
            "transformer": diffusers("Flux2Transformer2DModel", **_KLEIN_9B, guidance_embeds=False),
            "vae": diffusers("AutoencoderKLFlux2"),
        },
        steps=4,
        shift=flux2_shift(4096, 28),
        instructed=True,
        source=f"{_SCRIPT}; huggingface.co/Qwen/Qwen3-8B",
    ),
    "black-forest-labs/FLUX-3-Image-Klein": Published(
        parts={
            "text_encoder": QWEN3_VL_4B,
            "transformer": diffusers("Flux3Transformer2DModel", flow_map=True),
            "vae": diffusers("AutoencoderKLFlux2"),
        },
        steps=16,
        shift=6.93,
        instructed=True,
        source=f"{_DEFAULTS.format('its classes')}; {_VL.format(4)}",
    ),
    "Tongyi-MAI/Z-Image-Turbo": Published(
        parts={"text_encoder": QWEN3_4B, "transformer": diffusers("ZImageTransformer2DModel"), "vae": KL_16},
        steps=9,
        shift=3.0,
        source=f"{_DEFAULTS.format('its class')}; huggingface.co/Qwen/Qwen3-4B",
    ),
    "black-forest-labs/FLUX.1-dev": Published(
        alike=("black-forest-labs/FLUX.1-Kontext-dev", "black-forest-labs/FLUX.1-Krea-dev"),
        parts={
            "text_encoder": encoder("CLIPTextModel", **CLIP_L),
            "text_encoder_2": T5_XXL,
            "transformer": diffusers("FluxTransformer2DModel", guidance_embeds=True),
            "vae": KL_16,
        },
        steps=28,
        guidance=3.5,
        guidance_kind="embedded",
        shift=dynamic_shift(4096, low=0.5, high=1.15, most=4096),
        source="copies of its configurations, such as huggingface.co/reshamgaire/flux-dev-orignal",
    ),
    "krea/Krea-2-Turbo": Published(
        parts={
            "text_encoder": QWEN3_VL_4B,
            "transformer": diffusers("Krea2Transformer2DModel"),
            "vae": diffusers("AutoencoderKLQwenImage"),
        },
        steps=8,
        shift=dynamic_shift(4096, low=0.5, high=1.15, most=6400),
        source=f"{_DEFAULTS.format('its class')}; {_VL.format(4)}",
    ),
    "stabilityai/stable-diffusion-xl-base-1.0": Published(
        parts={
            "text_encoder": encoder("CLIPTextModel", **CLIP_L),
            "text_encoder_2": CLIP_G,
            "unet": _UNET_SDXL,
            "vae": KL_4,
        },
        steps=50,
        guidance=5.0,
        guidance_kind="cfg",
        shift=0.0,
        window=77,
        half=torch.float16,
        source="diffusers, loaders/single_file_utils.py and the configurations on huggingface.co",
    ),
    "stabilityai/stable-diffusion-3.5-medium": Published(
        parts={
            "text_encoder": encoder("CLIPTextModelWithProjection", **CLIP_L),
            "text_encoder_2": CLIP_G,
            "text_encoder_3": T5_XXL,
            "transformer": _SD35_MEDIUM,
            "vae": KL_16,
        },
        steps=40,
        guidance=4.5,
        guidance_kind="cfg",
        shift=3.0,
        window=333,
        source="diffusers, scripts/convert_sd3_to_diffusers.py",
    ),
    "stable-diffusion-v1-5/stable-diffusion-v1-5": Published(
        parts={"text_encoder": encoder("CLIPTextModel", **CLIP_L), "unet": _UNET_SD, "vae": KL_4},
        steps=50,
        guidance=7.5,
        guidance_kind="cfg",
        shift=0.0,
        side_px=512,
        window=77,
        half=torch.float16,
        source="defaults of its classes in diffusers 0.42.1",
    ),
}


def configured(published: Published, place: Path) -> ModelFolder:
    """A model folder with configurations only."""
    for part, (library, kind, given) in published.parts.items():
        own = place / part
        own.mkdir()
        if library == "transformers":
            loaded: Any = getattr(transformers, kind)
            loaded.config_class(**given).save_pretrained(own)
        else:
            config: Any = library_class(library, kind)
            with torch.device("meta"):
                config.from_config(dict(given)).save_config(own)
    denoiser = "unet" if "unet" in published.parts else "transformer"
    return ModelFolder(
        path=place,
        adapter=SimpleNamespace(denoiser=denoiser, half=published.half, window=published.window),
        index={"_class_name": ""},
        parts={part: (library, kind) for part, (library, kind, _) in published.parts.items()},
        weights={},
        settings={"sizes": [published.side_px] * 3},
    )


def entry(published: Published) -> dict[str, Any]:
    """The stored form of a model."""
    with tempfile.TemporaryDirectory() as place:
        folder = configured(published, Path(place))
        needs = dataclasses.asdict(model_needs(folder))
    network = folder.parts[folder.adapter.denoiser][1]
    kept = ("alike", "steps", "guidance", "guidance_kind", "shift", "instructed", "source")
    about = {name: getattr(published, name) for name in kept} | {"shift": round(published.shift, 4)}
    return {**about, "network": network, "needs": needs | {"half": str(published.half).removeprefix("torch.")}}


def rows() -> list[tuple[str, ...]]:
    """The page's table."""
    gpu, cpu, fp8 = torch.device("cuda"), torch.device("cpu"), torch.float8_e4m3fn
    table: list[tuple[str, ...]] = []
    for name in MODELS:
        model = known_models()[name]
        needs, half = model.needs, model.needs.half
        placements = [
            Placement(device=gpu, dtype=half),
            Placement(device=gpu, dtype=half, policy="model"),
            Placement(device=gpu, dtype=half, policy="model", storage=fp8),
            Placement(device=gpu, dtype=half, policy="groups"),
            Placement(device=cpu, dtype=half),
            Placement(device=cpu, dtype=torch.float32),
        ]
        sizes = [f"{needs.total_bytes(placement) / 1e9:.1f}" for placement in placements]
        denoiser = needs.parts[needs.denoiser].parameters
        others = needs.parameters - denoiser
        counts = [f"{method} {count}" for method, count in edit_costs(model).items()]
        table.append(
            (name, f"{denoiser / 1e9:.1f} + {others / 1e9:.1f}", *sizes, ", ".join(counts), str(model.generation))
        )
    return table


HEAD = """\
# Hardware requirements

What the most used models need, before any of them is downloaded. **Everything here is computed from the published
configurations, nothing was timed or measured**: the weights follow from them, activations are estimates for one image
of the preferred size. Written by `python -m tools.hardware`; `latentedit doctor --model NAME` compares the same figures
with your machine, offline, and prints the command to use.

GB (10^9 bytes). *Parameters*: denoiser + text encoders and autoencoder, in 10^9. *GPU*: all networks resident; only
the one in use (`--placement model`); the same with the denoiser's layers stored in 8 bits (`--storage fp8`); layer by
layer (`--placement groups`). Offloaded weights wait in memory, which needs the size of the column *CPU*.
"""

COSTS = """
*Edit* counts network evaluations of one edit at strength 1, by method, the default first; *generation* those of one
image with the recommended number of steps. Guidance counts two. An edit of {edit} evaluations takes as long as
{share} generations on {name}.
"""


def page() -> str:
    titles = ["model", "parameters", "GPU", "offloaded", "fp8, offloaded", "groups", "CPU", "CPU, float32"]
    lines = [[*titles, "edit", "generation"], ["---"] * 10, *rows()]
    model = known_models()["black-forest-labs/FLUX.1-dev"]
    edit = next(iter(edit_costs(model).values()))
    example = COSTS.format(edit=edit, share=f"{edit / model.generation:.1f}", name=model.name)
    alike = [f"- {', '.join(one.alike)}: as {name}" for name in MODELS if (one := known_models()[name]).alike]
    table = [f"| {' | '.join(line)} |" for line in lines]
    parts = [
        HEAD,
        *table,
        example,
        "Networks of the same sizes:",
        "",
        *alike,
        "",
        "The source of each configuration is in `src/latentedit/models/known_models.json`.",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the sizes and the page."""
    write_text(DATA, json.dumps({name: entry(published) for name, published in MODELS.items()}, indent=1) + "\n")
    write_text(PAGE, page())


if __name__ == "__main__":
    main()
