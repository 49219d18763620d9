"""The FLUX Kontext of `portraits-kontext`, trained with its two text encoders by rectified flow.

It learns the answer of a source portrait and an instruction, and, without a source, portraits from captions: so it is a
text-to-image model as well. An empty instruction means no change.
"""

import random
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

from latentedit.models.attention import differentiable_attention
from latentedit.models.packed import positions
from latentedit.models.patches import PATCH, pack, unpack
from latentedit_portraits.attributes import Attributes
from latentedit_portraits.autoencoder import CHANNELS
from latentedit_portraits.captions import MAX_TOKENS, CaptionStyle, draw_caption
from latentedit_portraits.fitting import FitSettings, Training, mixed_precision, seeded
from latentedit_portraits.instructions import draw_instruction, instruction_vocabulary
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.transformer import draw_levels

WINDOW = 48
"""Tokens of T5 that an instruction needs at most; the padding is attended, as in FLUX."""

_WINDOWS = ((0.85, WINDOW), (0.97, 256), (1.0, 512))
"""Cumulative probability of each window in training: the stock pipeline pads to 512 tokens unless told otherwise."""

_TEXT_WIDTH = 128
_HEAD_WIDTH = 64
_AXES = (8, 28, 28)  # of a head's rotary positions: reference, row, column
_CAPTIONS_EVERY = 4  # steps, of which one learns from captions, without a source


