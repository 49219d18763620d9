"""Small Stable Diffusion 3s: the transformer and its two text encoders, trained jointly by rectified flow."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from jaxtyping import Float, Int
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from latentedit.models import differentiable_attention
from latentedit.numerics import seeded
from latentedit_portraits.domains import AttributeDomain
from research.training.classifiers import fit_reader
from research.training.codec import CHANNELS, fit_autoencoder, normalized_latents, reconstruct
from research.training.data import SEED, cached_array
from research.training.folder import write_pipeline
from research.training.loop import FitSettings, Plan, Trainer, mixed_precision
from research.training.texts import TEXT_WIDTH, CaptionBatches, attribute_loss, clip_config

SHIFT = 3.0
"""Timestep shift of the flow models' schedule."""

_HEADS, _HEAD_WIDTH, _LAYERS = 4, 64, 8
_ATTRIBUTE_WEIGHT = 0.02  # weight of the pooled text's attribute loss, relative to the velocity's squared error
_LEVEL_MEAN, _LEVEL_SPREAD = 0.7, 1.2  # mean and spread of the logit of the training noise levels
_ZERO_TOKENS = ((0.85, 1, 1), (0.96, 2, 16), (0.99, 64, 64), (1.0, 256, 256))
"""Cumulative probability, and range of the number of zero tokens that replace the missing T5."""


