"""FLUX.1 and Kontext, FLUX.2, and the families of their architecture: Chroma, Ovis-Image, LongCat-Image.

Time is s itself; the output is the velocity; latents are packed; padding of the text is attended to. FLUX.1 and FLUX.2
round time and guidance to the dtype of the network and then multiply them by 1000, which in bfloat16 moves a level by
up to 0.004. Their stock pipelines round 1000 s instead; the two differ by as much.

Source:
    Black Forest Labs 2024, FLUX.1, 2025, FLUX.1 Kontext, arXiv 2506.15742, and 2025, FLUX.2; Rock 2025, Chroma1; Ovis
    Team 2025, Ovis-Image; LongCat Team 2025, LongCat-Image, arXiv 2512.07584; all as in diffusers 0.42.1.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.models.capabilities import GuidanceKind
from latentedit.models.codec import Size
from latentedit.models.flow import PackedFlowBackbone, positions
from latentedit.models.pipelines import class_names
from latentedit.models.sites import Blocks
from latentedit.numerics.condition import Condition

REFERENCE_STEP = 10
"""Distance between the reference images of FLUX.2 on the first axis of rotary positions."""

TEXT_MARK = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands for a text in a chat."""

MANY_TOKENS = 4300
"""Levels of FLUX.2 for larger images do not depend on the number of steps."""


class FluxTransformerBackbone(PackedFlowBackbone):
    """A transformer of double and single blocks, which takes the rotary positions of text and image tokens."""

    blocks: ClassVar[tuple[Blocks, ...]] = (
        Blocks(name="double", text=0, image=1, attention=("attn",)),
        Blocks(name="single", modules="single_transformer_blocks", text=0, image=1, joined="last", attention=("attn",)),
    )
    """Both streams after each block; the attention of single blocks is joint."""

    def _predict_packed(self, tokens: Tensor, time: Tensor, condition: Condition, sizes: list[Size]) -> Tensor:
        text_positions, image_positions = self._positions(condition.tokens.shape[1], sizes, tokens.device)
        return self._network(
            hidden_states=tokens,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            txt_ids=text_positions,
            img_ids=image_positions,
            return_dict=False,
            **self._inputs(tokens, condition),
        )[0]

    def _positions(
        self, words: int, sizes: list[Size], device: torch.device
    ) -> tuple[Float[Tensor, "words axes"], Float[Tensor, "n axes"]]:
        """Rotary positions: 0 for text, ``(0, row, column)`` for the image and ``(1, row, column)`` for references."""
        ids = [positions(size, first=int(index > 0), axes=3, device=device) for index, size in enumerate(sizes)]
        return torch.zeros(words, 3, device=device), torch.cat(ids)

    def _inputs(self, tokens: Tensor, condition: Condition) -> dict[str, Any]:
        """Inputs that only some of these families have, by name: the guidance weight, unless others say more."""
        return {"guidance": self._guidance(condition, tokens)} if self._network.config.get("guidance_embeds") else {}


