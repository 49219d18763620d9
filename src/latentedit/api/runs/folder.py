"""A run is a folder: a manifest, one Parquet file a finished unit, its pictures, and the table of all rows.

    run.json           the plan, the command, the version
    rows/UNIT.parquet  rows of a unit, and in the file's metadata what was failed and what it took
    rows.parquet       all rows in the order of the plan, once everything is done
    claims/UNIT.lock   held by whoever works at a unit; the system lets go of it when that process dies

A unit is finished when its Parquet file is there: files are written beside and renamed, and that one comes last. So a
run can be killed at any time, and several runners can share a folder.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import filelock
import pyarrow as pa
import pyarrow.parquet as pq

from latentedit._version import __version__
from latentedit.api.outputs import plain
from latentedit.api.runs.table import Table
from latentedit.api.runs.unit_file import read_about, read_rows, write_unit
from latentedit.api.runs.work import Done, Failure
from latentedit.core.errors import ConfigError, FileFormatError, OutputError
from latentedit.core.files.reading import read_object
from latentedit.core.files.writing import check_place, make_folder, write_text, written_beside

FORMAT = 2
"""Of run folders; those of another one come from another latentedit."""

MANIFEST = "run.json"
ROWS = "rows"
CLAIMS = "claims"
TABLE = "rows.parquet"

_MANIFEST_NAMES = ("latentedit", "kind", "command", "units", "plan", "request")

_LONGEST_NAME = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunFolder:
    """A run that has begun.

    Args:
        path: of the folder.
        manifest: the content of its ``run.json``: "format", "latentedit", "kind", "plan", "request", "units" (their
            names in the order of the table), "command".
    """

    path: Path
    manifest: Mapping[str, Any]

    @staticmethod
    def start(
        path: Path,
        told: Mapping[str, Any],
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
            told: the plan, see `Work.told`.
            kind: of the run, such as "bench".
            units: their names, in the order of the table.
            command: that began it.
            request: what makes the same plan again.
            free: of the plan, what may have changed since; finished units that are still among the units stay so, and
                the others are forgotten, for their files may be overwritten.

        Raises:
            ConfigError: the folder holds another run, or one of another version.
            FileFormatError: a manifest that is damaged.
            OutputError: the folder cannot be written to.
        """
        make_folder(path)
        manifest = plain(
            {
                "format": FORMAT,
                "latentedit": __version__,
                "kind": kind,
                "command": command,
                "units": list(units),
                "plan": told,
                "request": request,
            }
        )
        if not (path / MANIFEST).exists():
            write_text(path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        found = RunFolder.read(path)
        found.check_version()
        before, now = found.manifest["plan"], manifest["plan"]
        different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if found.manifest["kind"] != kind or set(different) - set(free):
            raise ConfigError(
                f"expected {path} to be empty or to hold this run; it holds one with other "
                f"{', '.join(different) or 'work'}. Name another folder with -o"
            )
        if different:
            found = found._renewed(manifest)
        check_place(path / TABLE)
        make_folder(path / ROWS)
        make_folder(path / CLAIMS)
        return found

    def _renewed(self, manifest: Mapping[str, Any]) -> "RunFolder":
        if held := self.claimed():
            raise ConfigError(
                f"expected nobody at work in {self.path}, for its plan has changed; {held[0]} is being done. Wait "
                "until that has ended"
            )
        for unit in set(self.finished()) - set(manifest["units"]):
            self.forget(unit)
        write_text(self.path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
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
            raise ConfigError(f"expected the folder of a run, with {MANIFEST} in it; got {path}. Check the path")
        try:
            manifest = read_object(place.read_bytes())
        except (OSError, ValueError) as error:
            raise FileFormatError(f"expected a sound {place}; {error}. Begin the run in another folder") from error
        if manifest.get("format") != FORMAT:
            raise ConfigError(
                f"expected a run of format {FORMAT} in {path}; got {manifest.get('format')}, from latentedit "
                f"{manifest.get('latentedit')}. Open it with that version"
            )
        missing = [name for name in _MANIFEST_NAMES if name not in manifest]
        if missing:
            raise FileFormatError(
                f"expected a sound {place}; it has no {', '.join(missing)}. Begin the run in another folder"
            )
        return RunFolder(path=path, manifest=manifest)

    def check_version(self) -> None:
        """Refuse to add rows of this version to those of another.

        Raises:
            ConfigError: another version began the run.
        """
        made = self.manifest["latentedit"]
        if made != __version__:
            raise ConfigError(
                f"expected {self.path} to hold a run of latentedit {__version__}; it was begun by {made}, "
                "whose rows may differ. Finish it with that version, or begin again in another folder"
            )

    def has(self, unit: str) -> bool:
        """Whether a unit is finished."""
        return self._place(unit).exists()

    def finished(self) -> list[str]:
        """Names of all finished units, in the order of the table."""
        there = {place.stem for place in (self.path / ROWS).glob("*.parquet")}
        return [unit for unit in self.manifest["units"] if unit in there]

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

    def add(self, unit: str, done: Done) -> None:
        """Store a unit: its files, and then its rows, by which it is finished.

        Raises:
            OutputError: the folder cannot be written to, or the disk is full.
        """
        for name, content in done.files.items():
            place = self.path / PurePosixPath(name)
            make_folder(place.parent)
            with written_beside(place) as file:
                file.write(content)
        write_unit(self._place(unit), done)

    def forget(self, unit: str) -> None:
        """Let a unit be done again.

        Raises:
            OutputError: the folder cannot be written to.
        """
        try:
            self._place(unit).unlink(missing_ok=True)
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputError(
                f"expected to be able to remove {self._place(unit)}; got: {why}. Copy the run to another place"
            ) from error

    def table(self) -> Table:
        """Every row of the finished units, in their order.

        Raises:
            FileFormatError: a unit's file that is damaged.
        """
        return read_rows([self._place(unit) for unit in self.finished()])

    def write_table(self) -> Table:
        """`table`, also written as ``rows.parquet``.

        Raises:
            FileFormatError: a unit's file that is damaged.
            OutputError: the folder cannot be written to, or the disk is full.
        """
        rows = self.table()
        with written_beside(self.path / TABLE) as file:
            pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), file, compression="zstd")
        return rows

    def records(self) -> Mapping[str, Mapping[str, Any]]:
        """Of each finished unit, in order, what was told beside its rows; see `unit_file.read_about`.

        Raises:
            FileFormatError: a unit's file that is damaged.
        """
        return {unit: read_about(self._place(unit)) for unit in self.finished()}

    def failures(self) -> list[Failure]:
        """Everything that could not be done."""
        return [Failure(**one) for record in self.records().values() for one in record["failures"]]

    def _place(self, unit: str) -> Path:
        return self.path / ROWS / f"{unit}.parquet"


def file_name(text: str) -> str:
    """A text as a file's name without ending: the same for the same text, another for another."""
    name = quote(text, safe=" ,+=()@")
    name = f"%{ord(name[0]):02X}{name[1:]}" if name[:1] in (".", " ") else name
    if len(name) <= _LONGEST_NAME:
        return name or "%"
    # No shorter name has "%-" in it.
    return f"{name[: _LONGEST_NAME - 18]}%-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