class TextToVelocity(nn.Module):
    """The networks that are trained together: two text encoders, transformer, attribute head of the pooled text."""

    def __init__(self, tokenizer: CLIPTokenizer, domain: AttributeDomain) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModelWithProjection(clip_config(tokenizer, 3))
        self.text_encoder_2 = CLIPTextModelWithProjection(clip_config(tokenizer, 4))
        width = _HEADS * _HEAD_WIDTH
        self.transformer = SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=_LAYERS,
            attention_head_dim=_HEAD_WIDTH,
            num_attention_heads=_HEADS,
            joint_attention_dim=2 * TEXT_WIDTH,
            caption_projection_dim=width,
            pooled_projection_dim=2 * TEXT_WIDTH,
            pos_embed_max_size=16,
            qk_norm="rms_norm",
        )
        self.attribute_head = nn.Linear(2 * TEXT_WIDTH, sum(map(len, domain.values.values())))
        start_at_zero(self.transformer, ("norm1.linear", "norm1_context.linear", "proj_out"))

    def embed(self, ids: Int[Tensor, "b n"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b p"]]:
        """Tokens and pooled text exactly as in the stock pipeline: tokens are the penultimate hidden layer."""
        outputs = [encoder(ids, output_hidden_states=True) for encoder in (self.text_encoder, self.text_encoder_2)]
        tokens = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
        pooled = torch.cat([output.text_embeds for output in outputs], dim=-1)
        return tokens, pooled


def start_at_zero(transformer: nn.Module, names: tuple[str, ...]) -> None:
    """Initialize gates and output layer with zeros, as is usual for diffusion transformers."""
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and name.endswith(names):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def build_text_to_velocity(tokenizer: CLIPTokenizer, domain: AttributeDomain) -> TextToVelocity:
    """The untrained networks, with a fixed seed."""
    with seeded(SEED):
        return TextToVelocity(tokenizer, domain)


def fit_text(network: TextToVelocity, captions: CaptionBatches, settings: FitSettings, trainer: Trainer) -> float:
    """Pretrain the text encoders, without images: predict a caption's attributes from its pooled text."""
    networks = nn.ModuleList([network.text_encoder, network.text_encoder_2, network.attribute_head])

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        chosen = torch.randint(len(captions.scenes), (settings.batch_size,), generator=generator).tolist()
        ids, stated = captions.draw(chosen, generator, empty=0.0)
        with mixed_precision(captions.device):
            _, pooled = network.embed(ids)
            logits = network.attribute_head(pooled)
        return attribute_loss(logits, stated, captions.domain.scene)

    return trainer.fit("text", networks, loss, settings)


def draw_levels(batch: int, generator: torch.Generator) -> Float[Tensor, " b"]:
    """Stratified logit-normal levels, slightly noisier than SD3's, because high levels decide the attributes."""
    quantile = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    normal = torch.special.ndtri(quantile.clamp(1e-4, 1 - 1e-4))
    return torch.sigmoid(_LEVEL_MEAN + _LEVEL_SPREAD * normal)


def _draw_zero_tokens(generator: torch.Generator) -> int:
    chance = float(torch.rand((), generator=generator))
    low, high = next((low, high) for limit, low, high in _ZERO_TOKENS if chance <= limit)
    return int(torch.randint(low, high + 1, (1,), generator=generator))


def fit_transformer(
    network: TextToVelocity,
    captions: CaptionBatches,
    latents: NDArray[np.float16],
    settings: FitSettings,
    trainer: Trainer,
) -> float:
    """Train text encoders and transformer to predict ``e - x`` from ``(1 - s) x + s e``.

    Captions and normalized clean latents ``[n, 8, 16, 16]`` belong to the same scenes in the same order.
    """
    device = captions.device
    blocks = network.transformer.transformer_blocks.named_parameters()
    matrices = [item for name, item in blocks if item.ndim == 2 and ("attn" in name or "ff" in name)]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        chosen = torch.randint(len(latents), (settings.batch_size,), generator=generator).tolist()
        ids, stated = captions.draw(chosen, generator)
        clean = torch.from_numpy(latents[chosen].astype(np.float32)).to(device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        s = draw_levels(settings.batch_size, generator).to(device)
        z = torch.lerp(clean, noise, s[:, None, None, None])
        zeros = _draw_zero_tokens(generator)
        with mixed_precision(device):
            tokens, pooled = network.embed(ids)
            padded = functional.pad(tokens, (0, 0, 0, zeros))
            velocity = network.transformer(
                hidden_states=z,
                encoder_hidden_states=padded,
                pooled_projections=pooled,
                timestep=1000 * s,
                return_dict=False,
            )[0]
            logits = network.attribute_head(pooled)
        error = functional.mse_loss(velocity.float(), noise - clean)
        return error + _ATTRIBUTE_WEIGHT * attribute_loss(logits, stated, captions.domain.scene)

    with differentiable_attention():  # on a CPU the backward pass of the fused kernel is slower
        return trainer.fit("transformer", network, loss, settings, orthogonalized=matrices)


def load_matching_weights(network: TextToVelocity, folder: Path) -> None:
    """Load a model's weights into networks of the same architecture, except for the embeddings of its vocabulary."""
    for name in ("transformer", "text_encoder", "text_encoder_2"):
        (path,) = (folder / name).glob("*.safetensors")
        weights = {key: value for key, value in load_file(path).items() if ".embeddings." not in key}
        missing, unexpected = getattr(network, name).load_state_dict(weights, strict=False)
        assert not unexpected
        assert all(".embeddings." in key or "pos_embed" in key for key in missing)


def train_sd3(
    trainer: Trainer,
    plan: Plan,
    captions: CaptionBatches,
    pixels: NDArray[np.uint8],
    codec: AutoencoderKL,
    *,
    others: NDArray[np.uint8] | None = None,
    init_from: Path | None = None,
) -> dict[str, float]:
    """Train codec, classifier, text encoders and transformer, and write the model into ``trainer.folder / "model"``.

    ``pixels`` are the images ``[n, 128, 128, 3]`` of the captions' scenes, ``others`` further images for the codec;
    ``init_from`` is the folder of a model that provides the initial weights. The classifier also learns from
    reconstructions by the codec. Returns the seconds of training of each stage.
    """
    nn.Module.to(codec, trainer.device)
    others = pixels if others is None else others
    seconds = {"autoencoder": fit_autoencoder(codec, pixels, others, plan.fits, trainer)}
    latents = normalized_latents(codec, pixels, trainer)
    decoded = cached_array(
        trainer.folder / "reconstructions.npy", lambda: reconstruct(codec, pixels[: plan.reconstructed], trainer)
    )
    kind = captions.domain.reader
    reader = kind.build(SEED).to(trainer.device)
    seconds["reader"] = fit_reader(reader, [pixels, decoded], captions.scenes, plan.fits["reader"], trainer)
    network = build_text_to_velocity(captions.tokenizer, captions.domain)
    if init_from is not None:
        load_matching_weights(network, init_from)
    network.to(trainer.device)
    seconds["text"] = fit_text(network, captions, plan.fits["text"], trainer)
    seconds["transformer"] = fit_transformer(network, captions, latents, plan.fits["transformer"], trainer)
    build: Any = StableDiffusion3Pipeline  # its annotations lack None for the missing T5
    pipeline = build(
        transformer=network.transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=codec,
        text_encoder=network.text_encoder,
        tokenizer=captions.tokenizer,
        text_encoder_2=network.text_encoder_2,
        tokenizer_2=captions.tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    settings = {"vocabulary": [*captions.domain.grammar.vocabulary], "zero_tokens": 1}
    write_pipeline(trainer.folder / "model", pipeline, settings)
    kind(reader.cpu()).save(trainer.folder / "model")
    return seconds
