"""The FLUX Kontext of `portraits-kontext`, trained with its two text encoders by rectified flow.

It learns the answer of a source portrait and an instruction, and, without a source, portraits from captions: so it is a
text-to-image model as well. An empty instruction means no change.
"""

import random
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

from latentedit.core.rng import seeded
from latentedit.models.attention import differentiable_attention
from latentedit.models.packed import positions
from latentedit.models.patches import PATCH, pack, unpack
from latentedit_portraits.attributes import IGNORED, VALUES, Attributes
from latentedit_portraits.autoencoder import CHANNELS
from latentedit_portraits.captions import MAX_TOKENS, CaptionStyle, draw_caption, parse
from latentedit_portraits.fitting import FitSettings, Training, mixed_precision
from latentedit_portraits.instructions import draw_instruction, instruction_vocabulary
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.transformer import attribute_loss, draw_levels

WINDOW = 48
"""Tokens of T5 that an instruction needs at most; the padding is attended, as in FLUX."""

_WINDOWS = ((0.92, WINDOW), (0.98, 256), (1.0, 512))
"""Cumulative probability of each window in training: the stock pipeline pads to 512 tokens unless told otherwise."""

_PAD = 0  # T5's token
_TEXT_WIDTH = 128
_HEAD_WIDTH = 64
_AXES = (8, 28, 28)  # of a head's rotary positions: reference, row, column
_CAPTIONS_EVERY = 4  # steps, of which one learns from captions, without a source
_ATTRIBUTE_WEIGHT = 0.02  # of reading from the texts what they ask for, beside the velocity's squared error


