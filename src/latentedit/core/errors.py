"""Every error that latentedit raises on purpose."""
# ruff: noqa: PLC0414  # the names are public here, too

import difflib
import inspect
import warnings
from collections.abc import Iterable

from latentedit_keep.base.errors import ConfigError as ConfigError
from latentedit_keep.base.errors import FileFormatError as FileFormatError
from latentedit_keep.base.errors import ImageError as ImageError
from latentedit_keep.base.errors import LatentEditError as LatentEditError
from latentedit_keep.base.errors import MissingDependencyError as MissingDependencyError
from latentedit_keep.base.errors import OutputError as OutputError
from latentedit_keep.base.errors import ShapeError as ShapeError
from latentedit_keep.base.errors import to_install as to_install


class CoordinateError(LatentEditError, ValueError):
    """A level outside the range of a model or schedule."""


class DeviceError(LatentEditError, ValueError):
    """Tensors on different devices, or a device that this machine lacks."""


class ModelError(LatentEditError, ValueError):
    """A model folder that is incomplete, damaged or unsafe to load."""


class UnsupportedDerivativeError(LatentEditError, NotImplementedError):
    """A derivative that the model or the attention kernel cannot give."""


class ConvergenceError(LatentEditError, RuntimeError):
    """An iteration that did not converge to the required tolerance."""


class CaptionError(LatentEditError, RuntimeError):
    """A captioner that cannot be reached, refuses, or answers without a caption."""


class UnknownImageError(LatentEditError, ValueError):
    """An out-of-distribution image, which is not edited."""


class LatentEditWarning(UserWarning):
    """What the user should know of a result: what the command line prints as a warning."""


class RegistryError(LatentEditError, LookupError):
    """A name under which nothing is registered."""


_MANY = 12  # names; longer lists are left out of messages
_SHORT = 2  # letters of words that are no reason to be meant, such as "a"
_INSIDE = frozenset({"latentedit", "torch", "contextlib", "functools"})  # packages whose lines no user wrote


def warn(notes: Iterable[str]) -> None:
    """A `LatentEditWarning` for each different note, at the line of the user that led here."""
    level, frame = 1, inspect.currentframe()  # `skip_file_prefixes` of warnings needs Python 3.12
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    for note in dict.fromkeys(notes):
        warnings.warn(note, LatentEditWarning, stacklevel=level)


def did_you_mean(name: str, choices: Iterable[str], *, most: int = 2, likeness: float = 0.5) -> str:
    """A question that names the choices with words of an unknown name, else those most like it; empty if none is."""
    names = {choice.casefold(): choice for choice in sorted(choices)}
    words = {word for word in name.casefold().split() if len(word) > _SHORT}
    shared = {key: sum(map(len, words.intersection(key.split()))) for key in names}
    close = [key for key in sorted(names, key=lambda key: -shared[key])[:most] if shared[key]]
    close = close or difflib.get_close_matches(name.casefold(), names, n=most, cutoff=likeness)
    return f"did you mean {' or '.join(repr(names[key]) for key in close)}?" if close else ""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A hint such as "did you mean 'portraits'? known: a, b" for an unknown name; of many, three.

    Names are quoted where one of them has a comma.
    """
    names = sorted(choices)
    if len(names) > _MANY:
        return did_you_mean(name, names, most=3) or did_you_mean(name, names, most=3, likeness=0)
    listed = map(repr, names) if any("," in choice for choice in names) else names
    return f"{did_you_mean(name, names)} known: {', '.join(listed)}".strip()
