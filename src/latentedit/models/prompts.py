"""Text as the stock pipeline of a family reads it: by its own ``encode_prompt``, around the same parts.

Texts are embedded one at a time, since several families pad to the longest of a batch. A family says how it calls
``encode_prompt``, how many tokens its network is given, and how texts of different lengths go together.
"""

import dataclasses
import functools
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.models.codec import Codec
from latentedit.models.libraries import quiet_libraries, stock_pipeline
from latentedit.models.loading import ModelFolder, computing
from latentedit.models.network import NetworkBackbone
from latentedit.models.notes import dropped_note, dropped_words, room, unseen_note
from latentedit.models.text_cache import TextCache, cache_folder

EncodedPrompt = tuple[Float[Tensor, "1 n d"], Float[Tensor, "1 p"] | None, Bool[Tensor, "1 n"] | None]
"""One text as a stock pipeline gives it: tokens, pooled part and mask of the tokens that are attended to."""

_TOKENIZING = threading.RLock()
"""How a tokenizer pads and cuts is its own state while it works, and models may share one: threads take turns."""


class PromptBackbone(NetworkBackbone):
    """A backbone of a text-to-image pipeline of diffusers: its text encoders and autoencoder as they are."""

    _codec: Codec

    windows: ClassVar[Literal["exact", "masked", "equal"]] = "exact"
    """How texts of different lengths go together: all have one fixed length, of which the padding is part, and a mask
    goes to the network as it is; padding is masked in the network; or the network knows no mask, and texts of one
    length only go through it together."""

    window: int = 512
    """Most tokens of a text that the network is given."""

    tokenizer: ClassVar[str] = "tokenizer"
    """The part whose tokens the window counts."""

    prompt_pipeline: ClassVar[str] = ""
    """The class whose ``encode_prompt`` reads texts, where all pipelines of the family have the same one; else it is
    that of the pipeline itself."""

    _texts: TextCache | None = None
    """Of models whose files are known; a live pipeline may change under our hands."""

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c lh lw"]:
        """The mode of the autoencoder's posterior, normalised as the network wants it.

        Raises:
            ShapeError: not [b, 3, h, w], or sides that do not fit the network.
            DeviceError: on another device.
        """
        self._check_pixels(pixels)
        with self._graph(pixels), computing(self.name):
            return self._codec.encode(pixels)

    def decode(self, z: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b 3 h w"]:
        """The autoencoder's picture of clean latents."""
        self._check_latents(z)
        self._check_device(z)
        with self._graph(z), computing(self.name):
            return self._codec.decode(z)

    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as the stock pipeline embeds them, in float32 or better, padded to the window where it masks padding.

        Raises:
            ConfigError: no text at all.

        Cost:
            One forward pass of the text encoders a text, none where `TextCache` has it; no network evaluation.
        """
        if not texts:
            raise ConfigError(
                "there is no text to embed. Give at least one text; the empty one, '', is the unconditional one"
            )
        with _TOKENIZING, torch.no_grad(), quiet_libraries():
            return Condition.cat([self._padded(*self._read(text)) for text in texts])

    @classmethod
    def _build_from(cls, folder: ModelFolder, components: Mapping[str, Any], **settings: Any) -> Any:
        made = super()._build_from(folder, components, **settings)
        made._texts = made._text_cache(folder)
        return made

    def _text_cache(self, folder: ModelFolder) -> TextCache | None:
        parts = folder.parts.keys() - {self.denoiser, "vae", "scheduler"}
        sizes = (file.stat().st_size for part in parts & folder.weights.keys() for file in folder.weights[part])
        place = cache_folder(sum(sizes))
        if place is None:
            return None
        files = {part: [file for file in sorted(folder.place(part).rglob("*")) if file.is_file()] for part in parts}
        return TextCache(
            place,
            encoders=folder.fingerprint_with(files),
            dtype=str(self.network_dtype),
            device=self.device.type,
            pipeline=self._pipeline,
            configuration=self._configuration,
            adapter=type(self).__qualname__,
            window=self.window,
            widths=self._widths,
            versions=[version(package) for package in ("latentedit", "diffusers", "transformers")],
        )

    def _read(self, text: str) -> EncodedPrompt:
        """One text, from the cache where it is there."""
        kept = None if self._texts is None else self._texts.read(text)
        if kept is None:
            self._make_room()
            with computing(self.name):
                kept = self._encode_prompt(text)
            if self._texts is not None:
                self._texts.write(text, kept)
        return kept

    def _make_room(self) -> None:
        """A denoiser that is offloaded as a whole leaves the device to the text encoders.

        Accelerate's hooks only know the order of sampling, in which no text is read after the denoiser was asked.
        """
        hook: Any = getattr(self._network, "_hf_hook", None)
        if hasattr(hook, "prev_module_hook"):
            hook.init_hook(self._network)

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        """One text, by `stock`."""
        raise NotImplementedError(f"{type(self).__name__} has neither _encode_prompt nor embed")

    @functools.cached_property
    def stock(self) -> Any:
        """The stock pipeline around the same parts: it embeds text."""
        return self._stock_pipeline(self.prompt_pipeline or self._pipeline)

    def _stock_pipeline(self, kind: str) -> Any:
        """A pipeline of diffusers around the same parts, without a scheduler. Nothing is copied."""
        return stock_pipeline(kind, self._components, self._configuration)

    def _padded(self, tokens: Tensor, pooled: Tensor | None, mask: Tensor | None) -> Condition:
        if self.windows != "exact":
            tokens = tokens if mask is None else tokens[:, mask[0].to(torch.bool)]
            length = tokens.shape[1]
            tokens = functional.pad(tokens, (0, 0, 0, self.window - length))
            mask = (torch.arange(self.window, device=self.device) < length)[None]
        return Condition(
            tokens=tokens.to(self.device, self.dtype),
            pooled=(tokens.new_zeros(1, 0) if pooled is None else pooled).to(self.device, self.dtype),
            mask=None if mask is None else mask.to(self.device),
        )

    def _calls(self, condition: Condition) -> Sequence[Tensor]:
        if self.windows != "equal" or condition.mask is None:
            return ()
        lengths = condition.mask.sum(1)
        return [torch.nonzero(lengths == length)[:, 0] for length in lengths.unique().tolist()]

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """Words dropped for length, and words that training never showed, as sentences."""
        vocabulary = self._vocabulary()
        with _TOKENIZING:
            notes = [note for text in texts for note in (*self._dropped_notes(text), *unseen_note(text, vocabulary))]
        return list(dict.fromkeys(notes))

    def _dropped_notes(self, text: str) -> list[str]:
        """What is not read of a text for its length, as sentences."""
        tokenizer, window = self._words, self.window - self._prefix_tokens(text)
        return dropped_note(dropped_words(tokenizer, text, window), room(tokenizer, window))

    @property
    def _words(self) -> Any:
        """The tokenizer; that of a processor, where the part reads pictures too."""
        part = self._components[self.tokenizer]
        return getattr(part, "tokenizer", part)

    def _prefix_tokens(self, text: str) -> int:
        """How many tokens of the window the pipeline puts before a text, beside the tokenizer's own marks."""
        del text
        return 0


def cut(condition: Condition, length: int) -> Condition:
    """The first tokens of a condition that has a mask; without the mask where it would say nothing."""
    assert condition.mask is not None
    mask = condition.mask[:, :length]
    return dataclasses.replace(condition, tokens=condition.tokens[:, :length], mask=None if bool(mask.all()) else mask)
