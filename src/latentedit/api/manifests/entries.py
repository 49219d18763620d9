"""Entries of a list of edits: fields by pydantic, pictures decoded once, and all that is wrong told at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import pydantic

from latentedit.core.errors import ConfigError, ImageError
from latentedit_keep.pictures import read_image

MOST_FAULTS = 50
"""Faults that a message lists; of more it gives the number."""

_WORDS = {
    "bool": "yes or no",
    "int": "a number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "dict": "an object",
    "NoneType": "missing",
}


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("holds half a character, which no file or model takes") from None
    return text


Text = Annotated[str, pydantic.AfterValidator(_said)]
"""A caption, path or label: text that says something."""


class Entry(pydantic.BaseModel):
    """Fields of one entry; those that a subclass does not name are passed over."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True)


E = TypeVar("E", bound=Entry)


class Checker:
    """Gathers what is wrong with a list, and raises once.

    Args:
        name: what the message calls the list, such as its file.

    Example:
        >>> checker = Checker("cats.csv")
        >>> checker.add("row 2", "the caption is empty")
        >>> checker.check()
        Traceback (most recent call last):
        latentedit_keep.errors.ConfigError: cats.csv has faults (1): row 2: the caption is empty
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._faults: list[str] = []
        self._sizes: dict[Path, tuple[int, int] | str] = {}

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, where: str, what: str) -> None:
        """Note a fault.

        Args:
            where: such as "row 3 (id 'x')".
            what: is wrong there.
        """
        self._faults.append(" ".join(f"{where}: {what}".split()))

    def check(self) -> None:
        """Go on if nothing was found.

        Raises:
            ConfigError: otherwise; its one line has the number of faults, then each, `MOST_FAULTS` at most.
        """
        if not self._faults:
            return
        more = f"; and {len(self._faults) - MOST_FAULTS} more" if len(self._faults) > MOST_FAULTS else ""
        listed = "; ".join(self._faults[:MOST_FAULTS])
        raise ConfigError(f"{self._name} has faults ({len(self._faults)}): {listed}{more}")

    def entry(self, kind: type[E], where: str, content: Mapping[str, Any], *, noted: tuple[str, ...] = ()) -> E | None:
        """An entry's fields; None where one is wrong, which is noted.

        Args:
            kind: of entry.
            where: it stands.
            content: its fields.
            noted: fields whose lack was noted before.
        """
        try:
            return kind.model_validate(content)
        except pydantic.ValidationError as error:
            for fault in error.errors():
                if not (fault["type"] == "missing" and fault["loc"][0] in noted):
                    self.add(where, _in_words(fault))
        return None

    def picture(self, where: str, name: str, *places: Path) -> Path | None:
        """The first of some places where there is a file; None where it cannot be read as a picture, which is noted.

        A picture that many entries share is decoded once.
        """
        path = next((path for path in places if _exists(path)), places[0])
        size = self.size(path)
        if isinstance(size, tuple):
            return path
        self.add(where, f"{name} {size}")
        return None

    def size(self, path: Path) -> tuple[int, int] | str:
        """Of a picture, width and height, or what is wrong with it."""
        if path not in self._sizes:
            try:
                self._sizes[path] = read_image(path).size if _exists(path) else "does not exist"
            except ImageError as error:
                self._sizes[path] = f"cannot be used: {error}"
        return self._sizes[path]

    def same_size(self, where: str, name: str, path: Path, picture: Path) -> None:
        """Note where a truth or mask has not the picture's size."""
        (width, height), (own, other) = (cast("tuple[int, int]", self.size(one)) for one in (picture, path))
        if (own, other) != (width, height):
            self.add(where, f"{name} is {own}x{other} pixels, its picture {width}x{height}")


def described(value: object) -> str:
    """A value's type in words, such as "a number"."""
    return _WORDS.get(type(value).__name__, f"a {type(value).__name__}")


def _in_words(fault: Any) -> str:
    first, *inner = fault["loc"]
    name = f"{first.removesuffix('s').replace('_', ' ')} {inner[0] + 1}" if inner else first
    match fault["type"]:
        case "value_error":
            return f"{name} {fault['ctx']['error']}"
        case "string_type" | "list_type" if fault["input"] is not None:
            kind = "text" if fault["type"] == "string_type" else "a list of texts"
            return f"{name} is {described(fault['input'])}, not {kind}"
        case "too_short":
            return f"{name} is empty"
        case _:
            return f"{name} is missing"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False
