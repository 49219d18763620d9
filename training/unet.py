"""The U-Net of `portraits-unet`: noise prediction, trained for the same velocity error as the transformer."""

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from latentedit.core.flow import add_noise, model_from_canonical, noise_estimate, velocity_from_prediction
from latentedit.core.rng import seeded
from latentedit.core.schedule import DiscreteSchedule
from latentedit.models.attention import differentiable_attention
from latentedit.models.loading import open_folder
from latentedit.models.registry import bundled_folder, load
from latentedit_portraits.domain import PORTRAITS
from training.codec import CHANNELS
from training.data import SEED, encode_latents, portrait_pictures
from training.loop import FitSettings, Plan, Training, mixed_precision
from training.pipelines import write_pipeline
from training.sd3 import draw_examples, draw_levels
from training.texts import CaptionBatches

_SIDE = 16
_WIDTHS = (96, 192, 288)
_HEADS = 4
_HIGHEST_FACTOR = 12.0
"""Most that an error of the noise counts for as an error of the velocity; reached at s = 0.917."""

_BROWS = (slice(2, 7), slice(3, 12))
_BROWS_WEIGHT = 6.0
"""Rows and columns of latents that show eyebrows and eyes, and what an error there counts for: they are a sixth of the
picture, and a network this small took raised eyebrows for angry ones."""


def noise_scheduler() -> DDIMScheduler:
    """Square roots of betas linear in time as in Stable Diffusion, but with a noisier end: s in [0.028, 0.985].

    Latents are 16 x 16 with large shapes, so at Stable Diffusion's own end (0.936) one would still see the background.
    """
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.02,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


