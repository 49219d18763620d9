"""The folder of a batch run: its plan, a file for each finished unit, its images, and the table of all rows.

    run.json          plan, command and version
    rows/UNIT.jsonl   one line with the failures and costs of the unit, then one JSON object for each of its rows
    rows.csv          all rows in the order of the plan, written at the end
    claims/UNIT.lock  lock of the process that works on the unit; the system releases it when the process ends

A unit is finished when its file in ``rows`` exists, which is written last and atomically: a run can be killed at any
time, and several processes can share a folder.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import quote

import filelock
import pydantic

from latentedit._version import __version__
from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, FileFormatError
from latentedit.core.files import (
    atomic_file,
    check_place,
    make_folder,
    plain,
    read_bytes,
    read_object,
    write_table,
    write_text,
)

FORMAT = 3  # version of a run folder's files
MANIFEST = "run.json"  # the file of a run folder that says what it is, and how to continue it
ROWS = "rows"  # folder of a file for each finished unit
CLAIMS = "claims"  # folder of a file for each unit in work
TABLE = "rows.csv"  # all rows as one table

_MOST_BYTES = 2**28  # largest file in ``rows``, and largest ``run.json``
_MAX_FAULTS = 20  # in one message
_LONGEST_NAME_BYTES = 180  # file systems allow 255, with endings
_UNPORTABLE = frozenset('\\/:*?"<>|%')  # not allowed in file names on some systems, and the escape character

UnitName = Annotated[str, pydantic.Field(pattern=r"^[^./\\\x00][^/\\\x00]*$")]  # cannot lead to another folder
Row = Mapping[str, Any]  # plain values: one result, None if not measured, or what a run does


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An item that failed; the run continued without it."""

    item: str  # its id
    what: str  # the task, such as the name of a method
    why: str  # in one line

    @staticmethod
    def of(item: str, what: str, error: Exception) -> "Failure":
        """The failure of an item by an exception, whose message becomes one line."""
        return Failure(item=item, what=what, why=" ".join(str(error).split()))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnitResult:
    """The result of one unit."""

    rows: Sequence[Row]  # do not depend on when and where the unit is run
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict[str, bytes])  # keys are paths in the folder
    failures: Sequence[Failure] = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # may differ between runs: seconds