class FluxBackbone(FluxTransformerBackbone):
    """FLUX.1 dev, schnell and Kontext: ``v(z, s, c) = transformer(tokens of z, s, t5, clip, guidance)``.

    The text is 512 tokens of T5 (256 in schnell) and CLIP's pooled state. Dev takes its guidance weight as an input. A
    network without that input was distilled to need no guidance, unless the settings have a "guidance". The settings
    may also have a "window", the number of text tokens.
    """

    family: ClassVar[str] = "FLUX.1"
    license: ClassVar[str] = "schnell Apache-2.0; dev and Kontext non-commercial"
    pipelines: ClassVar[tuple[str, ...]] = ("FluxPipeline", "FluxKontextPipeline")
    parts: ClassVar[tuple[str, ...]] = (
        "tokenizer",
        "tokenizer_2",
        "text_encoder",
        "text_encoder_2",
        "transformer",
        "vae",
    )
    tokenizer: ClassVar[str] = "tokenizer_2"
    tokenizers: ClassVar[tuple[str, ...]] = ("tokenizer", "tokenizer_2")
    pooled_at: ClassVar[int | None] = 1
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "flowedit": {"level": "24/28", "steps": 28, "source_guidance": 1.5, "target_guidance": 5.5},
        "flowslider": {"level": "24/28", "steps": 28, "source_guidance": 1.5, "target_guidance": 5.5},
        "dnaedit": {"level": "24/28", "steps": 28, "guidance": 2.5},
        "uni-edit": {"level": "9/15", "patch": 2},
        "sdedit": {"level": "17/28", "steps": 28, "guidance": 7.0},
        "veloedit": {"steps": 6, "until": "5/6", "guidance": 2.5},
        "rf-inversion": {"steps": 28, "guidance": 3.5, "up_guidance": 0.0},
        "rf-solver": {"steps": 25, "share": 2, "guidance": 2.0},
        "fireflow": {"steps": 8, "share": 1, "guidance": 2.0},
        "stable-flow": {"steps": 50, "guidance": 3.0, "time": "end", "layers": (0, 1, 17, 18, 25, 28, 53, 54, 56)},
    }

    def __init__(self, pipeline: Any, **facts: Any) -> None:
        super().__init__(pipeline, **facts)
        self.window = int(self.defaults.get("window", 512 if self._network.config.guidance_embeds else 256))

    def _default_guidance(self) -> tuple[float, GuidanceKind]:
        """The weight in the model cards' examples: Kontext 2.5, dev 3.5; schnell takes none."""
        if not self._network.config.guidance_embeds:
            return 1.0, "cfg" if "guidance" in self.defaults else "none"
        return 2.5 if self._most_references() else 3.5, "embedded"

    def _most_references(self) -> int:
        return int("Kontext" in type(self.pipeline).__name__)

    def _inputs(self, tokens: Tensor, condition: Condition) -> dict[str, Any]:
        return {"pooled_projections": condition.pooled, **super()._inputs(tokens, condition)}


class Flux2Backbone(FluxTransformerBackbone):
    """FLUX.2 dev, klein and klein base: ``v(z, s, c) = transformer(tokens of z, s, text, guidance)``.

    Latents are patches, normalized by the statistics of the autoencoder's batch norm. The text is three layers of
    Mistral (dev) or Qwen3 (klein) concatenated, in a chat template, 512 tokens. Dev takes its guidance weight as an
    input. Klein whose pipeline says ``is_distilled`` has no guidance, unless ``settings["guidance"]`` is other than 1.
    """

    family: ClassVar[str] = "FLUX.2"
    license: ClassVar[str] = "klein 4B Apache-2.0; klein 9B and dev non-commercial"
    pipelines: ClassVar[tuple[str, ...]] = ("Flux2Pipeline", "Flux2KleinPipeline")
    text_layers: ClassVar[int] = 3
    chat: ClassVar[bool] = True
    guidance: ClassVar[float] = 4.0
    blocks: ClassVar[tuple[Blocks, ...]] = (
        Blocks(name="double", text=0, image=1),
        Blocks(name="single", modules="single_transformer_blocks", joined="last"),
    )

    @classmethod
    def stock_class(cls, kinds: Sequence[str], parts: Mapping[str, Any]) -> str:
        """Klein's text encoder is Qwen3."""
        qwen = "Qwen3ForCausalLM" in class_names(parts.get("text_encoder"))
        return "Flux2KleinPipeline" if qwen else super().stock_class(kinds, parts)

    def _default_guidance(self) -> tuple[float, GuidanceKind]:
        return (self.guidance, "embedded") if self._network.config.guidance_embeds else super()._default_guidance()

    def _most_references(self) -> int:
        return 10

    def _prefix_tokens(self, text: str) -> int:
        """The beginning of the chat, without the special tokens that the tokenizer itself would add."""
        tokenizer, system = self.pipeline.tokenizer, getattr(self.stock, "system_message", None)
        chat = [{"role": "user", "content": TEXT_MARK}]
        if system is not None:
            turns = [("system", system), ("user", TEXT_MARK)]
            chat = [{"role": role, "content": [{"type": "text", "text": words}]} for role, words in turns]
        before = tokenizer.apply_chat_template(chat, tokenize=False).partition(TEXT_MARK)[0]
        return len(self._words(before, add_special_tokens=False).input_ids) - self._words.num_special_tokens_to_add()

    def _mu(self, config: Any, tokens: int, steps: int) -> float:
        """The makers' fit: lines in tokens for 200 steps and for 10, and a line in steps through both."""
        at_200 = 0.00016927 * tokens + 0.45666666
        if tokens > MANY_TOKENS:
            return at_200
        at_10 = 8.73809524e-05 * tokens + 1.89833333
        return at_200 + (at_200 - at_10) / 190 * (steps - 200)

    def _positions(self, words: int, sizes: list[Size], device: torch.device) -> tuple[Tensor, Tensor]:
        """``(reference, row, column, word)``."""
        text = torch.zeros(words, 4, device=device)
        text[:, 3] = torch.arange(words, device=device)
        ids = [positions(size, first=REFERENCE_STEP * i, axes=4, device=device) for i, size in enumerate(sizes)]
        return text, torch.cat(ids)