class TextToNoise(nn.Module):
    """What is trained together: one text encoder and the U-Net, in Stable Diffusion 1.5's layout with three sizes.

    Args:
        text: configuration of the text encoder.
    """

    def __init__(self, text: CLIPTextConfig) -> None:
        super().__init__()
        build: Any = UNet2DConditionModel  # its annotations say tuples of four
        self.text_encoder = CLIPTextModel(text)
        self.unet = build(
            sample_size=_SIDE,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            block_out_channels=_WIDTHS,
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=text.hidden_size,
            attention_head_dim=_HEADS,
        )

    def embed(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Tokens exactly as the stock pipeline takes them: the last hidden layer, normalised."""
        return self.text_encoder(ids)[0]


def build_text_to_noise(beginning: nn.Module) -> TextToNoise:
    """An untrained U-Net, and a text encoder with the weights of a ``CLIPTextModelWithProjection``."""
    known: Any = beginning
    with seeded(SEED):
        network = TextToNoise(CLIPTextConfig(**known.config.to_dict()))
    weights = known.state_dict()  # whose names may hold the encoder itself one level down
    names = list(network.text_encoder.state_dict())
    network.text_encoder.load_state_dict(
        {name: weights[name if name in weights else f"text_model.{name}"] for name in names}
    )
    return network


def velocity_loss(noise_error: Float[Tensor, "b c h w"], s: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """The mean square error of the velocity that an error of the noise makes, its factor cut at the noisy end.

    At given latents ``v = (e_hat - z) / (1 - s)``, so an error of the noise is ``1 / (1 - s)`` times as large in v. The
    factor is cut at 12, since at the noisy end (65) it is larger than a network of half precision can be exact.
    """
    factor = (1 / (1 - s)).clamp(max=_HIGHEST_FACTOR)
    return (noise_error * factor[:, None, None, None]).square().mean()


def detail_weights() -> Float[Tensor, "h w"]:
    """What an error at each place of the latents counts for, 1 in the mean."""
    weights = torch.ones(_SIDE, _SIDE)
    weights[_BROWS] = _BROWS_WEIGHT
    return weights / weights.mean()


def fit_unet(
    network: TextToNoise,
    captions: CaptionBatches,
    latents: NDArray[np.float16],
    settings: FitSettings,
    run: Training,
    scheduler: DDIMScheduler,
) -> float:
    """Train text encoder and U-Net to predict what the scheduler says, at the transformer's levels and for its error.

    Captions and normalised clean latents ``[n, 8, 16, 16]`` are of the same portraits in the same order.
    """
    device = captions.device
    schedule = DiscreteSchedule.from_alphas_cumprod(scheduler.alphas_cumprod)
    told: Any = scheduler.config
    network.unet.to(memory_format=torch.channels_last)
    blocks = network.unet.named_parameters()
    matrices = [item for name, item in blocks if item.ndim == 2 and "transformer_blocks" in name]
    factor = detail_weights().sqrt().to(device)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        ids, _, clean, noise = draw_examples(captions, latents, settings.batch, generator)
        drawn = draw_levels(settings.batch, generator).clamp(schedule.s_min, schedule.s_max)
        times = schedule.time(drawn.double()).round()
        s = schedule.level(times)
        alpha, sigma = (scale.float().to(device) for scale in schedule.alpha_sigma(s))
        s = s.float().to(device)
        z = add_noise(clean, noise, s)
        x_t = model_from_canonical(z, alpha, sigma)
        with mixed_precision(device):
            tokens = network.embed(ids)
            layout = x_t.contiguous(memory_format=torch.channels_last)
            output = network.unet(layout, times.long().to(device), tokens, return_dict=False)[0]
        v = velocity_from_prediction(told.prediction_type, output.float(), x_t, alpha, sigma)
        return velocity_loss(factor * (noise_estimate(z, s, v) - noise), s)

    with differentiable_attention():  # on a CPU the backward pass of the fused kernel is the slower one
        return run.fit("unet", network, loss, settings, orthogonalized=matrices)


@torch.no_grad()
def with_folded_shift(autoencoder: AutoencoderKL) -> AutoencoderKL:
    """The same codec with its shift inside two layers of 1 x 1, for Stable Diffusion's pipeline knows a scale only.

    Args:
        autoencoder: without such layers, its latents ``(code - shift_factor) * scaling_factor``.

    Returns:
        A codec whose latents ``code * scaling_factor`` are the same numbers, and so are its pictures.
    """
    config: Any = autoencoder.config
    build: Any = AutoencoderKL
    shift, channels = float(config.shift_factor), int(config.latent_channels)
    known = {key: config[key] for key in config if not key.startswith("_")}
    with seeded(SEED):  # the global random state stays
        folded = build(**known | {"shift_factor": None, "use_quant_conv": True, "use_post_quant_conv": True})
    folded.load_state_dict(autoencoder.state_dict(), strict=False)
    for layer, bias in ((folded.quant_conv, -shift), (folded.post_quant_conv, shift)):
        width = layer.weight.shape[0]
        layer.weight.copy_(torch.eye(width)[:, :, None, None])
        layer.bias.zero_()
        layer.bias[:channels] = bias
    return folded.eval()


def train_unet(run: Training, plan: Plan) -> dict[str, float]:
    """Train U-Net and text encoder on latents of the bundled `portraits`, and write the model.

    The codec is that of `portraits`, and the text encoder begins as its second one.
    """
    pixels, scenes = portrait_pictures(run, plan)
    parent = open_folder(bundled_folder("portraits"))
    latents = encode_latents(load(parent.path, device=run.device), pixels, run)
    network = build_text_to_noise(parent.load("text_encoder_2")).to(run.device)
    captions, scheduler = CaptionBatches(PORTRAITS, scenes, run.device), noise_scheduler()
    seconds = fit_unet(network, captions, latents, plan.fits["unet"], run, scheduler)
    build: Any = StableDiffusionPipeline  # it takes None for what it can do without
    pipeline = build(
        unet=network.unet.to(memory_format=torch.contiguous_format),
        scheduler=scheduler,
        vae=with_folded_shift(parent.load("vae")),
        text_encoder=network.text_encoder,
        tokenizer=captions.tokenizer,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    write_pipeline(run.folder / "model", pipeline, {"vocabulary": [*PORTRAITS.vocabulary]})
    return {"unet": seconds}
