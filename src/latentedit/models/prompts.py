"""Text as the stock pipeline of a family embeds it, by its own ``encode_prompt``, and the words that it leaves out.

Texts are embedded one at a time, since several families pad to the longest of a batch. A family says how it calls
``encode_prompt``, how many tokens its network takes, and how texts of different lengths are batched.
"""

import bisect
import dataclasses
import functools
import inspect
import itertools
import re
import threading
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional

from latentedit.core.errors import ConfigError, LatentEditError, ModelError, warn
from latentedit.models.base import Text, TextReader
from latentedit.models.codec import Codec
from latentedit.models.libraries import quiet_libraries
from latentedit.models.network import LATENT_CHANNELS, NetworkBackbone, check_sizes
from latentedit.numerics.condition import Condition

EncodedPrompt = tuple[Float[Tensor, "1 n *d"], Float[Tensor, "1 p"] | None, Shaped[Tensor, "1 n"] | None]
"""One text as a stock pipeline embeds it: tokens, pooled text, and the mask of tokens that are attended to."""

# Tokenizers have padding and truncation as state, and models may share one: threads take turns.
_TOKENIZING = threading.RLock()


class PromptBackbone(NetworkBackbone):
    """A backbone on a text-to-image pipeline, with its text encoders and VAE."""

    parts: ClassVar[tuple[str, ...]] = ("tokenizer", "text_encoder", "transformer", "vae")
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "exact"
    """How texts of different lengths are batched. "exact": all have one fixed length that includes padding, and the
    mask goes to the network as it is. "masked": the network masks padding. "equal": the network has no mask, so only
    texts of equal length share a call."""

    window: int = 512
    """Largest number of text tokens that the network takes."""

    tokenizer: ClassVar[str] = "tokenizer"
    """The part whose tokens the window counts."""

    tokenizers: ClassVar[tuple[str, ...]] = ()
    """Those of text encoders with texts of their own, ``prompt``, ``prompt_2``, ... of ``encode_prompt``; or none."""

    pooled_at: ClassVar[int | None] = None
    """Which of the results of ``encode_prompt`` is the pooled text; the tokens come first."""

    mask_at: ClassVar[int | None] = None
    """Which is the mask of tokens that are attended to."""

    text_layers: ClassVar[int] = 1
    """Layers of the text encoder that are concatenated to one token."""

    def __init__(self, pipeline: Any, **facts: Any) -> None:
        super().__init__(pipeline, **facts)
        self._codec = Codec(pipeline.vae, torch.promote_types(self._network_dtype, torch.float32))

    def _check_fit(self, *, text: int, channels: int) -> None:
        """Check that text encoder and VAE have the text width and latent channels that the transformer takes."""
        encoder = getattr(self.pipeline, re.sub("tokenizer|processor", "text_encoder", self.tokenizer))
        check_sizes("text width", text, self.text_layers * int(encoder.config.get_text_config().hidden_size))
        check_sizes(LATENT_CHANNELS, channels, self._codec.channels)

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c lh lw"]:
        """The mode of the VAE's posterior, normalized as the network takes it."""
        self._check_pixels(pixels)
        with self._running(pixels):
            return self._codec.encode(pixels)

    def decode(self, z: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b 3 h w"]:
        """The VAE's image of clean latents."""
        self._check_latents(z)
        self._check_device(z)
        with self._running(z):
            return self._codec.decode(z)

    def embed(self, texts: Sequence[Text]) -> Condition:
        """Texts as the stock pipeline embeds them, in float32 or better, padded to the window if masked.

        A `LatentEditWarning` names the words of a string that an encoder drops.
        """
        if not texts:
            raise ConfigError(
                "there is no text to embed. Give at least one text; the empty one, '', is the unconditional one"
            )
        warn(itertools.chain(*(self.dropped_notes(text) for text in texts if text and isinstance(text, str))))
        with _TOKENIZING, self._at_work(), torch.no_grad(), quiet_libraries():
            return Condition.cat([self._padded(*self._read(text)) for text in texts])

    def _read(self, text: Text) -> EncodedPrompt:
        """Embed one text; a denoiser under model offloading first leaves the device to the text encoders.

        Accelerate's hooks know the order of sampling only, in which no text follows the denoiser.
        """
        hook: Any = getattr(self._network, "_hf_hook", None)
        if hasattr(hook, "prev_module_hook"):
            hook.init_hook(self._network)
        first, *others = (text,) if isinstance(text, str) else text
        for one in (first, *others):
            self._check_ids(one)
        try:
            return self._encode_prompts(first, *others) if others else self._encode_prompt(first)
        except (LatentEditError, torch.OutOfMemoryError):
            raise
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
            kinds = ", ".join(type(part).__name__ for name, part in self._networks.items() if "text" in name)
            raise ModelError(
                f"{type(self.stock).__name__} cannot embed text by the encoders of {self.name} ({kinds}): {error}. "
                "Load them as the classes that the model's own folder names, and without sequential offloading"
            ) from error

    def _check_ids(self, text: str) -> None:
        """Check that each tokenizer's ids and positions of a text are among the rows of its encoder's tables."""
        for part, one in self._networks.items():
            if not part.startswith("text_encoder"):
                continue
            network, own = cast("Any", one), part.replace("text_encoder", "tokenizer")
            tokenizer = getattr(self.pipeline, own if own in self.parts else self.tokenizer)
            words: Any = getattr(tokenizer, "tokenizer", tokenizer)
            if "CLIP" in type(network).__name__:  # which pipelines pad to the tokenizer's length
                length, positions = int(words.model_max_length), int(network.config.max_position_embeddings)
                if length > positions:
                    raise ModelError(
                        f"model_max_length of a tokenizer of {self.name} is {length:,}, beyond the {positions:,} "
                        f"positions of its {part}. Use the tokenizer and the text encoder of one model"
                    )
            rows = len(network.get_input_embeddings().weight)
            if (most := max([*words(text, verbose=False).input_ids, words.pad_token_id or 0])) >= rows:
                raise ModelError(
                    f"a tokenizer of {self.name} gives the id {most}, beyond the {rows} rows of its {part}. Use the "
                    "tokenizer and the text encoder of one model"
                )

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        """Embed one text with `stock`."""
        return self._encode_prompts(text)

    def _encode_prompts(self, text: str, *others: str) -> EncodedPrompt:
        """Embed a text with `stock`; ``others`` are those for the second and third of `tokenizers`."""
        results = self._stock_prompt(text, **{f"prompt_{number}": one for number, one in enumerate(others, start=2)})
        pooled, mask = (None if index is None else results[index] for index in (self.pooled_at, self.mask_at))
        return results[0], pooled, mask

    def _stock_prompt(self, text: str, **more: Any) -> Any:
        """The results of ``encode_prompt`` for one text without guidance, with the arguments that it has."""
        arguments = {
            "device": self.device,
            "max_sequence_length": self.window,
            "do_classifier_free_guidance": False,
            "num_images_per_prompt": 1,
            "prompt_2": None,
            "prompt_3": None,
            **more,
        }
        taken = inspect.signature(self.stock.encode_prompt).parameters
        return self.stock.encode_prompt(text, **{name: arguments[name] for name in taken if name in arguments})

    @functools.cached_property
    def stock(self) -> Any:
        """The pipeline whose ``encode_prompt`` embeds text."""
        return self.pipeline

    def _padded(self, tokens: Tensor, pooled: Tensor | None, mask: Tensor | None) -> Condition:
        if self.windows != "exact":
            tokens = tokens if mask is None else tokens[:, mask[0].to(torch.bool)]
            length = tokens.shape[1]
            tokens = functional.pad(tokens, (0, 0, 0, self.window - length))
            mask = (torch.arange(self.window, device=self.device) < length)[None]
        if self._widths is not None and tokens.shape[-1] != self._widths[0]:
            raise ModelError(
                f"a token of text has {tokens.shape[-1]} features, and the denoiser takes {self._widths[0]}. Use the "
                "text encoder classes that the model's own folder names"
            )
        return Condition(
            tokens=tokens.to(self.device, self.dtype),
            pooled=(tokens.new_zeros(1, 0) if pooled is None else pooled).to(self.device, self.dtype),
            mask=None if mask is None else mask.to(self.device, torch.bool),
        )

    def _calls(self, condition: Condition) -> Sequence[Tensor]:
        if self.windows != "equal" or condition.mask is None:
            return ()
        lengths = condition.mask.sum(1)
        return [torch.nonzero(lengths == length)[:, 0] for length in lengths.unique().tolist()]

    def unseen_words(self, text: str) -> list[str]:
        """The words of a text with pieces outside the "vocabulary" of the settings."""
        return [] if self._vocabulary is None else [*unseen_words(text, self._vocabulary)]

    @functools.cached_property
    def _vocabulary(self) -> frozenset[str] | None:
        words = self.defaults.get("vocabulary")
        return None if words is None else word_pieces(words)

    @property
    def text_readers(self) -> tuple[TextReader, ...]:
        """One for each of `tokenizers`, or one for all."""
        return tuple(
            TextReader(
                name=name, room=room(words, self._length(part, "")), reads=functools.partial(self._reads, part, words)
            )
            for part, name, words in self._tokenizers()
        )

    def dropped_notes(self, text: str) -> list[str]:
        """Sentences about words that no text encoder reads, and words that only some of several read."""
        with _TOKENIZING:
            dropped = {
                name: (dropped_words(words, text, length := self._length(part, text)), room(words, length))
                for part, name, words in self._tokenizers()
            }
        by_all, most = min(dropped.values(), key=lambda one: len(one[0]))
        partly = {name: one for name, one in dropped.items() if len(one[0]) > len(by_all)}
        others = " and ".join(name for name in dropped if name not in partly)
        notes = [
            f"{listed(words[: len(words) - len(by_all)])} read by {others} only: {name} reads {tokens} tokens"
            for name, (words, tokens) in partly.items()
        ]
        return notes + ([f"{listed(by_all)} dropped: the text encoder reads {most} tokens"] if by_all else [])

    def _tokenizers(self) -> list[tuple[str, str, Any]]:
        """The part of each of `tokenizers`, the kind of its encoder and the tokenizer itself."""
        if not self.tokenizers:
            return [(self.tokenizer, "the text encoder", self._words)]
        encoders = [(part, self._networks.get(part.replace("tokenizer", "text_encoder"))) for part in self.tokenizers]
        return [
            (part, _KIND.split(type(encoder).__name__)[0], getattr(self.pipeline, part))
            for part, encoder in encoders
            if encoder is not None
        ]

    def _length(self, part: str, text: str) -> int:
        """How many tokens of a text, and special ones, an encoder takes."""
        if part == self.tokenizer:
            return self.window - self._prefix_tokens(text)
        return int(getattr(self.pipeline, part).model_max_length)

    def _reads(self, part: str, words: Any, text: str) -> bool:
        with _TOKENIZING:
            tokens = words(text, add_special_tokens=False, verbose=False).input_ids
            return len(tokens) <= room(words, self._length(part, text))

    @property
    def _words(self) -> Any:
        """The tokenizer, or that of a processor of images and text."""
        part = getattr(self.pipeline, self.tokenizer)
        return getattr(part, "tokenizer", part)

    def _prefix_tokens(self, text: str) -> int:
        """Number of tokens of the window that the pipeline's template takes."""
        return 0


def truncated(condition: Condition, length: int) -> Condition:
    """The first tokens of a condition that has a mask; without the mask if all of them count."""
    assert condition.mask is not None
    mask = condition.mask[:, :length]
    return dataclasses.replace(condition, tokens=condition.tokens[:, :length], mask=None if bool(mask.all()) else mask)


_PIECE = re.compile(r"[^\W\d_]+|\d")
_KIND = re.compile(r"(?<=[A-Z0-9])(?=[A-Z][a-z])")  # behind the CLIP of CLIPTextModel
_PUNCTUATION = ",.;:!?\"'()"


def room(tokenizer: Any, length: int) -> int:
    """The number of tokens left for the text itself."""
    return length - int(tokenizer.num_special_tokens_to_add())


def tokens_before(tokenizer: Any, prefix: str, text: str) -> int:
    """How many tokens a prefix adds to a text; a space between them may join the next word."""
    joined, alone = (len(tokenizer(part, add_special_tokens=False).input_ids) for part in (prefix + text, text))
    return joined - alone


def dropped_words(tokenizer: Any, text: str, length: int) -> list[str]:
    """The words of a text that lose a token or more when it is cut to ``length`` tokens."""

    def tokens(end: int) -> int:
        return len(tokenizer(text[:end], add_special_tokens=False, verbose=False).input_ids)

    ends = [0, *(word.end() for word in re.finditer(r"\S+", text))]
    kept = bisect.bisect_right(ends, room(tokenizer, length), lo=1, key=tokens)
    return _bare(text[ends[kept - 1] :].split())


def _bare(words: Sequence[str]) -> list[str]:
    """Words without punctuation around them."""
    return [bare for word in words if (bare := word.strip(_PUNCTUATION))]


def word_pieces(words: Sequence[str]) -> frozenset[str]:
    """Runs of letters and single digits in lower case, the units that CLIP's tokenizer splits text into."""
    return frozenset(piece for word in words for piece in _PIECE.findall(word.lower()))


@functools.lru_cache(maxsize=1024)
def unseen_words(text: str, vocabulary: frozenset[str]) -> tuple[str, ...]:
    """The words of a text with pieces outside the vocabulary of training."""
    if word_pieces((text,)) <= vocabulary:
        return ()
    words = (word.strip(_PUNCTUATION) for word in text.split())
    return tuple(word for word in dict.fromkeys(words) if not word_pieces([word]) <= vocabulary)


def listed(words: Sequence[str]) -> str:
    """``the word 'a' was`` or ``the words 'a', 'b' were``."""
    quoted = ", ".join(repr(word) for word in words)
    return f"the word {quoted} was" if len(words) == 1 else f"the words {quoted} were"
