"""Every error that latentedit raises on purpose, similar names, and the command that installs a missing package."""

import difflib
import errno
import functools
import inspect
import mmap
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from latentedit.core.other_words import advice_on

REPOSITORY = "git+https://REPOSITORY"
"""Address of this project for pip; the host is not known yet."""
FOLDERS = {
    "latentedit": ".",
    "latentedit-portraits": "models/portraits",
    "latentedit-models": "research/models",
    "latentedit-scenes": "research/scenes",
    "latentedit-drawn": "research/drawn",
    "latentedit-bench": "research/bench",
}
"""Folder of each of our distributions in the repository."""
F = TypeVar("F", bound=Callable[..., Any])
# Least likeness of a name that is proposed for an unknown one: below, short names resemble each other by chance.
_LIKENESS = 0.75
_FEW = 12  # names; of longer lists, a message names only those that are alike
_MANY = 60  # names; longer lists are cut
_SHORT = 2  # letters of words that are no reason to be meant, such as "a"
# Libraries have no class in common for too little memory: OpenCV, torch, CUDA, Pillow, and Windows raise other errors
# with these words. "Static TLS" is another shortage, which smaller images do not mend.
_NO_MEMORY = re.compile(
    r"out of memory|insufficient memory|not enough memory|bad_alloc|alloc_failed|paging file is too small|"
    r"(cannot|can't|unable to|failed to|could not) allocate (?!memory in static tls)",
    re.IGNORECASE,
)
# Memory ran out, or else the disk forbids programs, or there are too many threads.
_UNSURE = re.compile("failed to map segment|can't start new thread")
_WORD = 400  # letters of a word that came with a value, from which on it is cut; paths are shorter
_MESSAGE, _REMEDY = 1200, 400  # letters of a message and of its end, which has the remedy
_LIBRARY_BYTES = 2**29  # more than the largest library that is imported here


def in_one_line(text: str) -> str:
    """A message with spaces for line breaks, and without the middle of a long word or of a long message."""
    line = re.sub(rf"\S{{{_WORD},}}", lambda word: f"{word[0][:60]}...{word[0][-20:]}", " ".join(text.splitlines()))
    if len(line) <= _MESSAGE:
        return line
    gap = " ... "
    return line[: _MESSAGE - _REMEDY - len(gap)] + gap + line[-_REMEDY:]


class LatentEditError(Exception):
    """Base of all errors with a message for the user: in one line the problem, the value that came and the remedy."""

    def __str__(self) -> str:
        """The message on one line, without the middle of a long value."""
        return in_one_line(super().__str__())


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


def to_install(*requirements: str) -> str:
    """The remedy for missing packages of this project, such as ``latentedit[app]``: no index has them yet."""
    pairs = [requirement.partition("[") for requirement in requirements]
    theirs = [name for name in requirements if name.partition("[")[0] not in FOLDERS]
    ours = {name + sign + extra: (FOLDERS[name], sign + extra) for name, sign, extra in pairs if name in FOLDERS}
    if not ours:
        return f"pip install {shlex.join(theirs)}"
    folders = [f"./{folder}".removesuffix("/.") + extra for folder, extra in ours.values()]
    remote = [
        f"{name} @ {REPOSITORY}#subdirectory={folder}".removesuffix("#subdirectory=.")
        for name, (folder, _) in ours.items()
    ]
    here, elsewhere = (f"pip install {shlex.join([*places, *theirs])}" for places in (folders, remote))
    return f"In a clone, run: {here}; without one: {elsewhere}"


_CHECKED = {  # pydantic's words for a wrong value
    r"input should be greater than or equal to (\S+)": r"it must be at least \1",
    r"input should be less than or equal to (\S+)": r"it must be at most \1",
    r"input should be a valid integer(, unable to parse string as an integer)?": "it must be a whole number",
    r"input should be a valid number(, unable to parse string as a number)?": "it must be a number",
    r"input should be a valid boolean(, unable to interpret input)?": "it must be true or false",
    r"input should be a valid list": "it must be a list such as [1, 2]",
    r"input should be a valid string": "it must be one text",
}


def in_our_words(text: str) -> str:
    """A library's sentence on a wrong value, in the words of our own messages."""
    for theirs, ours in _CHECKED.items():
        text = re.sub(theirs, ours, text, flags=re.IGNORECASE)
    return text


def too_little_memory(error: BaseException | None, *, model: bool = False) -> str:
    """Problem and remedy if an error, or its cause, is that memory ran out; empty for any other error."""
    # ``model`` is whether a model takes part. An `ImageError` has its own words already.
    if error is None or isinstance(error, ImageError):
        return ""
    if not _lacks_memory(error):
        return too_little_memory(error.__cause__, model=model)
    reason = ". ".join(" ".join(str(error).rpartition("error: ")[2].split()).split(". ")[:2]).rstrip(".")[:200]
    others = 'Try `dtype="bfloat16"`, a smaller image, or a diffusers pipeline with pipe.enable_model_cpu_offload()'
    remedy = others if model else "Scale the images down, or close other programs"
    return f"there is too little memory{f' ({reason})' if reason else ''}. {remedy}"


def expected(error: BaseException, *, model: bool = False) -> str:
    """Problem and remedy of an error that a user can do something about; empty for a fault of this program."""
    return too_little_memory(error, model=model) or (str(error) if isinstance(error, LatentEditError) else "")


def _lacks_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    if isinstance(error, ImportError | RuntimeError) and _UNSURE.search(str(error)):
        try:
            mmap.mmap(-1, _LIBRARY_BYTES).close()
        except OSError:
            return True
    is_theirs = isinstance(error, RuntimeError | OSError | ImportError) or type(error).__module__ == "cv2"
    return is_theirs and not isinstance(error, LatentEditError) and _NO_MEMORY.search(str(error)) is not None