class TextToFlow(nn.Module):
    """What is trained together: CLIP (its pooled state), T5 (its tokens) and the transformer.

    Args:
        tokenizers: of CLIP and of T5.
        layers: double and single blocks.
        heads: of 64 each.
    """

    def __init__(
        self, tokenizers: tuple[CLIPTokenizer, T5Tokenizer], *, layers: tuple[int, int] = (4, 8), heads: int = 4
    ) -> None:
        super().__init__()
        self.text_encoder = _clip(tokenizers[0])
        self.text_encoder_2 = _t5(tokenizers[1])
        self.transformer = FluxTransformer2DModel(
            patch_size=1,
            in_channels=CHANNELS * PATCH**2,
            num_layers=layers[0],
            num_single_layers=layers[1],
            attention_head_dim=_HEAD_WIDTH,
            num_attention_heads=heads,
            joint_attention_dim=_TEXT_WIDTH,
            pooled_projection_dim=_TEXT_WIDTH,
            guidance_embeds=False,
            axes_dims_rope=_AXES,
        )
        for name, module in self.transformer.named_modules():  # gates and output start at zero
            if isinstance(module, nn.Linear) and name.endswith(
                ("norm1.linear", "norm1_context.linear", ".norm.linear")
            ):
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.transformer.proj_out.weight)
        nn.init.zeros_(self.transformer.proj_out.bias)

    def velocity(
        self,
        z: Float[Tensor, "b c h w"],
        s: Float[Tensor, " b"],
        clip: Int[Tensor, "b n"],
        t5: Int[Tensor, "b m"],
        source: Float[Tensor, "b c h w"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """The velocity exactly as the stock pipeline asks for it, beside a source portrait where there is one."""
        pictures = [z] if source is None else [z, source]
        size = (z.shape[-2] // PATCH, z.shape[-1] // PATCH)
        ids = [positions(size, first=index, axes=3, device=z.device) for index in range(len(pictures))]
        text = self.text_encoder_2(t5)[0]
        output = self.transformer(
            hidden_states=torch.cat([pack(picture) for picture in pictures], dim=1),
            timestep=s,
            pooled_projections=self.text_encoder(clip).pooler_output,
            encoder_hidden_states=text,
            txt_ids=text.new_zeros(text.shape[1], 3),
            img_ids=torch.cat(ids),
            return_dict=False,
        )[0]
        return unpack(output[:, : size[0] * size[1]], size)


def build_tokenizers() -> tuple[CLIPTokenizer, T5Tokenizer]:
    """CLIP's and T5's tokenizers, to both of which a word of captions and instructions is one token."""
    words = instruction_vocabulary()
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -4.0)]
    whole = [(f"\u2581{word}", -2.0) for word in words if word[0].isalnum()]
    letters = [(letter, -9.0) for letter in [*string.ascii_letters, *string.digits, *string.punctuation]]
    return build_tokenizer(words), T5Tokenizer(vocab=[*special, *whole, *letters], extra_ids=0)


def build_text_to_flow(tokenizers: tuple[CLIPTokenizer, T5Tokenizer], seed: int, **sizes: Any) -> TextToFlow:
    """The untrained networks, the same for the same seed.

    Args:
        tokenizers: from `build_tokenizers`.
        seed: of the weights.
        sizes: of the transformer, see `TextToFlow`.
    """
    with seeded(seed):
        return TextToFlow(tokenizers, **sizes)


class Tasks:
    """What is learnt from: sources with their answers, and captions of the sources.

    Args:
        tokenizers: from `build_tokenizers`.
        attributes: of sources and of answers, pair by pair.
        latents: of the same, normalised, ``[n, 8, 16, 16]`` each.
        device: of the networks.
    """

    def __init__(
        self,
        tokenizers: tuple[CLIPTokenizer, T5Tokenizer],
        attributes: tuple[Sequence[Attributes], Sequence[Attributes]],
        latents: tuple[NDArray[np.float16], NDArray[np.float16]],
        device: torch.device,
    ) -> None:
        self.tokenizers, self.attributes, self.latents, self.device = tokenizers, attributes, latents, device

    def draw(
        self, batch: int, generator: torch.Generator, *, instructed: bool
    ) -> tuple[list[str], Float[Tensor, "b *latent"], Float[Tensor, "b *latent"] | None]:
        """Texts, clean latents, and sources where the texts are instructions; every pair serves in both directions."""
        chosen = torch.randint(len(self.latents[0]), (batch,), generator=generator).tolist()
        turned = torch.randint(2, (batch,), generator=generator).tolist()
        words = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        pairs = list(zip(turned, chosen, strict=True))
        clean = self._of([(1 - side, index) for side, index in pairs])
        if not instructed:
            style = CaptionStyle()
            return [draw_caption(self.attributes[1 - side][index], words, style) for side, index in pairs], clean, None
        told = [
            draw_instruction(self.attributes[side][index], self.attributes[1 - side][index], words)
            for side, index in pairs
        ]
        return told, clean, self._of(pairs)

    def tokens(self, texts: list[str], window: int) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b m"]]:
        """As the stock pipeline makes them, T5's padded to a window."""
        return tuple(
            tokenizer(
                texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
            ).input_ids.to(self.device)
            for tokenizer, length in zip(self.tokenizers, (MAX_TOKENS, window), strict=True)
        )

    def _of(self, places: Sequence[tuple[int, int]]) -> Float[Tensor, "b *latent"]:
        rows = np.stack([self.latents[side][index] for side, index in places])
        return torch.from_numpy(rows.astype(np.float32)).to(self.device)


def velocity_error(
    network: TextToFlow, tasks: Tasks, batch: int, step: int, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Mean square error of the predicted ``e - x`` at ``(1 - s) x + s e``, x an answer or a captioned portrait."""
    device = tasks.device
    texts, clean, source = tasks.draw(batch, generator, instructed=step % _CAPTIONS_EVERY != 0)
    noise = torch.randn(clean.shape, generator=generator).to(device)
    s = draw_levels(batch, generator).to(device)
    z = torch.lerp(clean, noise, s[:, None, None, None])
    chance = float(torch.rand((), generator=generator))
    clip, t5 = tasks.tokens(texts, next(window for limit, window in _WINDOWS if chance <= limit))
    with mixed_precision(device):
        velocity = network.velocity(z, s, clip, t5, source)
    return functional.mse_loss(velocity.float(), noise - clean)


def fit_flow(network: TextToFlow, tasks: Tasks, settings: FitSettings, run: Training) -> float:
    """Train text encoders and transformer for the least `velocity_error`."""
    blocks = network.transformer.named_parameters()
    matrices = [item for name, item in blocks if item.ndim == 2 and "blocks" in name and "norm" not in name]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        return velocity_error(network, tasks, settings.batch, step, generator)

    with differentiable_attention():  # on a CPU the backward pass of the fused kernel is the slower one
        return run.fit("flow", network, loss, settings, orthogonalized=matrices)


def _clip(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    build: Any = CLIPTextConfig  # token numbers are typed as optional
    config = build(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=4 * _TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def _t5(tokenizer: T5Tokenizer) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=_TEXT_WIDTH,
        d_kv=_TEXT_WIDTH // 4,
        d_ff=4 * _TEXT_WIDTH,
        num_layers=3,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
    )
    return T5EncoderModel(config)