class ChromaBackbone(FluxTransformerBackbone):
    """Chroma1: ``v(z, s, c) = transformer(tokens of z, s, t5, mask)``.

    The text is 512 tokens of T5, which masks the padding. The transformer gets the mask with one more token. The stock
    pipeline passes it as the numbers 1 and 0, which attention adds to its scores: the padding is attended to, e times
    less. So it is here.
    """

    family: ClassVar[str] = "Chroma"
    license: ClassVar[str] = "Apache-2.0"
    guidance: ClassVar[float] = 5.0
    pipelines: ClassVar[tuple[str, ...]] = ("ChromaPipeline",)
    mask_at: ClassVar[int | None] = 2
    blocks: ClassVar[tuple[Blocks, ...]] = (
        FluxTransformerBackbone.blocks[0],
        Blocks(name="single", modules="single_transformer_blocks", joined="last", attention=("attn",)),
    )

    def _inputs(self, tokens: Tensor, condition: Condition) -> dict[str, Any]:
        mask = tokens.new_ones(len(tokens), condition.tokens.shape[1] + tokens.shape[1])
        if condition.mask is not None:
            mask[:, : condition.tokens.shape[1]] = condition.mask.to(tokens.dtype)
        return {"attention_mask": mask}


class OvisImageBackbone(FluxTransformerBackbone):
    """Ovis-Image: ``v(z, s, c) = transformer(tokens of z, s, text)``.

    The text is the last layer of Qwen3 in a chat, 256 tokens, with zeros as padding; its tokens lie on the diagonal of
    the rotary grid of the image.
    """

    family: ClassVar[str] = "Ovis-Image"
    license: ClassVar[str] = "Apache-2.0"
    pipelines: ClassVar[tuple[str, ...]] = ("OvisImagePipeline",)
    chat: ClassVar[bool] = True
    guidance: ClassVar[float] = 5.0
    window: int = 256

    def _positions(self, words: int, sizes: list[Size], device: torch.device) -> tuple[Tensor, Tensor]:
        return _diagonal(words, device), positions(sizes[0], first=0, axes=3, device=device)


class LongCatImageBackbone(FluxTransformerBackbone):
    """LongCat-Image: ``v(z, s, c) = transformer(tokens of z, s, text)``.

    The text is the last layer of Qwen2.5-VL, 512 tokens, letter by letter in quotation marks; the chat around it does
    not count. Its tokens lie on the diagonal of the rotary grid, and the image behind the last, at 1 of the first axis.
    The stock pipeline has the text encoder rewrite a prompt first (``enable_prompt_rewrite``) and gives a guided
    velocity the norm of the conditional one (``enable_cfg_renorm``); here prompts are not rewritten, and guidance is
    affine.
    """

    family: ClassVar[str] = "LongCat-Image"
    license: ClassVar[str] = "Apache-2.0"
    pipelines: ClassVar[tuple[str, ...]] = ("LongCatImagePipeline",)
    guidance: ClassVar[float] = 4.5

    def _positions(self, words: int, sizes: list[Size], device: torch.device) -> tuple[Tensor, Tensor]:
        offset = torch.tensor([0.0, words, words], device=device)
        return _diagonal(words, device), positions(sizes[0], first=1, axes=3, device=device) + offset


def _diagonal(words: int, device: torch.device) -> Float[Tensor, "words 3"]:
    """Rotary positions ``(0, k, k)``, in float32."""
    diagonal = torch.arange(words, device=device, dtype=torch.float32)
    return torch.stack([torch.zeros_like(diagonal), diagonal, diagonal], dim=1)
