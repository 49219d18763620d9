"""Who says what a picture shows when the user does not: captioners, found by name through an entry point."""

import abc
import importlib.metadata

from jaxtyping import Float
from torch import Tensor

from latentedit.backbones.base import Backbone
from latentedit.errors import RegistryError, nearest

ENTRY_POINTS = "latentedit.captioners"


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


class AttributeReader(Captioner):
    """A captioner that can also name what it saw, attribute by attribute."""

    @abc.abstractmethod
    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[dict[str, str]]:
        """Attribute to value, one dictionary a picture.

        Args:
            pixels: pictures at the model's size, in [-1, 1].
        """


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
    found = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if name not in found:
        raise RegistryError(
            f"expected an installed captioner {name!r}, named by the model {backbone.name!r}; got none. "
            f"Give the caption yourself, or install its package; {nearest(name, found)}"
        )
    captioner = found[name].load()(backbone)
    if not isinstance(captioner, Captioner):
        raise RegistryError(f"expected the entry point {name!r} to make a Captioner; got {type(captioner).__name__}")
    return captioner
