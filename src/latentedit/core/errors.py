"""Every error that latentedit raises on purpose."""
# ruff: noqa: PLC0414  # the names are public here, too

import inspect
import warnings
from collections.abc import Iterable

from latentedit.base.errors import ConfigError as ConfigError
from latentedit.base.errors import FileFormatError as FileFormatError
from latentedit.base.errors import Hinted as Hinted
from latentedit.base.errors import ImageError as ImageError
from latentedit.base.errors import LatentEditError as LatentEditError
from latentedit.base.errors import MissingDependencyError as MissingDependencyError
from latentedit.base.errors import OutputError as OutputError
from latentedit.base.errors import RegistryError as RegistryError
from latentedit.base.errors import ShapeError as ShapeError
from latentedit.base.errors import did_you_mean as did_you_mean
from latentedit.base.errors import explaining as explaining
from latentedit.base.errors import instead_of as instead_of
from latentedit.base.errors import listed as listed
from latentedit.base.errors import nearest as nearest
from latentedit.base.errors import to_install as to_install


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
    """An out-of-distribution image, which is not edited. The command line and the page add their own remedies."""


class LatentEditWarning(UserWarning):
    """A warning about a result that the user should know; the command line prints it."""


# Packages whose lines no user wrote.
_INSIDE = frozenset({"latentedit", "diffusers", "torch", "contextlib", "functools"})


def warn(notes: Iterable[str]) -> None:
    """A `LatentEditWarning` for each different note, at the line of the user that led here."""
    level, frame = 1, inspect.currentframe()  # `skip_file_prefixes` of warnings needs Python 3.12
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    for note in dict.fromkeys(notes):
        warnings.warn(note, LatentEditWarning, stacklevel=level)
