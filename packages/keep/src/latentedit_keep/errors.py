"""The errors whose text is meant for the user, and how a package that is missing is installed."""

import shlex


class LatentEditError(Exception):
    """The root of all errors whose text is meant for the user: the problem, what came, what to do, in one line."""

    def __str__(self) -> str:
        """Line breaks of a file, or of a library's message, are spaces."""
        return " ".join(super().__str__().splitlines())


class ConfigError(LatentEditError, ValueError):
    """A setting, caption, attribute or strength that makes no sense."""


class ImageError(LatentEditError, ValueError):
    """A picture file that cannot be read or is not fit for editing."""


class FileFormatError(LatentEditError, ValueError):
    """A file that is damaged, or is not what it should be."""


class OutputError(LatentEditError, OSError):
    """A place that cannot be written to."""


class MissingDependencyError(LatentEditError, ImportError):
    """An optional package that is not installed."""


def to_install(*requirements: str) -> str:
    """What to do about packages of ours that are missing. None is on an index yet: the folders of a clone are named.

    Example:
        >>> to_install("latentedit[app]")
        "Run in a clone of the repository (see docs/start.md): pip install '.[app]'"
    """
    names = [one.removeprefix("latentedit") for one in requirements]
    folders = [f"./packages/{name[1:]}" if name.startswith("-") else f".{name}" for name in names]
    return f"Run in a clone of the repository (see docs/start.md): pip install {shlex.join(folders)}"
