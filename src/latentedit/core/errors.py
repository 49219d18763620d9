"""Every error that latentedit raises on purpose, and the message for an optional package that is missing."""

import difflib
import importlib
import shlex
from collections.abc import Iterable
from types import ModuleType


class LatentEditError(Exception):
    """The root of all errors whose text is meant for the user: the problem, what came, what to do, in one line."""

    def __str__(self) -> str:
        """Line breaks of a file, or of a library's message, are spaces."""
        return " ".join(super().__str__().splitlines())


class ConfigError(LatentEditError, ValueError):
    """A setting, caption, attribute or strength that makes no sense."""


class ShapeError(LatentEditError, ValueError):
    """Tensors whose shapes do not fit together."""


class CoordinateError(LatentEditError, ValueError):
    """A level outside the range that a model or schedule knows."""


class DeviceError(LatentEditError, ValueError):
    """Tensors on different devices, or a device that this machine lacks."""


class ImageError(LatentEditError, ValueError):
    """A picture file that cannot be read or is not fit for editing."""


class ModelError(LatentEditError, ValueError):
    """A model folder that is incomplete, damaged or unsafe to load."""


class FileFormatError(LatentEditError, ValueError):
    """A file that is damaged, or is not what it should be."""


class OutputError(LatentEditError, OSError):
    """A place that cannot be written to."""


class MissingDependencyError(LatentEditError, ImportError):
    """An optional package that is not installed."""


class UnsupportedDerivativeError(LatentEditError, NotImplementedError):
    """A derivative that the model or the attention kernel cannot give."""


class ConvergenceError(LatentEditError, RuntimeError):
    """An iteration that did not reach its tolerance although that was asked for."""


class CaptionError(LatentEditError, RuntimeError):
    """A captioner that cannot be reached, refuses, or answers without a caption."""


class UnknownPictureError(LatentEditError, ValueError):
    """A picture that the model does not know, where such pictures are not to be edited."""


class UnknownPictureWarning(UserWarning):
    """A picture that the model does not know is edited all the same."""


class RegistryError(LatentEditError, LookupError):
    """A name that no model, editor or metric is registered under."""


_MANY = 12  # names, which nobody reads through


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as "did you mean 'portraits'? known: a, b" for an unknown name; of many names, the nearest only.

    Names are quoted where one of them has a comma.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
    listed = map(repr, names) if any("," in one for one in names) else names
    return hint if close and len(names) > _MANY else f"{hint} known: {', '.join(listed)}".strip()


def to_install(*requirements: str) -> str:
    """What to do about packages of ours that are missing. None is on an index yet: the folders of a clone are named.

    Example:
        >>> to_install("latentedit-bench", "latentedit[keep]")
        "Run in a clone of the repository (see docs/start.md): pip install ./packages/bench '.[keep]'"
    """
    names = [one.removeprefix("latentedit") for one in requirements]
    folders = [f"./packages/{name[1:]}" if name.startswith("-") else f".{name}" for name in names]
    return f"Run in a clone of the repository (see docs/start.md): pip install {shlex.join(folders)}"


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package.

    Raises:
        MissingDependencyError: with the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"the package {package!r} is not installed. {to_install(f'latentedit[{extra}]')}"
        ) from error
