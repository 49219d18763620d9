"""A run is a folder: its plan, one file a finished unit, its pictures, and the table of all rows.

    run.json          the plan, the command, the version
    rows/UNIT.jsonl   of a unit: a line of what failed and what it took, then its rows, a JSON object a line
    rows.csv          all rows in the order of the plan, once everything is done
    claims/UNIT.lock  held by whoever works at a unit; the system lets go of it when that process dies

A unit is finished when its file in ``rows`` is there: files are written beside and renamed, and that one comes last. So
a run can be killed at any time, and several runners can share a folder.
"""

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

import filelock
import pydantic

from latentedit._version import __version__
from latentedit.api.runs.work import Failure, Row, UnitResult
from latentedit.core.errors import ConfigError, FileFormatError, OutputError
from latentedit.core.files.reading import read_object
from latentedit.core.progress import Progress
from latentedit_keep.files import check_place, make_folder, plain, read_bytes, write_text, written_beside

FORMAT = 3
"""Of run folders; those of another one come from another latentedit."""

MANIFEST = "run.json"
ROWS = "rows"
CLAIMS = "claims"
TABLE = "rows.csv"

PAUSE_S = 0.5
"""Seconds between looks at what the other runners do."""

_LONGEST_NAME = 100
"""Letters of a file's name: with folders and endings it stays below the limits of every system."""

_MOST_BYTES = 2**28
"""Size of a file in ``rows``, and of ``run.json``: far above that of any batch, and it still fits in memory."""

UnitName = Annotated[str, pydantic.Field(pattern=r"^[^./\\\x00][^/\\\x00]*$")]
"""A unit's name is a file's name: it leads to no other folder."""


class Manifest(pydantic.BaseModel):
    """The content of ``run.json``.

    Args:
        format: see `FORMAT`.
        latentedit: the version that began the run.
        kind: of the run, such as "bench".
        command: that began it.
        units: their names, in the order of the table.
        plan: everything that decides the rows, see `Work.spec`.
        request: what makes the same plan again.
    """

    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    format: int
    latentedit: str
    kind: str
    command: str
    units: list[UnitName]
    plan: dict[str, Any]
    request: dict[str, Any]


