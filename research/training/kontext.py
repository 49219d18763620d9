"""The FLUX Kontext of `portraits-kontext`, trained with its two text encoders by rectified flow.

It learns to apply an instruction to a source portrait and, without a source, to generate portraits from captions; so it
is a text-to-image model, too. An empty instruction means no change.
"""

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxTransformer2DModel
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

from latentedit import Backbone, encode, load
from latentedit.editors import VelocitySteering, make_editor
from latentedit.models import PATCH_SIDE, bundled_folder, differentiable_attention, pack, positions, unpack
from latentedit.numerics import seeded
from latentedit_drawn.render import render
from latentedit_portraits.attributes import VALUES, Attributes, draw_split
from latentedit_portraits.captions import MAX_TOKENS, draw_caption, parse
from latentedit_portraits.instructions import (
    draw_answer,
    draw_idle_instruction,
    draw_instruction,
    instruction_vocabulary,
)
from latentedit_portraits.reader import PortraitReader
from research.training.codec import CHANNELS
from research.training.data import SEED, encode_latents, render_cached, render_framed
from research.training.folder import write_pipeline
from research.training.loop import FitSettings, Plan, Trainer, mixed_precision
from research.training.sd3 import SHIFT, draw_levels, start_at_zero
from research.training.texts import (
    TEXT_WIDTH,
    attribute_loss,
    build_clip_tokenizer,
    build_t5_tokenizer,
    clip_config,
    value_indices,
)

WINDOW = 48
"""Maximum number of T5 tokens of an instruction; padding is attended to, as in FLUX."""

_WINDOWS = ((0.92, WINDOW), (0.98, 256), (1.0, 512))
"""Cumulative probability of each window in training, up to 512 tokens, the default of the stock pipeline."""

_PAD = 0  # T5's padding token
_HEAD_WIDTH = 64
_AXES = (8, 28, 28)  # widths of a head's rotary embeddings: reference, row, column
_IDLE = "nothing to do"
_INSTRUCTION_KINDS = {"one change": 1, "two at once": 2, "change nothing": 0, _IDLE: 0}  # number of changed attributes
_BATCH = 25  # portraits per batch of edits
_CAPTIONS_EVERY = 4  # every fourth step learns from captions, without a source
_ATTRIBUTE_WEIGHT = 0.02  # weight of the texts' attribute loss, relative to the velocity's squared error


