"""The pictures of a folder or a manifest as jobs, and what each is to be called when it is edited."""

import dataclasses
import hashlib
import itertools
import unicodedata
import zlib
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from latentedit.api.runs.folder import file_name
from latentedit.core.errors import ConfigError
from latentedit.latents.pictures import Picture
from latentedit_keep.pictures import READABLE, content_of

PICTURES = "pictures"
"""Folder of the edited pictures in that of a run, each with its JSON file beside it."""

_UNFIT = frozenset('\\/:*?"<>|%')
"""Characters that are not portable in file names, and ``%``, our escape character."""

_FOREIGN = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".psd", ".dng", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"}
)
"""Endings of what cameras and painting programs write, and `Picture.open` does not take."""

_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
"""Names that Windows keeps for devices, whatever the ending."""

_LONGEST_NAME_BYTES = 200
"""Of a name in UTF-8: with ``.edited.json`` behind it stays below the 255 of every file system."""

_CUTS_APART = 4
"""Full batches between two cuts at a name, on average: more makes them fuller, and more of them shift at a change."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EditJob:
    """A picture of many.

    Args:
        id: what rows and failures call it.
        path: of its file.
        name: of the edited picture, without its ending; another one for each picture.
        caption: what it shows; None to have it read.
        target: what it should show; None where that is asked of all pictures in the same way.
        content: of the file, where it need not be read again.
    """

    id: str
    path: Path
    name: str
    caption: str | None = None
    target: str | None = None
    content: bytes | None = None

    def open(self) -> Picture:
        """Read it.

        Raises:
            ImageError: no such file, no picture, or damaged.
        """
        return Picture.open(self.path, content=self.content)

    def with_bytes(self) -> "EditJob":
        """With the content of its file, for a machine that does not see it."""
        return dataclasses.replace(self, content=content_of(self.path))

    def spec(self) -> dict[str, Any]:
        """What decides its row, as plain values; the file by its content, wherever it lies."""
        content = content_of(self.path)
        return {
            "id": self.id,
            "picture": shown(self.path),
            "bytes": None if content is None else len(content),
            "sha256": None if content is None else hashlib.sha256(content).hexdigest(),
            "caption": self.caption,
            "target_caption": self.target,
            "name": self.name,
        }


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, by their endings, sorted by name; hidden ones and those in its folders left out.

    Raises:
        ConfigError: there are none, or the folder cannot be read.
    """
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in (*READABLE, "MPO")}
    found = _with_endings(folder, endings)
    if not found:
        raise ConfigError(
            f"there are no pictures in the folder {folder}, by their endings ({', '.join(sorted(endings))}). Pictures "
            "in its folders are not looked for: name one of those"
        )
    return found


def foreign_in(folder: Path) -> list[str]:
    """The names of a folder's pictures that cannot be read, by their endings.

    Raises:
        ConfigError: the folder cannot be read.
    """
    return [shown(path) for path in _with_endings(folder, _FOREIGN)]


def _with_endings(folder: Path, endings: Container[str]) -> list[Path]:
    """Files that are not hidden, sorted."""
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in endings and not path.name.startswith(".") and not path.is_dir()
        )
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"the folder {folder} cannot be read: {why}. Check its permissions") from error


def shown(path: PurePath) -> str:
    """The file's name, whatever it is, as text that every file format takes."""
    return path.name.encode("utf-8", "replace").decode()


def place_of(name: str) -> str:
    """Where an edited picture lies in the folder of the run, by `EditJob.name`."""
    return f"{PICTURES}/{name}.edited.png"


def named_apart(paths: Sequence[PurePath]) -> list[str]:
    """Names for the edited pictures, each once whatever the case of its letters and the way they are composed.

    The file's name without its ending; with it where several files would have the same name then.
    """
    stems = Counter(_alike(_stem(path)) for path in paths)
    taken = set[str]()
    names: list[str] = []
    for path in paths:
        whole = _fit(shown(path))
        first = _stem(path) if stems[_alike(_stem(path))] == 1 else whole
        names.append(_free((first, whole), taken))
    return names


def ids_apart(ids: Sequence[str]) -> list[str]:
    """The same for entries of a list, by their ids."""
    taken = set[str]()
    return [_free((_fit(one),), taken) for one in ids]


def steady_batches(pictures: Sequence[EditJob], most: int) -> list[tuple[EditJob, ...]]:
    """Pictures in batches of at most so many, in their order, cut where one is full and before some names.

    Which names those are depends on nothing but the name: where a picture comes or goes, batches shift up to the next
    such name, and all others stay what they were (as rsync cuts files).
    """
    found: list[list[EditJob]] = []
    for one in pictures:
        cut = zlib.crc32(one.name.encode()) % (_CUTS_APART * most) == 0
        if cut or not found or len(found[-1]) == most:
            found.append([])
        found[-1].append(one)
    return [tuple(batch) for batch in found]


def _free(choices: Sequence[str], taken: set[str]) -> str:
    """The first choice that is not taken, or else the last one with a number; it is taken then."""
    numbered: Iterable[str] = (f"{choices[-1]} ({number})" for number in itertools.count(2))
    name = next(name for name in itertools.chain(choices, numbered) if _alike(name) not in taken)
    taken.add(_alike(name))
    return name


def _alike(name: str) -> str:
    """The same for names that are one file where case, or how a letter and its accent are stored, does not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _stem(path: PurePath) -> str:
    return _fit(PurePath(shown(path)).stem)


def _fit(name: str) -> str:
    """The name as it is where files may have it on every system, else one of its own."""
    if name.partition(".")[0].casefold() in _DEVICES:
        return f"%{ord(name[0]):02X}{name[1:]}"
    plain = name.isprintable() and not _UNFIT & set(name) and not name.startswith((".", " "))
    return name if plain and 0 < len(name.encode()) <= _LONGEST_NAME_BYTES else file_name(name)
