"""Joint attention of a Stable Diffusion 3 or FLUX.1 pipeline to the phrases of a caption."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from latentedit import Backbone
from latentedit.core import ConfigError, ModelError
from latentedit.models import FluxBackbone, StableDiffusion3Backbone
from latentedit.numerics import draw, level_batch


@torch.no_grad()
def phrase_attention(
    model: Backbone,
    z: Float[Tensor, "images c h w"],
    caption: str,
    phrases: Sequence[str],
    *,
    levels: Sequence[float] = (0.5,),
    seed: int = 0,
) -> tuple[
    Float[Tensor, "images phrases levels layers positions"], Float[Tensor, "images phrases levels layers width"]
]:
    """Attention from image positions to each phrase of a caption, in every joint attention layer, at noise levels.

    The measure is that of the experiment "attention-probe", at every position instead of averaged over 8 x 8 places.
    Layers are those of ``model.attention_layers``, without any ".self".

    Args:
        model: Stable Diffusion 3 or FLUX.1, as `latentedit.from_pipeline` gives it.
        z: clean latents of images with this caption, as ``model.encode`` gives them.
        phrases: words of the caption; see `phrase_positions`, also for errors.
        levels: noise levels, in [0, 1].
        seed: random seed of the noise, which is the same at all levels and differs between images of one call.

    Returns:
        Weights, the share of a phrase's tokens among all text tokens (padding included), averaged over heads; and the
        mean of the values of its tokens, with heads concatenated. Both are float32 on the CPU.

    Raises:
        ModelError: attention that PyTorch's own function does not compute.

    Cost: one evaluation for each image and level, without guidance.
    """
    positions, text = phrase_positions(model, caption, phrases), model.embed([caption])
    with _JointAttention(model, text.tokens.shape[1], positions) as attention:
        for index, one in enumerate(z):
            noise = draw(one.shape, seed=seed, purpose="phrase attention", index=index).to(one)
            for level in levels:
                x = ((1 - level) * one + level * noise)[None]
                model.velocity(x, level_batch(level, x), text)
    if attention.calls != (expected := len(z) * len(levels) * len(model.attention_layers)):
        ran = f"PyTorch's scaled_dot_product_attention ran {attention.calls} times in {model.name}, not {expected}"
        raise ModelError(f"{ran}. Give a pipeline that is not compiled and has the attention backend 'native'")
    shape, kept = (len(z), len(levels), sum(attention.is_joint)), (attention.weights, attention.values)
    weights, values = (torch.stack(parts).cpu().unflatten(0, shape).movedim(3, 1) for parts in kept)
    return weights, values


def phrase_positions(model: Backbone, caption: str, phrases: Sequence[str]) -> list[list[int]]:
    """The positions of each phrase's tokens among the network's text tokens, for all occurrences as whole words.

    Raises:
        ConfigError: a phrase that is not in the caption, or that a text encoder does not read to its end.
        ModelError: a model of another family.
    """
    found = [set[int]() for _ in phrases]
    for name, tokenizer, length, first in _readers(model):
        offsets = tokenizer(caption, return_offsets_mapping=True, verbose=False).offset_mapping
        for phrase, positions in zip(phrases, found, strict=True):
            spans = [match.span() for match in re.finditer(rf"(?<!\w){re.escape(phrase)}(?!\w)", caption)]
            tokens = [i for i, (a, b) in enumerate(offsets) if any(a < end and start < b for start, end in spans)]
            if not tokens:
                raise ConfigError(f"the phrase {phrase!r} is not in the caption. Give words as they stand in it")
            if tokens[-1] >= length - 1:  # the last token that it reads is the end of the text
                raise ConfigError(f"{name} reads {length} tokens, not all of {phrase!r}. Shorten the caption before it")
            positions.update(first + token for token in tokens)
    return [sorted(positions) for positions in found]


def _readers(model: Backbone) -> list[tuple[str, Any, int, int]]:
    """Name, tokenizer, number of tokens and first position of each text encoder whose tokens are attended to."""
    if isinstance(model, FluxBackbone):
        return [("T5", model.pipeline.tokenizer_2, model.window, 0)]
    if not isinstance(model, StableDiffusion3Backbone):
        raise ModelError(f"{model.name} has other text tokens than Stable Diffusion 3 and FLUX.1. Use one of these")
    pipeline, length = model.pipeline, int(model.pipeline.tokenizer_max_length)
    clips = [("CLIP", tokenizer, length, 0) for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2)]
    return clips + ([("T5", pipeline.tokenizer_3, model.window, length)] if pipeline.text_encoder_3 is not None else [])


class _JointAttention(TorchFunctionMode):
    """Keeps, of every pass with one image, what each layer with text holds of phrases; SD3.5 Medium has others too."""

    def __init__(self, model: Backbone, n: int, phrases: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.phrases, self.weights, self.values, self.calls = phrases, list[Tensor](), list[Tensor](), 0
        self.is_joint = [not name.endswith(".self") for name in model.attention_layers]
        flux = isinstance(model, FluxBackbone)  # whose text comes first; it has ``n`` tokens
        self.text, self.image = (slice(n), slice(n, None)) if flux else (slice(-n, None), slice(-n))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            if self.is_joint[self.calls % len(self.is_joint)]:
                self._keep(**dict(zip(("query", "key", "value"), args, strict=False)), **(kwargs or {}))
            self.calls += 1
        return func(*args, **(kwargs or {}))

    def _keep(self, query: Tensor, key: Tensor, value: Tensor, **_: Any) -> None:
        shown, text, values = query[0, :, self.image].float(), key[0, :, self.text].float(), value[0, :, self.text]
        weights = (shown @ text.mT * query.shape[3] ** -0.5).softmax(-1).mean(0)
        self.weights.append(torch.stack([weights[:, some].sum(1) for some in self.phrases]))
        self.values.append(torch.stack([values[:, some].float().mean(1).flatten() for some in self.phrases]))