def did_you_mean(name: str, choices: Iterable[str], *, most: int = 2, likeness: float = _LIKENESS) -> str:
    """A question that names the choices with words of an unknown name, else those most like it; empty if none is."""
    names = {choice.casefold(): choice for choice in sorted(choices)}
    words = {word for word in name.casefold().split() if len(word) > _SHORT}
    shared = {key: sum(map(len, words.intersection(key.split()))) for key in names}
    close = [key for key in sorted(names, key=lambda key: -shared[key])[:most] if shared[key]]
    alike = [key for key in names if key[:1] == name[:1].casefold()]  # who mistypes a name begins it rightly
    close = close or difflib.get_close_matches(name.casefold(), alike, n=most, cutoff=likeness)
    return f"did you mean {' or '.join(repr(names[key]) for key in close)}?" if close else ""


def listed(names: Iterable[str]) -> str:
    """Names as a message lists them, quoted where one of them has a comma; of many, the first ones."""
    names = sorted(set(names))
    shown = [*(map(repr, names) if any("," in name for name in names) else names)][:_MANY]
    return ", ".join(shown) + (f" and {len(names) - _MANY} more" if len(names) > _MANY else "")


def nearest(name: str, choices: Iterable[str]) -> str:
    """A hint such as "did you mean 'portraits'? known: a, b" for an unknown name; a long list only if none is alike."""
    names = sorted(choices)
    meant = did_you_mean(name, names, most=2 if len(names) <= _FEW else 3)
    return meant if meant and len(names) > _FEW else f"{meant} known: {listed(names)}".strip()


def suggestion_for(name: str, choices: Iterable[str], *, shown: Iterable[str] | None = None) -> str:
    """Return the end of an error about an unknown name: what to type for it, else similar names, else a list.

    ``shown`` are the names to list, by default all choices.
    """
    # Python asks modules and objects for names such as __wrapped__.
    advice = "" if name.startswith("_") else advice_on(name)
    if advice:
        return f". Use {advice}"
    names = list(choices)
    similar = did_you_mean(name, names)
    if similar:
        return f": {similar}"
    return f". It has: {listed(names if shown is None else shown)}"


class Hinted:
    """Base of classes that explain missing attributes and wrong arguments of their methods.

    A missing attribute is answered with similar ones, with what to use for a name of other libraries, or with a list.
    """

    __slots__ = ()
    _inner: ClassVar[frozenset[str]] = frozenset()
    """Methods that run in an inner loop, whose arguments are not explained."""

    if not TYPE_CHECKING:  # type checkers know the names

        def __init_subclass__(cls, **options: Any) -> None:
            super().__init_subclass__(**options)
            for name, method in [*vars(cls).items()]:
                inner = name.startswith("_") or name in cls._inner
                if inspect.isfunction(method) and not inner and not hasattr(method, "__wrapped__"):
                    setattr(cls, name, explaining(method))

        def __getattr__(self, name: str) -> Any:
            return self._missing(name)

    def _missing(self, name: str) -> Any:
        kind = type(self)
        if name.startswith("_") or hasattr(kind, name):  # copy and notebooks probe such names, or a property failed
            return object.__getattribute__(self, name)
        names = [one for one in dir(self) if not one.startswith("_")]
        raise AttributeError(f"{kind.__name__} has no {name!r}{suggestion_for(name, names)}")


def explaining(function: F, named_by: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict) -> F:
    """Makes wrong arguments of a function a `ConfigError` that says what to type, and too little memory an error.

    ``named_by`` turns the keyword arguments of a call into those of the function.
    """

    @functools.wraps(function)
    def checked(*given: Any, **named: Any) -> Any:
        try:
            named = dict(named_by(named))
            return function(*given, **named)
        except TypeError as error:
            if problem := _misfit(function, given, named):
                raise ConfigError(problem) from None
            raise error from None
        except Exception as error:
            line = too_little_memory(error, model=function.__module__.startswith("latentedit."))
            if not line or type(error).__name__ == "OutOfMemoryError":  # torch's error keeps its own type
                raise
            raise (type(error) if isinstance(error, LatentEditError) else ImageError)(line) from error

    return cast("F", checked)


def _public_name(function: Callable[..., Any]) -> str:
    """The shortest address under which a function is found, such as ``latentedit.geometry.paper_guidance``."""
    places, first = function.__module__.split("."), function.__qualname__.partition(".")[0]
    modules = (".".join(places[:count]) for count in range(1, len(places) + 1))
    public = next((one for one in modules if hasattr(sys.modules[one], first)), function.__module__)
    return f"{public}.{function.__qualname__}"


def _misfit(function: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]) -> str:
    """Why a function does not take these arguments, and those that it takes; empty if it takes them."""
    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name != "self"]
    try:
        bound = signature.bind(*given, **named)
    except TypeError as error:
        unknown = [name for name in named if name not in names]
        hints = [f"Use {advice}." for name in unknown if (advice := advice_on(name))]
        hints += [f"{meant[:1].upper()}{meant[1:]}" for name in unknown if (meant := did_you_mean(name, names))]
        takes = f"It takes: {', '.join(names) or 'nothing'}. See help({_public_name(function)})"
        return " ".join([f"`{function.__qualname__}`: {error}.", *hints[:1], takes])
    path = bound.arguments.get("path", "")
    if isinstance(path, (str, os.PathLike)):
        return ""
    return f"`path` is the name of a file; got a {type(path).__name__}. Give one such as 'result.png'"
