"""What to cite: BibTeX by the names of editors, directions and model families, or by what an edited picture used.

The entries lie in BibTeX files that packages name through the entry points ``latentedit.citations``, ours beside this
module. The ``keywords`` of an entry name what it is for; ``@comment{NAME: text}`` says of a name what no entry can.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from latentedit._version import __version__
from latentedit.core.errors import FileFormatError, RegistryError, nearest
from latentedit.core.plugins import BACKBONES, CITATIONS, EDITORS, MODELS
from latentedit.latents.record import RunRecord

BUILT_IN = Path(__file__).with_name("citations.bib")
"""The entries of everything that latentedit brings."""

OURSELVES = "latentedit"
"""The name of the entry of this package."""

_START = re.compile(r"@(\w+)\s*\{")
_BRACE = re.compile(r"[{}]")
_KEYWORDS = re.compile(r",?\s*keywords\s*=\s*\{([^}]*)\}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a BibTeX file.

    Args:
        key: by which texts cite it.
        names: what it is for.
        bibtex: the entry without its keywords.
    """

    key: str
    names: tuple[str, ...]
    bibtex: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Citations:
    """Entries, and what is to be said beside them.

    Args:
        entries: without repeats, latentedit's own first.
        notes: a line each, by name.
    """

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]


def citable() -> list[str]:
    """Every name that can be cited, sorted: of editors, of directions, and of model families."""
    entries, comments = _known()
    named = {name for entry in entries for name in entry.names}
    return sorted({*named, *comments, *EDITORS.names()} - {OURSELVES})


def cite(names: Iterable[str] = (), records: Iterable[RunRecord] = ()) -> Citations:
    """What to cite for latentedit itself, for some names, and for what some results used.

    Of a result these are its method, how its directions were found, and the family of its model. The family is known
    of bundled models; of others a record has the name only, which a note says.

    Args:
        names: of `citable`.
        records: of results.

    Raises:
        RegistryError: an unknown name, with the nearest ones.
    """
    known, wanted, unknown = {OURSELVES, *citable()}, [OURSELVES, *names], list[str]()
    for name in wanted:
        if name not in known:
            raise RegistryError(f"no method and no model family is called {name!r}: {nearest(name, known)}")
    for record in records:
        family = family_of(record.model.name)
        found = [*_methods(record), record.model.name if family is None else family]
        wanted += [name for name in found if name in known]
        unknown += [name for name in found if name not in known]
    entries, comments = _known()
    wanted = list(dict.fromkeys(wanted))
    chosen = dict.fromkeys(entry for name in wanted for entry in entries if name in entry.names)
    covered = {name for entry in chosen for name in entry.names}
    notes = [f"{name}: {comments[name]}" for name in wanted if name in comments]
    notes += [f"{name}: its package names no paper." for name in wanted if name not in {*covered, *comments}]
    notes += [f"{name}: not known here; cite its model's card or its authors." for name in dict.fromkeys(unknown)]
    return Citations(entries=tuple(chosen), notes=tuple(notes))


def _methods(record: RunRecord) -> list[str]:
    """Names of the methods of a result and of the edits that it went on from."""
    before = [] if record.before is None else _methods(record.before)
    return [record.method, *(direction.method for direction in record.directions), *before]


def family_of(model: str) -> str | None:
    """The family of a bundled model, by the module that takes its pipeline; None of any other."""
    if model not in MODELS.names():
        return None
    index = json.loads((Path(MODELS.load(model)) / "model_index.json").read_text(encoding="utf-8"))
    point = BACKBONES.points().get(index["_class_name"])
    return None if point is None else point.module.rpartition(".")[2]


def parse(text: str, name: str = "the text") -> tuple[list[Entry], dict[str, str]]:
    """Entries, and comments by what they are about, of BibTeX.

    Args:
        text: outside entries, anything.
        name: of the file, for messages.

    Raises:
        FileFormatError: an entry without its closing brace.
    """
    entries: list[Entry] = []
    comments: dict[str, str] = {}
    for start in _START.finditer(text):
        end = _closing(text, start, name)
        inside = text[start.end() : end]
        if start[1].lower() == "comment":
            about, _, comment = inside.partition(":")
            comments[about.strip()] = " ".join(comment.split())
            continue
        keywords = _KEYWORDS.search(inside)
        names = [] if keywords is None else [one.strip() for one in keywords[1].split(",")]
        bibtex = _KEYWORDS.sub("", text[start.start() : end + 1])
        entries.append(Entry(key=inside.partition(",")[0].strip(), names=tuple(names), bibtex=bibtex))
    return entries, comments


def _closing(text: str, start: re.Match[str], name: str) -> int:
    """Where the brace stands that closes an entry."""
    depth = 1
    for brace in _BRACE.finditer(text, start.end()):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    line = text.count("\n", 0, start.start()) + 1
    raise FileFormatError(f"the entry in line {line} of {name} has no closing brace. Add it")


def _known() -> tuple[Sequence[Entry], dict[str, str]]:
    """Of all packages."""
    return _read(tuple(Path(CITATIONS.load(name)) for name in CITATIONS.names()))


@functools.cache
def _read(files: tuple[Path, ...]) -> tuple[Sequence[Entry], dict[str, str]]:
    entries: list[Entry] = []
    comments: dict[str, str] = {}
    for file in files:
        text = file.read_text(encoding="utf-8").replace("{VERSION}", f"{{{__version__}}}")
        more, said = parse(text, file.name)
        entries += more
        comments |= said
    return entries, comments