class TextToFlow(nn.Module):
    """What is trained together: CLIP (its pooled state), T5 (its tokens), the transformer, a head that reads the texts.

    Args:
        tokenizers: of CLIP and of T5.
        layers: double and single blocks.
        heads: of 64 each.
    """

    def __init__(
        self, tokenizers: tuple[CLIPTokenizer, T5Tokenizer], *, layers: tuple[int, int] = (3, 6), heads: int = 4
    ) -> None:
        super().__init__()
        self.text_encoder = _clip(tokenizers[0])
        self.text_encoder_2 = _t5(tokenizers[1])
        self.attribute_head = nn.Linear(2 * _TEXT_WIDTH, sum(map(len, VALUES.values())))
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

    def embed(
        self, clip: Int[Tensor, "b n"], t5: Int[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b p"], Float[Tensor, "b m d"]]:
        """Pooled text and tokens exactly as the stock pipeline takes them."""
        return self.text_encoder(clip).pooler_output, self.text_encoder_2(t5)[0]

    def asked_loss(
        self,
        texts: tuple[Float[Tensor, "b p"], Float[Tensor, "b m d"]],
        t5: Int[Tensor, "b m"],
        asked: Int[Tensor, "b attributes"],
    ) -> Float[Tensor, ""]:
        """Cross-entropy of what is asked for, read from the pooled text beside the mean of T5's words."""
        pooled, tokens = texts
        words = (t5 != _PAD)[:, :, None]
        mean = (tokens * words).sum(dim=1) / words.sum(dim=1).clamp(min=1)
        return attribute_loss(self.attribute_head(torch.cat([pooled, mean], dim=-1)), asked)

    def velocity(
        self,
        z: Float[Tensor, "b c h w"],
        s: Float[Tensor, " b"],
        texts: tuple[Float[Tensor, "b p"], Float[Tensor, "b m d"]],
        source: Float[Tensor, "b c h w"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """The velocity exactly as the stock pipeline asks for it, beside a source portrait where there is one."""
        pooled, tokens = texts
        pictures = [z] if source is None else [z, source]
        size = (z.shape[-2] // PATCH, z.shape[-1] // PATCH)
        ids = [positions(size, first=index, axes=3, device=z.device) for index in range(len(pictures))]
        output = self.transformer(
            hidden_states=torch.cat([pack(picture) for picture in pictures], dim=1),
            timestep=s,
            pooled_projections=pooled,
            encoder_hidden_states=tokens,
            txt_ids=tokens.new_zeros(tokens.shape[1], 3),
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
    ) -> tuple[list[str], Int[Tensor, "b attributes"], Float[Tensor, "b *latent"], Float[Tensor, "b *latent"] | None]:
        """Texts, what they ask for, clean latents, and sources where the texts are instructions.

        What is asked for is the index of each attribute's value, `IGNORED` where the text does not settle it. Every
        pair serves in both directions.
        """
        chosen = torch.randint(len(self.latents[0]), (batch,), generator=generator).tolist()
        turned = torch.randint(2, (batch,), generator=generator).tolist()
        words = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        pairs = list(zip(turned, chosen, strict=True))
        clean = self._of([(1 - side, index) for side, index in pairs])
        if not instructed:
            style = CaptionStyle()
            texts = [draw_caption(self.attributes[1 - side][index], words, style) for side, index in pairs]
            return texts, self._indices([parse(text) for text in texts]), clean, None
        changes = [(self.attributes[side][index], self.attributes[1 - side][index]) for side, index in pairs]
        texts = [draw_instruction(before, after, words) for before, after in changes]
        asked = [{name: getattr(after, name) for name in before.differences(after)} for before, after in changes]
        return texts, self._indices(asked), clean, self._of(pairs)

    def tokens(self, texts: list[str], window: int) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b m"]]:
        """As the stock pipeline makes them, T5's padded to a window."""
        return tuple(
            tokenizer(
                texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
            ).input_ids.to(self.device)
            for tokenizer, length in zip(self.tokenizers, (MAX_TOKENS, window), strict=True)
        )

    def _indices(self, asked: Sequence[Mapping[str, str]]) -> Int[Tensor, "b attributes"]:
        rows = [
            [values.index(one[name]) if name in one else IGNORED for name, values in VALUES.items()] for one in asked
        ]
        return torch.tensor(rows, device=self.device)

    def _of(self, places: Sequence[tuple[int, int]]) -> Float[Tensor, "b *latent"]:
        rows = np.stack([self.latents[side][index] for side, index in places])
        return torch.from_numpy(rows.astype(np.float32)).to(self.device)


def fit_words(network: TextToFlow, tasks: Tasks, settings: FitSettings, run: Training) -> float:
    """Teach the text encoders what their words ask for before a picture is seen."""
    reading = nn.ModuleList([network.text_encoder, network.text_encoder_2, network.attribute_head])

    def loss(step: int, generator: torch.Generator) -> Tensor:
        texts, asked, *_ = tasks.draw(settings.batch, generator, instructed=step % 2 == 0)
        clip, t5 = tasks.tokens(texts, WINDOW)
        with mixed_precision(tasks.device):
            return network.asked_loss(network.embed(clip, t5), t5, asked)

    return run.fit("text", reading, loss, settings)


def flow_loss(
    network: TextToFlow, tasks: Tasks, batch: int, step: int, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Mean square error of the predicted ``e - x`` at ``(1 - s) x + s e``, and a little of what is read from the texts.

    x is an answer, or a captioned portrait.
    """
    device = tasks.device
    texts, asked, clean, source = tasks.draw(batch, generator, instructed=step % _CAPTIONS_EVERY != 0)
    noise = torch.randn(clean.shape, generator=generator).to(device)
    s = draw_levels(batch, generator).to(device)
    z = torch.lerp(clean, noise, s[:, None, None, None])
    chance = float(torch.rand((), generator=generator))
    clip, t5 = tasks.tokens(texts, next(window for limit, window in _WINDOWS if chance <= limit))
    with mixed_precision(device):
        embedded = network.embed(clip, t5)
        velocity = network.velocity(z, s, embedded, source)
        read = network.asked_loss(embedded, t5, asked)
    return functional.mse_loss(velocity.float(), noise - clean) + _ATTRIBUTE_WEIGHT * read


def fit_flow(network: TextToFlow, tasks: Tasks, settings: FitSettings, run: Training) -> float:
    """Train text encoders and transformer for the least `flow_loss`."""
    blocks = network.transformer.named_parameters()
    matrices = [item for name, item in blocks if item.ndim == 2 and "blocks" in name and "norm" not in name]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        return flow_loss(network, tasks, settings.batch, step, generator)

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