class UnitRecord(pydantic.BaseModel):
    """What is stored beside a unit's rows, and their number.

    Args:
        rows: how many.
        failures: what could not be done.
        method: what made the rows; empty where the kind of run knows none.
        items: of the unit.
        seconds: of all its work.
        edit_seconds: of editing alone.
        evaluations: of the network.
        peak_bytes: of memory; None where it cannot be measured.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="allow")

    rows: int
    failures: list[Failure]
    method: str = ""
    items: int = 0
    seconds: float = 0.0
    edit_seconds: float = 0.0
    evaluations: float = 0.0
    peak_bytes: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunFolder:
    """A run that has begun, with the content of its ``run.json``."""

    path: Path
    manifest: Manifest

    @staticmethod
    def start(
        path: Path,
        spec: Mapping[str, Any],
        *,
        kind: str,
        units: Sequence[str],
        command: str,
        request: Mapping[str, Any],
        free: Sequence[str] = (),
    ) -> "RunFolder":
        """Begin a run, or open the same one to go on.

        Args:
            path: is made where it is missing.
            spec: the plan, see `Work.spec`; what else is stored, `Manifest` says.
            free: of the plan, what may have changed since; finished units that are still among the units stay so, and
                the others are forgotten, for their files may be overwritten.

        Raises:
            ConfigError: the folder holds another run, or one of another version.
            FileFormatError: a manifest that is damaged.
            OutputError: the folder cannot be written to.
        """
        make_folder(path)
        manifest = Manifest(
            format=FORMAT,
            latentedit=__version__,
            kind=kind,
            command=command,
            units=list(units),
            plan=plain(spec),
            request=plain(request),
        )
        if not (path / MANIFEST).exists():
            _write_manifest(path, manifest)
        found = RunFolder.read(path)
        found.check_version()
        before, now = found.manifest.plan, manifest.plan
        different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        refused = [name for name in different if name not in free]
        if found.manifest.kind != kind or refused:
            raise ConfigError(
                f"{path} holds another run, with other {', '.join(refused) or 'work'}. Name another folder with -o"
            )
        if different:
            found = found._renewed(manifest)
        check_place(path / TABLE)
        make_folder(path / ROWS)
        make_folder(path / CLAIMS)
        return found

    def _renewed(self, manifest: Manifest) -> "RunFolder":
        """With another plan; what is finished of the old one and not in the new one is forgotten."""
        if held := self.claimed():
            raise ConfigError(
                f"the plan of {self.path} has changed, and somebody is still at work by the old one ({held[0]}). Wait "
                "until that has ended"
            )
        for unit in set(self.finished()) - set(manifest.units):
            self.forget(unit)
        _write_manifest(self.path, manifest)
        return RunFolder.read(self.path)

    @staticmethod
    def read(path: Path) -> "RunFolder":
        """Open a run that has begun.

        Raises:
            ConfigError: no run there, or one of another format.
            FileFormatError: a manifest that is damaged.
        """
        place = path / MANIFEST
        if not place.is_file():
            raise ConfigError(f"{path} is not the folder of a run: there is no {MANIFEST} in it. Check the path")
        stored = read_bytes(place, limit=_MOST_BYTES)
        try:
            content = read_object(stored)
        except ValueError as error:
            raise FileFormatError(f"{place} is damaged: {error}. Begin the run in another folder") from error
        if content.get("format") != FORMAT:
            raise ConfigError(
                f"the run in {path} has the format {content.get('format')}, of latentedit {content.get('latentedit')}; "
                f"this version reads {FORMAT}. Open it with that version"
            )
        try:
            return RunFolder(path=path, manifest=Manifest.model_validate(content))
        except pydantic.ValidationError as error:
            raise FileFormatError(f"{place} is damaged: {faults_of(error)}. Begin the run in another folder") from error

    def check_version(self) -> None:
        """Refuse to add rows of this version to those of another.

        Raises:
            ConfigError: another version began the run.
        """
        made = self.manifest.latentedit
        if made != __version__:
            raise ConfigError(
                f"the run in {self.path} was begun by latentedit {made}; this is {__version__}, whose rows may differ. "
                "Finish it with that version, or begin again in another folder"
            )

    def has(self, unit: str) -> bool:
        """Whether a unit is finished."""
        return self._place(unit).exists()

    def finished(self) -> list[str]:
        """Names of all finished units, in the order of the table."""
        there = {place.stem for place in (self.path / ROWS).glob("*.jsonl")}
        return [unit for unit in self.manifest.units if unit in there]

    @contextlib.contextmanager
    def claim(self, unit: str) -> Generator[bool]:
        """Hold a unit; False where another runner does."""
        lock = filelock.FileLock(self.path / CLAIMS / f"{unit}.lock", blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            yield False
            return
        except (NotImplementedError, OSError):  # a file system without locks: doing a unit twice does no harm
            yield True
            return
        try:
            yield True
        finally:
            if self.has(unit):
                with contextlib.suppress(OSError):
                    Path(lock.lock_file).unlink()
            lock.release()

    def claimed(self) -> list[str]:
        """Units at which somebody works now; none where that cannot be found out."""
        names: list[str] = []
        for place in sorted((self.path / CLAIMS).glob("*.lock")):
            try:
                with filelock.FileLock(place, blocking=False):
                    pass
            except filelock.Timeout:
                names.append(place.stem)
            except (NotImplementedError, OSError):  # a file system without locks, or somebody else's folder
                continue
        return names

    def add(self, unit: str, result: UnitResult) -> None:
        """Store a unit: its files, and then its rows, by which it is finished.

        Raises:
            OutputError: the folder cannot be written to, or the disk is full.
        """
        for name, content in result.files.items():
            place = self.path / PurePosixPath(name)
            make_folder(place.parent)
            with written_beside(place) as file:
                file.write(content)
        head = {"rows": len(result.rows), "failures": result.failures, **result.about}
        write_text(self._place(unit), "".join(f"{json.dumps(plain(line))}\n" for line in (head, *result.rows)))

    def forget(self, unit: str) -> None:
        """Let a unit be done again.

        Raises:
            OutputError: the folder cannot be written to.
        """
        try:
            self._place(unit).unlink(missing_ok=True)
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputError(f"{self._place(unit)} cannot be removed: {why}. Copy the run to another place") from error

    def rows(self) -> list[Row]:
        """Every row of the finished units, in their order.

        Raises:
            FileFormatError: a unit's file that is damaged.
        """
        return [row for unit in self.finished() for row in self._read(unit)[1]]

    def write_table(self) -> list[Row]:
        """`rows`, also written as ``rows.csv``: a column for every name, empty cells where a row has no value.

        Raises:
            FileFormatError: a unit's file that is damaged.
            OutputError: the folder cannot be written to, or the disk is full.
        """
        rows, text = self.rows(), io.StringIO(newline="")
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path / TABLE, text.getvalue())
        return rows

    def records(self) -> dict[str, UnitRecord]:
        """Of each finished unit, in order, what is stored beside its rows.

        Raises:
            FileFormatError: a unit's file that is damaged.
        """
        return {unit: self._read(unit)[0] for unit in self.finished()}

    def failures(self) -> list[Failure]:
        """Everything that could not be done."""
        return [failure for record in self.records().values() for failure in record.failures]

    def _place(self, unit: str) -> Path:
        return self.path / ROWS / f"{unit}.jsonl"

    def _read(self, unit: str) -> tuple[UnitRecord, list[Row]]:
        place = self._place(unit)
        content = read_bytes(place, limit=_MOST_BYTES)
        try:
            lines = [read_object(line) for line in content.splitlines()]
            if not lines:
                raise ValueError("it is empty")
            record = UnitRecord.model_validate(lines[0])
            if record.rows != len(lines) - 1:
                raise ValueError(f"it holds {len(lines) - 1} rows of {record.rows}")
            return record, [*lines[1:]]
        except pydantic.ValidationError as error:
            raise _damaged(place, faults_of(error)) from error
        except ValueError as error:
            raise _damaged(place, str(error)) from error


def report(folder: RunFolder, progress: Progress | None) -> None:
    """Tell how many units are finished."""
    if progress is not None:
        progress(folder.manifest.kind, len(folder.finished()), len(folder.manifest.units))


@contextlib.contextmanager
def explained_interrupt(folder: RunFolder) -> Generator[None]:
    """Ctrl-C says what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        kept, units = len(folder.finished()), len(folder.manifest.units)
        raise KeyboardInterrupt(
            f"interrupted; {kept} of {units} parts are kept in {folder.path}, and the same command goes on from there"
        ) from None


def faults_of(error: pydantic.ValidationError) -> str:
    """What a validation found wrong, in one line: each field and why."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"
        for fault in error.errors(include_url=False)[:5]
    )


def file_name(text: str) -> str:
    """A text as a file's name without ending: the same for the same text, another for another."""
    name = quote(text, safe=" ,+=()@")
    name = f"%{ord(name[0]):02X}{name[1:]}" if name[:1] in (".", " ") else name
    if len(name) <= _LONGEST_NAME:
        return name or "%"
    # No shorter name has "%-" in it.
    return f"{name[: _LONGEST_NAME - 18]}%-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _write_manifest(path: Path, manifest: Manifest) -> None:
    write_text(path / MANIFEST, json.dumps(manifest.model_dump(), indent=1, ensure_ascii=False) + "\n")


def _damaged(place: Path, why: str) -> FileFormatError:
    return FileFormatError(f"{place} is damaged: {why}. Delete it: the same command does that part again")
