"""Errors with messages for the user, similar names, and the command that installs a missing package."""

import difflib
import functools
import inspect
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
_OURS = {"layer": "site", "timestep": "level", "torch_dtype": "dtype"}  # arguments by their names elsewhere
_LIKENESS = 0.65  # of an unknown name to one that is proposed: names of other libraries resemble ours by chance
_MANY = 12  # names; longer lists are left out of messages
_SHORT = 2  # letters of words that are no reason to be meant, such as "a"


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


class RegistryError(LatentEditError, LookupError):
    """A name under which nothing is registered."""


def to_install(*requirements: str) -> str:
    """The remedy for missing packages of this project, such as ``latentedit[app]``: no index has them yet."""
    names = [name.removeprefix("latentedit") for name in requirements]
    folders = [f"./packages/{name[1:]}" if name.startswith("-") else f".{name}" for name in names]
    return f"Run in a clone of the repository (see docs/start.md): pip install {shlex.join(folders)}"


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


def instead_of(name: str, choices: Iterable[str], instead: Mapping[str, str], *, likeness: float = _LIKENESS) -> str:
    """The end of an error on an unknown name: what to use instead, else similar names; empty without either."""
    meant = did_you_mean(name, choices, likeness=likeness)
    return f". Use {instead[name]}" if name in instead else f": {meant}" if meant else ""


class Hinted:
    """Base of classes whose missing attributes say what to use: of other libraries' names, those in ``_instead``."""

    __slots__ = ()
    _instead: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:  # type checkers know the names

        def __getattr__(self, name: str) -> Any:
            kind = type(self)
            if name.startswith("_") or hasattr(kind, name):  # what copy and notebooks probe; the error in a property
                return object.__getattribute__(self, name)
            names = [one for one in dir(self) if not one.startswith("_")]
            raise AttributeError(f"{kind.__name__} has no {name!r}{instead_of(name, names, self._instead)}")


def explaining(function: F) -> F:
    """Makes wrong arguments of a function a `ConfigError` that says what to type."""

    @functools.wraps(function)
    def checked(*given: Any, **named: Any) -> Any:
        signature = inspect.signature(function)
        try:
            signature.bind(*given, **named)
        except TypeError as error:
            ours = [_OURS[name] for name in named if _OURS.get(name) in signature.parameters]
            meant = "".join(f"Give `{name}`, and see" for name in ours)
            package = function.__module__.partition(".")[0]
            raise ConfigError(f"{error}. {meant or 'See'} help({package}.{function.__name__})") from None
        return function(*given, **named)

    return cast("F", checked)