class Manifest(pydantic.BaseModel):
    """The content of ``run.json``."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    format: Literal[3] = FORMAT
    latentedit: str  # the version that started the run
    kind: str  # such as "bench"
    command: str  # command line that started the run
    units: list[UnitName]  # in the order of the table
    plan: dict[str, Any]  # see `Work.spec`
    request: dict[str, Any]  # enough to recreate the plan


class UnitRecord(pydantic.BaseModel):
    """The first line of a unit's file; other kinds of runs may add fields."""

    model_config = pydantic.ConfigDict(frozen=True, extra="allow")

    rows: int
    failures: list[Failure]
    method: str = ""
    items: int = 0
    seconds: float = 0.0  # duration of the whole unit
    edit_seconds: float = 0.0  # duration of the editing alone
    evaluations: float = 0.0  # evaluations of the network
    peak_bytes: int | None = None  # None if it cannot be measured


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunFolder:
    """The folder of a started run, with the content of its ``run.json``."""

    path: Path
    manifest: Manifest

    @staticmethod
    def start(path: Path, spec: Row, *, kind: str, units: Sequence[str], command: str, request: Row) -> "RunFolder":
        """Start a run, or resume it with the same plan; units may be added or removed."""
        make_folder(path)
        plan = plain({"latentedit": __version__, **spec})  # rows may differ between versions
        about: dict[str, Any] = {"kind": kind, "command": command, "request": plain(request)}
        manifest = Manifest(latentedit=__version__, units=list(units), plan=plan, **about)
        text = json.dumps(manifest.model_dump(), indent=1, ensure_ascii=False) + "\n"
        if not (path / MANIFEST).exists():
            write_text(path / MANIFEST, text)
        run = RunFolder.read(path)
        before = run.manifest.plan
        changed = [name for name in {**before, **plan} if before.get(name) != plan.get(name)]
        if changed or run.manifest.kind != kind:
            different = ", ".join(changed) or "kind"
            raise ConfigError(f"{path} contains a run that differs in: {different}. Choose another folder with -o")
        check_place(path / TABLE)
        make_folder(path / ROWS)
        make_folder(path / CLAIMS)
        if run.manifest.units == manifest.units:
            return run
        for unit in set(run.finished()) - set(units):
            run.forget(unit)  # new units may overwrite its files
        write_text(path / MANIFEST, text)
        return RunFolder(path=path, manifest=manifest)

    @staticmethod
    def read(path: Path) -> "RunFolder":
        """Open the folder of a started run."""
        file = path / MANIFEST
        if not file.is_file():
            raise ConfigError(f"{path} is not a run folder: it contains no {MANIFEST}. Check the path")
        try:
            content = read_object(read_bytes(file, limit=_MOST_BYTES))
            written = content.get("format")
            if written == FORMAT or not isinstance(written, int):
                return RunFolder(path=path, manifest=Manifest.model_validate(content))
        except ValueError as error:
            raise _damaged(file, error, "Begin the run in another folder") from error
        raise FileFormatError(
            f"the run in {path} has the format {written}, of another latentedit; this one reads {FORMAT}. Its images "
            "and tables can be used as they are; begin the run again in another folder with -o"
        )

    def has(self, unit: str) -> bool:
        """Whether a unit is finished."""
        return self._file(unit).exists()

    def finished(self) -> list[str]:
        """Finished units, in the order of the table."""
        present = {file.stem for file in (self.path / ROWS).glob("*.jsonl")}
        return [unit for unit in self.manifest.units if unit in present]

    @contextlib.contextmanager
    def claim(self, unit: str) -> Generator[bool]:
        """Claim a unit while the context is open; False if another process has claimed it."""
        lock = filelock.FileLock(self.path / CLAIMS / f"{unit}.lock", blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            yield False
            return
        except (NotImplementedError, OSError):  # a file system without locks: running a unit twice is harmless
            pass
        try:
            yield True
        finally:
            if lock.is_locked and self.has(unit):
                with contextlib.suppress(OSError):
                    Path(lock.lock_file).unlink()
            lock.release()

    def claimed(self) -> list[str]:
        """Units in progress; none if the file system has no locks."""
        units = sorted(file.stem for file in (self.path / CLAIMS).glob("*.lock"))
        with contextlib.ExitStack() as claims:
            return [unit for unit in units if not claims.enter_context(self.claim(unit))]

    def add(self, unit: str, result: UnitResult) -> None:
        """Store a unit: its files, then its rows, which mark it as finished."""
        for name, content in result.files.items():
            file = self.path / PurePosixPath(name)
            make_folder(file.parent)
            with atomic_file(file) as stream:
                stream.write(content)
        head = {"rows": len(result.rows), "failures": result.failures, **result.about}
        write_text(self._file(unit), "".join(f"{json.dumps(plain(line))}\n" for line in (head, *result.rows)))

    def forget(self, unit: str) -> None:
        """Mark a unit as unfinished."""
        self._file(unit).unlink(missing_ok=True)

    def rows(self) -> list[Row]:
        """The rows of all finished units, in order."""
        return [row for unit in self.finished() for row in self._read(unit)[1]]

    def write_table(self) -> list[Row]:
        """Write `rows` to ``rows.csv``, one column for each name, and return them."""
        rows = self.rows()
        write_table(self.path / TABLE, rows)
        return rows

    def records(self) -> dict[str, UnitRecord]:
        """The first line of each finished unit's file, in order."""
        return {unit: self._read(unit)[0] for unit in self.finished()}

    def failures(self) -> list[Failure]:
        """The failures of all finished units."""
        return [failure for record in self.records().values() for failure in record.failures]

    def _file(self, unit: str) -> Path:
        return self.path / ROWS / f"{unit}.jsonl"

    def _read(self, unit: str) -> tuple[UnitRecord, list[Row]]:
        file = self._file(unit)
        try:
            lines = read_bytes(file, limit=_MOST_BYTES).splitlines()
            head, *rows = [read_object(line) for line in lines or [b"{}"]]
            return UnitRecord.model_validate(head), [*rows]
        except ValueError as error:
            raise _damaged(file, error, "Delete it and run the same command") from error


def report_progress(run: RunFolder, progress: Progress | None) -> None:
    """Report how many units are finished."""
    if progress is not None:
        progress(run.manifest.kind, len(run.finished()), len(run.manifest.units))


def faults_of(error: pydantic.ValidationError) -> str:
    """Pydantic's errors in one line: each field and the reason; elements of lists are rows, counted from 1."""
    faults = [
        ": ".join([*(f"row {part + 1}" if isinstance(part, int) else part for part in fault["loc"]), fault["msg"]])
        for fault in error.errors(include_url=False, include_context=False)
    ]
    more = [f"and {len(faults) - _MAX_FAULTS} more"] if len(faults) > _MAX_FAULTS else []
    return "; ".join([*faults[:_MAX_FAULTS], *more]).replace("Value error, ", "")


def file_name(text: str) -> str:
    """A text as a portable file name without suffix: different names for different texts."""
    name = "".join(
        letter if letter.isprintable() and letter not in _UNPORTABLE else quote(letter, safe="", errors="replace")
        for letter in text
    )
    name = f"%{ord(name[0]):02X}{name[1:]}" if name[:1] in (".", " ") else name
    if len(name.encode()) <= _LONGEST_NAME_BYTES:
        return name or "%"
    # No shorter name contains "%-".
    start = name.encode()[: _LONGEST_NAME_BYTES - 18].decode(errors="ignore")
    return f"{start}%-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]}"


def _damaged(file: Path, error: ValueError, remedy: str) -> FileFormatError:
    why = faults_of(error) if isinstance(error, pydantic.ValidationError) else str(error)
    return FileFormatError(f"{file} is damaged: {why}. {remedy}")
