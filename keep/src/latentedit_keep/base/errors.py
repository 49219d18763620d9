"""Errors with messages for the user, and the command that installs a missing package."""

import shlex


class LatentEditError(Exception):
    """Base of all errors with a message for the user: in one line the problem, the value that came and the remedy."""

    def __str__(self) -> str:
        """The message with line breaks replaced by spaces."""
        return " ".join(super().__str__().splitlines())


class ConfigError(LatentEditError, ValueError):
    """An invalid setting, caption, attribute or strength."""


class ImageError(LatentEditError, ValueError):
    """An image that cannot be read or edited."""


class FileFormatError(LatentEditError, ValueError):
    """A file that is damaged or has another format."""


class ShapeError(LatentEditError, ValueError):
    """Tensors or images whose shapes do not match."""


class OutputError(LatentEditError, OSError):
    """A path that cannot be written to."""


class MissingDependencyError(LatentEditError, ImportError):
    """An optional package that is not installed."""


def to_install(*requirements: str) -> str:
    """The remedy for missing packages of this project, such as ``latentedit[app]``: no index has them yet."""
    names = [name.removeprefix("latentedit") for name in requirements]
    folders = [f"./packages/{name[1:]}" if name.startswith("-") else f".{name}" for name in names]
    return f"Run in a clone of the repository (see docs/start.md): pip install {shlex.join(folders)}"
