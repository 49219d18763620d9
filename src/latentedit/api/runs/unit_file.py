"""The file of a finished unit: its rows as Parquet, and in the file's metadata what was told beside them."""

import contextlib
import dataclasses
import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from latentedit.api.outputs import plain
from latentedit.api.runs.table import Table
from latentedit.api.runs.work import Done, Row
from latentedit.core.errors import FileFormatError
from latentedit.core.files.writing import written_beside

_ABOUT = b"latentedit"
"""Key of the metadata."""


def write_unit(place: Path, done: Done) -> None:
    """Store rows, failures and what else is told; not the unit's files.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    about = {"failures": [dataclasses.asdict(one) for one in done.failures], **plain(done.about)}
    table = _arrow(done.rows).replace_schema_metadata({_ABOUT: json.dumps(about)})
    with written_beside(place) as file:
        pq.write_table(table, file, compression="zstd")


def read_rows(places: Sequence[Path]) -> Table:
    """The rows of some units, below each other; a column that says nothing anywhere holds numbers.

    Raises:
        FileFormatError: a file that is damaged.
    """
    parts: list[Any] = []
    for place in places:
        with _sound(place):
            parts.append(pq.read_table(place).replace_schema_metadata(None))
    whole = pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})
    schema = [pa.field(one.name, pa.float64() if pa.types.is_null(one.type) else one.type) for one in whole.schema]
    return whole.cast(pa.schema(schema)).to_pandas()


def read_about(place: Path) -> Mapping[str, Any]:
    """What was told beside the rows: "failures", how many "rows" there are, "seconds" and more.

    Raises:
        FileFormatError: a file that is damaged.
    """
    with _sound(place):
        told = pq.read_metadata(place)
    return json.loads(told.metadata[_ABOUT]) | {"rows": told.num_rows}


@contextlib.contextmanager
def _sound(place: Path) -> Generator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(
            f"expected a sound {place}; it cannot be read. Delete it: the same command does that part again"
        ) from error


def _arrow(rows: Sequence[Row]) -> Any:
    names = dict.fromkeys(name for row in rows for name in row)
    told = plain(list(rows))
    return pa.table({name: pa.array([row.get(name) for row in told]) for name in names})