class TextToFlow(nn.Module):
    """The networks that are trained together: CLIP (pooled state), T5 (tokens), transformer, attribute head of texts.

    Args:
        tokenizers: CLIP's and T5's tokenizer.
        layers: number of double and single blocks.
        heads: number of attention heads, 64 wide.
    """

    def __init__(
        self, tokenizers: tuple[CLIPTokenizer, T5Tokenizer], *, layers: tuple[int, int] = (3, 6), heads: int = 4
    ) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(clip_config(tokenizers[0], 2))
        self.text_encoder_2 = _t5(tokenizers[1])
        self.attribute_head = nn.Linear(2 * TEXT_WIDTH, sum(map(len, VALUES.values())))
        self.transformer = FluxTransformer2DModel(
            patch_size=1,
            in_channels=CHANNELS * PATCH_SIDE**2,
            num_layers=layers[0],
            num_single_layers=layers[1],
            attention_head_dim=_HEAD_WIDTH,
            num_attention_heads=heads,
            joint_attention_dim=TEXT_WIDTH,
            pooled_projection_dim=TEXT_WIDTH,
            guidance_embeds=False,
            axes_dims_rope=_AXES,
        )
        start_at_zero(self.transformer, ("norm1.linear", "norm1_context.linear", ".norm.linear"))
        start_at_zero(self.transformer.proj_out, ("",))

    def embed(
        self, clip: Int[Tensor, "b n"], t5: Int[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b p"], Float[Tensor, "b m d"]]:
        """Pooled text and tokens exactly as in the stock pipeline."""
        return self.text_encoder(clip).pooler_output, self.text_encoder_2(t5)[0]

    def requested_loss(
        self,
        texts: tuple[Float[Tensor, "b p"], Float[Tensor, "b m d"]],
        t5: Int[Tensor, "b m"],
        requested: Int[Tensor, "b attributes"],
    ) -> Float[Tensor, ""]:
        """Cross-entropy of the requested attributes, from the pooled text and the mean of T5's words."""
        pooled, tokens = texts
        words = (t5 != _PAD)[:, :, None]
        mean = (tokens * words).sum(dim=1) / words.sum(dim=1).clamp(min=1)
        return attribute_loss(self.attribute_head(torch.cat([pooled, mean], dim=-1)), requested, Attributes)

    def velocity(
        self,
        z: Float[Tensor, "b c h w"],
        s: Float[Tensor, " b"],
        texts: tuple[Float[Tensor, "b p"], Float[Tensor, "b m d"]],
        source: Float[Tensor, "b c h w"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """The velocity exactly as in the stock pipeline, with a source portrait if one is given."""
        pooled, tokens = texts
        images = [z] if source is None else [z, source]
        size = (z.shape[-2] // PATCH_SIDE, z.shape[-1] // PATCH_SIDE)
        ids = [positions(size, first=index, axes=3, device=z.device) for index in range(len(images))]
        output = self.transformer(
            hidden_states=torch.cat([pack(image) for image in images], dim=1),
            timestep=s,
            pooled_projections=pooled,
            encoder_hidden_states=tokens,
            txt_ids=tokens.new_zeros(tokens.shape[1], 3),
            img_ids=torch.cat(ids),
            return_dict=False,
        )[0]
        return unpack(output[:, : size[0] * size[1]], size)


def build_tokenizers() -> tuple[CLIPTokenizer, T5Tokenizer]:
    """CLIP's and T5's tokenizers, with one token per word of captions and instructions."""
    words = instruction_vocabulary()
    return build_clip_tokenizer(words, MAX_TOKENS), build_t5_tokenizer(words)


def build_text_to_flow(tokenizers: tuple[CLIPTokenizer, T5Tokenizer], **sizes: Any) -> TextToFlow:
    """The untrained networks, with a fixed seed; for sizes of the transformer see `TextToFlow`."""
    with seeded(SEED):
        return TextToFlow(tokenizers, **sizes)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tasks:
    """Training data: pairs of portraits for instructions, and captions of single portraits.

    Args:
        tokenizers: from `build_tokenizers`.
        attributes: attributes of sources and of answers, in pairs.
        latents: normalized latents of sources and of answers, ``[n, 8, 16, 16]`` each.
        device: device of the networks.
    """

    tokenizers: tuple[CLIPTokenizer, T5Tokenizer]
    attributes: tuple[Sequence[Attributes], Sequence[Attributes]]
    latents: tuple[NDArray[np.float16], NDArray[np.float16]]
    device: torch.device

    def draw(
        self, batch: int, generator: torch.Generator, *, instructed: bool
    ) -> tuple[list[str], Int[Tensor, "b attributes"], Float[Tensor, "b *latent"], Float[Tensor, "b *latent"] | None]:
        """Texts, the attributes that they request (`value_indices`), clean latents, and sources for instructions.

        Every pair is used in both directions.
        """
        chosen = torch.randint(len(self.latents[0]), (batch,), generator=generator).tolist()
        reverse = torch.randint(2, (batch,), generator=generator).tolist()
        words = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        pairs = list(zip(reverse, chosen, strict=True))
        clean = self._latents_of([(1 - side, index) for side, index in pairs])
        if not instructed:
            texts = [draw_caption(self.attributes[1 - side][index], words) for side, index in pairs]
            return texts, value_indices(Attributes, [parse(text) for text in texts]).to(self.device), clean, None
        changes = [(self.attributes[side][index], self.attributes[1 - side][index]) for side, index in pairs]
        texts = [draw_instruction(before, after, words) for before, after in changes]
        requested = [{name: getattr(after, name) for name in before.differences(after)} for before, after in changes]
        return texts, value_indices(Attributes, requested).to(self.device), clean, self._latents_of(pairs)

    def tokens(self, texts: list[str], window: int) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b m"]]:
        """Token ids as in the stock pipeline, T5's padded to a window."""
        return tuple(
            tokenizer(
                texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
            ).input_ids.to(self.device)
            for tokenizer, length in zip(self.tokenizers, (MAX_TOKENS, window), strict=True)
        )

    def _latents_of(self, pairs: Sequence[tuple[int, int]]) -> Float[Tensor, "b *latent"]:
        rows = np.stack([self.latents[side][index] for side, index in pairs])
        return torch.from_numpy(rows.astype(np.float32)).to(self.device)


def fit_words(network: TextToFlow, tasks: Tasks, settings: FitSettings, trainer: Trainer) -> float:
    """Pretrain the text encoders, without images: predict the attributes that texts request."""
    networks = nn.ModuleList([network.text_encoder, network.text_encoder_2, network.attribute_head])

    def loss(step: int, generator: torch.Generator) -> Tensor:
        texts, requested, *_ = tasks.draw(settings.batch_size, generator, instructed=step % 2 == 0)
        clip, t5 = tasks.tokens(texts, WINDOW)
        with mixed_precision(tasks.device):
            return network.requested_loss(network.embed(clip, t5), t5, requested)

    return trainer.fit("text", networks, loss, settings)


def flow_loss(
    network: TextToFlow, tasks: Tasks, batch: int, step: int, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Mean squared error of the predicted ``e - x`` at ``(1 - s) x + s e``, plus a small attribute loss of the texts.

    x is an answer, or a captioned portrait.
    """
    device = tasks.device
    texts, requested, clean, source = tasks.draw(batch, generator, instructed=step % _CAPTIONS_EVERY != 0)
    noise = torch.randn(clean.shape, generator=generator).to(device)
    s = draw_levels(batch, generator).to(device)
    z = torch.lerp(clean, noise, s[:, None, None, None])
    chance = float(torch.rand((), generator=generator))
    clip, t5 = tasks.tokens(texts, next(window for limit, window in _WINDOWS if chance <= limit))
    with mixed_precision(device):
        embedded = network.embed(clip, t5)
        velocity = network.velocity(z, s, embedded, source)
        attribute_error = network.requested_loss(embedded, t5, requested)
    return functional.mse_loss(velocity.float(), noise - clean) + _ATTRIBUTE_WEIGHT * attribute_error


def fit_flow(network: TextToFlow, tasks: Tasks, settings: FitSettings, trainer: Trainer) -> float:
    """Train text encoders and transformer to minimize `flow_loss`."""
    blocks = network.transformer.named_parameters()
    matrices = [item for name, item in blocks if item.ndim == 2 and "blocks" in name and "norm" not in name]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        return flow_loss(network, tasks, settings.batch_size, step, generator)

    with differentiable_attention():  # on a CPU the backward pass of the fused kernel is slower
        return trainer.fit("flow", network, loss, settings, orthogonalized=matrices)


def _t5(tokenizer: T5Tokenizer) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=TEXT_WIDTH,
        d_kv=TEXT_WIDTH // 4,
        d_ff=4 * TEXT_WIDTH,
        num_layers=3,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
    )
    return T5EncoderModel(config)


def instruction_following(model: Backbone, count: int, trainer: Trainer) -> dict[str, float]:
    """Share of test portraits in which every attribute is as in the answer, by kind of instruction.

    `VelocitySteering` applies the instructions at strength 1 with its settings for the model; the bundled classifier
    reads the attributes.

    Args:
        model: a model for instructions.
        count: number of portraits per kind of instruction.
        trainer: reports progress.
    """
    words, editor = random.Random("portraits/following"), make_editor(VelocitySteering.name, model)
    reader = PortraitReader.bundled()
    shares: dict[str, float] = {}
    for index, (kind, changes) in enumerate(_INSTRUCTION_KINDS.items()):
        sources = draw_split("test", count, seed=2 + index)
        answers = [draw_answer(source, words, changes=changes, split=None) for source in sources]
        instructions = [
            draw_idle_instruction(source, words) if kind == _IDLE else draw_instruction(source, answer, words, idle=0)
            for source, answer in zip(sources, answers, strict=True)
        ]
        right = 0
        for start in range(0, count, _BATCH):
            some = slice(start, start + _BATCH)
            latent = encode(model, [render(source) for source in sources[some]], instructed=True)
            (edited,) = editor.edit(latent, latent.embed_with_references(instructions[some]), [1.0])
            read = reader.attributes(model.decode(edited.z).clamp(-1, 1))
            right += sum(scene == answer for scene, answer in zip(read, answers[some], strict=True))
            trainer.report_progress(f"following: {kind}", start + len(latent.z), count)
        shares[kind] = right / count
    return shares


def train_kontext(trainer: Trainer, plan: Plan) -> dict[str, float]:
    """Train text encoders and transformer on pairs of equally framed portraits, and write the model.

    The codec is that of the bundled `portraits`. Training takes 1.5 hours on two cores with fast bfloat16 (AMX), and
    about five times as long on processors without AVX-512.
    """
    sources = draw_split("train", plan.images, SEED)
    words = random.Random(f"portraits/answers/{SEED}")
    attributes = sources, [draw_answer(source, words) for source in sources]
    parent = bundled_folder("portraits")
    model = load(parent, device=trainer.device)
    source, answer = (
        encode_latents(model, render_cached(name, part, render_framed, trainer), trainer, f"latents-{name}")
        for name, part in zip(("sources", "answers"), attributes, strict=True)
    )
    tokenizers = build_tokenizers()
    network = build_text_to_flow(tokenizers).to(trainer.device)
    tasks = Tasks(tokenizers=tokenizers, attributes=attributes, latents=(source, answer), device=trainer.device)
    seconds = {"text": fit_words(network, tasks, plan.fits["text"], trainer)}
    seconds["flow"] = fit_flow(network, tasks, plan.fits["flow"], trainer)
    write_kontext(trainer.folder / "model", AutoencoderKL.from_pretrained(parent, subfolder="vae"), network, tokenizers)
    return seconds


def write_kontext(
    folder: Path, codec: AutoencoderKL, network: TextToFlow, tokenizers: tuple[CLIPTokenizer, T5Tokenizer]
) -> None:
    """Write a stock diffusers folder in half precision, and our settings."""
    build: Any = FluxKontextPipeline
    pipeline = build(
        transformer=network.transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=codec,
        text_encoder=network.text_encoder,
        tokenizer=tokenizers[0],
        text_encoder_2=network.text_encoder_2,
        tokenizer_2=tokenizers[1],
    )
    write_pipeline(folder, pipeline, {"vocabulary": instruction_vocabulary(), "window": WINDOW})
