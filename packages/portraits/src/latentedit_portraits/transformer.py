"""The diffusion transformer of `portraits` and its two text encoders, trained jointly by rectified flow."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import SD3Transformer2DModel
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from latentedit.core.rng import seeded
from latentedit.models.attention import differentiable_attention
from latentedit_portraits.attributes import IGNORED, VALUES
from latentedit_portraits.autoencoder import CHANNELS
from latentedit_portraits.captions import CaptionStyle
from latentedit_portraits.fitting import FitSettings, Training, mixed_precision
from latentedit_portraits.reader import split_logits
from latentedit_portraits.world import PORTRAITS, World

_TEXT_WIDTH = 128
_HEADS, _HEAD_WIDTH, _LAYERS = 4, 64, 8
_ATTRIBUTE_WEIGHT = 0.02  # of reading the attributes from the pooled text, beside the velocity's squared error
_LEVEL_MEAN, _LEVEL_SPREAD = 0.7, 1.2  # of the logit of the noise levels that are trained
_ZERO_TOKENS = ((0.85, 1, 1), (0.96, 2, 16), (0.99, 64, 64), (1.0, 256, 256))
"""Cumulative probability, and the range of the number of zero tokens that stand in for the absent T5."""


class TextToVelocity(nn.Module):
    """What is trained together: two text encoders, the transformer, a head that keeps the pooled text readable."""

    def __init__(self, tokenizer: CLIPTokenizer, world: World = PORTRAITS) -> None:
        super().__init__()
        self.text_encoder = _text_encoder(tokenizer, layers=3)
        self.text_encoder_2 = _text_encoder(tokenizer, layers=4)
        width = _HEADS * _HEAD_WIDTH
        self.transformer = SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=_LAYERS,
            attention_head_dim=_HEAD_WIDTH,
            num_attention_heads=_HEADS,
            joint_attention_dim=2 * _TEXT_WIDTH,
            caption_projection_dim=width,
            pooled_projection_dim=2 * _TEXT_WIDTH,
            pos_embed_max_size=16,
            qk_norm="rms_norm",
        )
        self.attribute_head = nn.Linear(2 * _TEXT_WIDTH, sum(map(len, world.values.values())))
        _start_at_zero(self.transformer)

    def embed(self, ids: Int[Tensor, "b n"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b p"]]:
        """Tokens and pooled text exactly as the stock pipeline takes them: the last but one hidden layer."""
        outputs = [encoder(ids, output_hidden_states=True) for encoder in (self.text_encoder, self.text_encoder_2)]
        tokens = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
        pooled = torch.cat([output.text_embeds for output in outputs], dim=-1)
        return tokens, pooled


def _text_encoder(tokenizer: CLIPTokenizer, layers: int) -> CLIPTextModelWithProjection:
    build: Any = CLIPTextConfig  # token numbers are typed as optional
    config = build(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=4 * _TEXT_WIDTH,
        projection_dim=_TEXT_WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModelWithProjection(config)


def _start_at_zero(transformer: SD3Transformer2DModel) -> None:
    """Gates and output start at zero, as diffusion transformers are usually begun."""
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and (name.endswith(("norm1.linear", "norm1_context.linear", "proj_out"))):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def build_text_to_velocity(tokenizer: CLIPTokenizer, seed: int, world: World = PORTRAITS) -> TextToVelocity:
    """The untrained networks, the same for the same seed."""
    with seeded(seed):
        return TextToVelocity(tokenizer, world)


class CaptionBatches:
    """Captions of random scenes of a world, tokenized, with the attribute values that they state."""

    def __init__(
        self, tokenizer: CLIPTokenizer, attributes: Sequence[Any], device: torch.device, world: World = PORTRAITS
    ) -> None:
        self.tokenizer, self.attributes, self.device, self.world = tokenizer, attributes, device, world

    def draw(
        self, chosen: Sequence[int], generator: torch.Generator, style: CaptionStyle
    ) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b attributes"]]:
        """Token ids, and the index of each stated value (`IGNORED` where the caption is silent)."""
        seed = int(torch.randint(2**31, (1,), generator=generator))
        words = random.Random(seed)
        captions = [self.world.draw_caption(self.attributes[i], words, style) for i in chosen]
        stated = [
            [values.index(known[name]) if name in known else IGNORED for name, values in self.world.values.items()]
            for known in map(self.world.stated, captions)
        ]
        encoded = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
        return encoded.input_ids.to(self.device), torch.tensor(stated, device=self.device)


def attribute_loss(
    logits: Float[Tensor, "b values"],
    stated: Int[Tensor, "b attributes"],
    values: Mapping[str, Sequence[str]] = VALUES,
) -> Tensor:
    """Cross-entropy of the stated attributes from the pooled text."""
    losses = [
        functional.cross_entropy(part.float(), stated[:, i], ignore_index=IGNORED, reduction="sum")
        for i, part in enumerate(split_logits(logits, values))
    ]
    return torch.stack(losses).sum() / (stated >= 0).sum().clamp(min=1)


def fit_text(network: TextToVelocity, captions: CaptionBatches, settings: FitSettings, run: Training) -> float:
    """Teach the text encoders what their words mean before a picture is seen: attributes from the pooled text."""
    style = CaptionStyle(empty=0.0)
    reading = nn.ModuleList([network.text_encoder, network.text_encoder_2, network.attribute_head])

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        chosen = torch.randint(len(captions.attributes), (settings.batch,), generator=generator).tolist()
        ids, stated = captions.draw(chosen, generator, style)
        with mixed_precision(captions.device):
            _, pooled = network.embed(ids)
            logits = network.attribute_head(pooled)
        return attribute_loss(logits, stated, captions.world.values)

    return run.fit("text", reading, loss, settings)


def draw_examples(
    captions: CaptionBatches,
    latents: NDArray[np.float16],
    batch: int,
    generator: torch.Generator,
    style: CaptionStyle,
) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b attributes"], Float[Tensor, "b *latent"], Float[Tensor, "b *latent"]]:
    """What one step learns from: token ids, the values they state, clean latents, and noise for them.

    Args:
        captions: of the portraits whose latents follow, in the same order.
        latents: normalised clean latents, one a portrait.
        batch: how many portraits are drawn.
        generator: of everything drawn.
        style: of the captions.
    """
    chosen = torch.randint(len(latents), (batch,), generator=generator).tolist()
    ids, stated = captions.draw(chosen, generator, style)
    clean = torch.from_numpy(latents[chosen].astype(np.float32)).to(captions.device)
    return ids, stated, clean, torch.randn(clean.shape, generator=generator).to(captions.device)


def draw_levels(batch: int, generator: torch.Generator) -> Float[Tensor, " b"]:
    """Stratified logit-normal levels, a little noisier than SD3's, because portraits are decided at high levels."""
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
    run: Training,
) -> float:
    """Train text encoders and transformer to predict ``e - x`` from ``(1 - s) x + s e``.

    Captions and normalised clean latents ``[n, 8, 16, 16]`` are of the same portraits in the same order.
    """
    device = captions.device
    blocks = network.transformer.transformer_blocks.named_parameters()
    matrices = [item for name, item in blocks if item.ndim == 2 and ("attn" in name or "ff" in name)]
    style = CaptionStyle()

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        ids, stated, clean, noise = draw_examples(captions, latents, settings.batch, generator, style)
        s = draw_levels(settings.batch, generator).to(device)
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
        return error + _ATTRIBUTE_WEIGHT * attribute_loss(logits, stated, captions.world.values)

    with differentiable_attention():  # on a CPU the backward pass of the fused kernel is the slower one
        return run.fit("transformer", network, loss, settings, orthogonalized=matrices)
