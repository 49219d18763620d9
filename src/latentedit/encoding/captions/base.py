"""Captioners, which describe an image where the user does not, and their registry."""

import abc
import pkgutil
import re
import textwrap
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.errors import CaptionError, ConfigError, ModelError, RegistryError
from latentedit.core.files import user_path
from latentedit.core.plugins import CAPTIONERS, require
from latentedit.encoding.captions.change import Change, change_words, changed_phrases
from latentedit.encoding.captions.completion import DESCRIBE_BOTH, REQUEST, Completion, append_answer, append_omitted
from latentedit.models.base import Backbone

INSTRUCTION = (
    "Describe this image in one sentence of the form 'a ... with ..., ..., ...'. Begin with the main subject, then "
    "name every visible attribute of it and of the background, each in a short phrase of its own between commas. "
    "Answer with that sentence alone, without a preamble and without quotation marks."
)  # edits replace the phrases between commas

_ENDPOINT = "openai:"
_FORMS = f"Use one of those, {_ENDPOINT}MODEL for an endpoint, or a folder or hub id (org/name) of a model"
_BOTH = re.compile(r"SOURCE:(.+?)TARGET:(.+)", re.DOTALL)
_SHOWN = 80  # letters of an answer in an error
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}


class Captioner(abc.ABC):
    """Images to captions in the words that the model was trained on.

    Laws:
        1. ``caption(pixels)[i]`` equals ``caption(pixels[i : i + 1])[0]``.
        2. ``caption`` is deterministic.
    """

    @abc.abstractmethod
    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        """One full caption per image; pixels at the model's size, in [-1, 1]."""

    def examples(self, count: int) -> list[str]:
        """Up to ``count`` different captions in its style, always the same; none by default."""
        return []

    def complete(self, pixels: Float[Tensor, "b 3 h w"], pairs: Sequence[tuple[str, str]]) -> list[Completion]:
        """Each image's source and target caption with what they omit, see `completion`; one description per image."""
        described = self.caption(pixels)
        return [append_omitted(*pair, text) for pair, text in zip(pairs, described, strict=True)]

    def describe_both(self, pixels: Float[Tensor, "b 3 h w"], request: str) -> list[Completion]:
        """Source and target caption of each image, for an edit requested in words; a `ConfigError` by default."""
        raise ConfigError(
            f"{getattr(self, 'name', type(self).__name__)} describes images, and follows no request. Use a model that "
            "chats as the captioner, such as openai:MODEL, or give a `change` instead of an `instruction`"
        )

    def change(self, caption: str, change: Change) -> str:
        """The caption with a change made as in any text, or a `ConfigError`; captioners with a grammar override it."""
        return change.apply(caption)


class PromptedCaptioner(Captioner):
    """A captioner that answers prompts about an image."""

    @abc.abstractmethod
    def answer(self, image: Image.Image, prompt: str) -> str:
        """The answer to a prompt, not empty."""

    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        return [clean_caption(self.answer(image, INSTRUCTION)) for image in to_images(pixels)]

    def complete(self, pixels: Float[Tensor, "b 3 h w"], pairs: Sequence[tuple[str, str]]) -> list[Completion]:
        """Each pair by one answer."""
        return [
            append_answer(source, target, self.answer(image, REQUEST.format(source=source, target=target)))
            for image, (source, target) in zip(to_images(pixels), pairs, strict=True)
        ]

    def describe_both(self, pixels: Float[Tensor, "b 3 h w"], request: str) -> list[Completion]:
        """Each pair by one answer; a `CaptionError` without two captions. A note says if several phrases differ."""
        return [self._both(self.answer(one, DESCRIBE_BOTH.format(request=request))) for one in to_images(pixels)]

    def _both(self, answer: str) -> Completion:
        found = _BOTH.search(answer)
        source, target = (clean_caption(text.strip("* \n")) for text in (found.groups() if found else ("", "")))
        old, new = changed_phrases(source, target)
        if not (source and target and (old or new)):
            raise CaptionError(
                f"{getattr(self, 'name', type(self).__name__)} wrote no two different captions: "
                f"{shortened(answer, _SHOWN)!r}. Give a `change`, or `source_prompt` and `prompt`"
            )
        several = f"the captioner changed several phrases: {change_words(source, target)!r}"
        return Completion(source=source, target=target, notes=(several,) if max(len(old), len(new)) > 1 else ())


class AttributeReader(Captioner):
    """A captioner that can also read an image attribute by attribute."""

    @abc.abstractmethod
    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[dict[str, str]]:
        """Attribute to value, one dictionary an image; pixels at the model's size, in [-1, 1]."""

    def read_surely(self, pixels: Float[Tensor, "b 3 h w"]) -> list[dict[str, str]]:
        """`read` without the values of which the reader is not sure; all of them by default."""
        return self.read(pixels)

    def stated(self, caption: str) -> Mapping[str, str] | None:
        """The attributes that a caption states, with their values; None from a reader that reads no captions."""
        return None


def make_captioner(name: str, backbone: Backbone) -> Captioner:
    """The captioner of that name, for the images of a model.

    It is an entry point of ``latentedit.captioners`` ("portraits"); ``openai:MODEL``, a model behind an endpoint like
    OpenAI's; or the folder or hub id (``org/name`` or ``org/name@revision``) of an image-to-text model of transformers.
    """
    if name in CAPTIONERS.points():
        return CAPTIONERS.make(name, Captioner, backbone)
    if name.startswith(_ENDPOINT):
        require("openai", "openai")
        made = pkgutil.resolve_name("latentedit.encoding.captions.endpoint:VisionEndpoint")
        return made(name.removeprefix(_ENDPOINT))
    if "/" in name or (name and user_path(name, error=ModelError).is_dir()):
        made = pkgutil.resolve_name("latentedit.encoding.captions.image_text:ImageToText")
        return made.from_name(name, device=backbone.device)
    raise RegistryError(f"{CAPTIONERS.unknown(name)}. {_FORMS}")


def clean_caption(text: str) -> str:
    """A model's caption in one line, without quotation marks around it and full stops at its end; idempotent."""
    cleaned = one_line(text)
    while True:
        inner = cleaned.rstrip(". ")
        closing = _QUOTES.get(inner[:1])
        if closing is not None and len(inner) > 1 and inner.endswith(closing) and not _quotes(closing, inner[1:-1]):
            inner = inner[1:-1].strip()
        if inner == cleaned:
            return cleaned
        cleaned = inner


def one_line(text: str) -> str:
    """Text in one line: white space and characters that cannot be printed become single spaces."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def shortened(text: str, letters: int) -> str:
    """Text in one line of at most so many letters, cut between words."""
    return textwrap.shorten(one_line(text), letters, placeholder=" ...")


def to_images(pixels: Float[Tensor, "b 3 h w"]) -> list[Image.Image]:
    """Images in eight bits, from pixels in [-1, 1]; values outside are clipped."""
    levels = pixels.detach().to("cpu", torch.float32).clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return [Image.fromarray(frame.numpy()) for frame in levels.permute(0, 2, 3, 1)]


def _quotes(mark: str, text: str) -> bool:
    """Whether the mark opens or closes a word of the text; an apostrophe inside a word does not."""
    return re.search(rf"(?<!\w){mark}|{mark}(?!\w)", text) is not None
