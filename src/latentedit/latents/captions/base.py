"""Who says what a picture shows when the user does not: captioners, found by name."""

import abc
import importlib.metadata
import pkgutil
import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.errors import ModelError, RegistryError, nearest
from latentedit.core.files.reading import user_path
from latentedit.latents.captions.change import Change
from latentedit.models.base import Backbone

ENTRY_POINTS = "latentedit.captioners"

INSTRUCTION = (
    "Describe this picture in one sentence of the form 'a ... with ..., ..., ...'. Begin with the main subject, then "
    "name every visible attribute of it and of the background, each in a short phrase of its own between commas. "
    "Answer with that sentence alone, without a preamble and without quotation marks."
)
"""What models that follow instructions are asked: edits replace the phrases between commas."""

_ENDPOINT = "openai:"
_FORMS = f"Give one of these, {_ENDPOINT}MODEL for an endpoint, or a folder or hub id (org/name) of a model"
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
"""Opening quotation marks and what closes them."""


class Captioner(abc.ABC):
    """Pictures to captions in the words that the model was trained on.

    Laws:
        1. ``caption(pixels)[i]`` equals ``caption(pixels[i : i + 1])[0]``.
        2. ``caption`` is deterministic.
    """

    @abc.abstractmethod
    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        """One full caption a picture.

        Args:
            pixels: pictures at the model's size, in [-1, 1].
        """

    def change(self, caption: str, change: Change) -> str:
        """The caption with a change made as in any text; a captioner whose grammar knows opposites overrides it.

        Args:
            caption: what a picture shows.
            change: what should be different.

        Raises:
            ConfigError: a change that cannot be made, or made in one way only.
        """
        return change.apply(caption)


class AttributeReader(Captioner):
    """A captioner that can also name what it saw, attribute by attribute."""

    @abc.abstractmethod
    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[dict[str, str]]:
        """Attribute to value, one dictionary a picture.

        Args:
            pixels: pictures at the model's size, in [-1, 1].
        """


def make_captioner(name: str, backbone: Backbone) -> Captioner:
    """The captioner of that name.

    Args:
        name: an entry point of ``latentedit.captioners`` ("portraits"); or ``openai:MODEL``, a model behind an endpoint
            as OpenAI's; or the folder or the hub id (``org/name`` or ``org/name@revision``) of an image-to-text model
            that transformers can load.
        backbone: the model whose pictures are read; an image-to-text model is put on its device.

    Raises:
        RegistryError: a name of none of these forms, with the nearest ones, or an entry point that makes no captioner.
        ModelError: a folder or hub id that does not load.
        MissingDependencyError: a model that needs a package which is not installed.
        ConfigError, CaptionError: an endpoint whose address or key is not set as it should be.
    """
    points = _entry_points()
    if name in points:
        return _made(points[name], backbone)
    if name.startswith(_ENDPOINT):
        captioner = pkgutil.resolve_name("latentedit.latents.captions.endpoint:VisionEndpoint")(
            name.removeprefix(_ENDPOINT)
        )
    elif "/" in name or (name and user_path(name, error=ModelError).is_dir()):
        captioner = pkgutil.resolve_name("latentedit.latents.captions.image_text:ImageToText").from_name(
            name, device=backbone.device
        )
    else:
        raise RegistryError(f"expected the name of a captioner; got {name!r}: {nearest(name, points)}. {_FORMS}")
    return captioner


def captioner_for(backbone: Backbone) -> Captioner | None:
    """The captioner that the model's folder names, or None where it names none.

    The folder's ``latentedit.json`` holds ``"captioner": NAME``; NAME is looked up in the entry-point group
    ``latentedit.captioners``, whose objects are callables ``(backbone) -> Captioner``.

    Raises:
        RegistryError: the folder names a captioner that no installed package provides.
    """
    name: str | None = backbone.defaults.get("captioner")
    if name is None:
        return None
    points = _entry_points()
    if name not in points:
        raise RegistryError(
            f"expected an installed captioner {name!r}, named by the model {backbone.name!r}; got none. "
            f"Give the caption yourself, or install its package; {nearest(name, points)}"
        )
    return _made(points[name], backbone)


def clean_caption(text: str) -> str:
    """A caption as a model wrote it, in one line, without quotation marks around it and full stops at its end.

    Cleaning twice is cleaning once.
    """
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


def to_images(pixels: Float[Tensor, "b 3 h w"]) -> list[Image.Image]:
    """Pictures in eight bits, for captioners that take nothing else.

    Args:
        pixels: in [-1, 1]; what lies outside is clipped.
    """
    levels = pixels.detach().to("cpu", torch.float32).clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return [Image.fromarray(frame.numpy()) for frame in levels.permute(0, 2, 3, 1)]


def _entry_points() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _made(point: EntryPoint, backbone: Backbone) -> Captioner:
    captioner = point.load()(backbone)
    if not isinstance(captioner, Captioner):
        name, found = point.name, type(captioner).__name__
        raise RegistryError(f"expected the entry point {name!r} to make a Captioner; got {found}")
    return captioner


def _quotes(mark: str, text: str) -> bool:
    """Whether the mark opens or closes a word of the text, as an apostrophe inside a word does not."""
    return re.search(rf"(?<!\w){mark}|{mark}(?!\w)", text) is not None
