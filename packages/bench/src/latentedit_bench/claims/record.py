"""What is stored of an experiment: the claim, the plan, what was found, and what it took."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentedit._version import __version__
from latentedit.api.outputs import plain
from latentedit.core.errors import FileFormatError
from latentedit.core.files.reading import MAX_DOCUMENT_BYTES, read_bytes, read_object
from latentedit.core.files.writing import write_text
from latentedit_bench.analysis.base import Claim
from latentedit_bench.analysis.claims import read_claims
from latentedit_bench.claims.base import Experiment

PLANS = "plans.json"
"""Every experiment's plan by name, written before anything is measured."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """An experiment that was run.

    Args:
        name: of the experiment.
        about: what was written down before it ran, see `planned`.
        claims: none where it failed; the first is the one that the statement is about.
        notes: what a reader must know beside the numbers.
        failure: why nothing was found; None where something was.
        command: that was typed.
        seconds: wall time, without that of runs that were stopped before.
        resumed: whether such a run had left something.
        peak_bytes: highest resident memory of the process (CPU) or allocation (CUDA).
        latentedit: version.
    """

    name: str
    about: Mapping[str, Any]
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
    failure: str | None = None
    command: str
    seconds: float
    resumed: bool
    peak_bytes: int
    latentedit: str = __version__

    def write(self, folder: Path) -> None:
        """As ``NAME.json``.

        Raises:
            OutputError: the folder cannot be written to.
        """
        write_text(folder / f"{self.name}.json", json.dumps(plain(self), indent=1, ensure_ascii=False) + "\n")

    @staticmethod
    def read(place: Path) -> "Record":
        """What `write` wrote.

        Raises:
            FileFormatError: a file that is damaged, or is something else.
        """
        told = _read(place)
        try:
            claims, notes = read_claims(told.pop("claims")), tuple(told.pop("notes"))
            return Record(claims=claims, notes=notes, **told)
        except (KeyError, TypeError) as error:
            raise _damaged(place, str(error)) from None


def planned(experiment: Experiment, *, quick: bool) -> dict[str, Any]:
    """What is written down of an experiment before it runs.

    Args:
        experiment: with the plan that is to run.
        quick: whether that is the smaller one.
    """
    return plain(
        {
            "paper": experiment.paper,
            "statement": experiment.statement,
            "statistic": experiment.statistic,
            "rule": experiment.rule,
            "quick": quick,
            "plan": dict(experiment.plan),
        }
    )


def read_plans(folder: Path) -> dict[str, dict[str, Any]]:
    """What `planned` gave for each experiment of a folder; nothing where none was begun.

    Raises:
        FileFormatError: a file that is damaged.
    """
    place = folder / PLANS
    return _read(place) if place.exists() else {}


def read_records(folder: Path) -> dict[str, Record]:
    """Every experiment of a folder that was planned and has run, by name, in the order of the plans.

    Raises:
        FileFormatError: a file that is damaged.
    """
    places = {name: folder / f"{name}.json" for name in read_plans(folder)}
    return {name: Record.read(place) for name, place in places.items() if place.exists()}


def _read(place: Path) -> dict[str, Any]:
    try:
        return read_object(read_bytes(place, limit=MAX_DOCUMENT_BYTES))
    except ValueError as error:
        raise _damaged(place, str(error)) from None


def _damaged(place: Path, why: str) -> FileFormatError:
    return FileFormatError(f"expected {place} as `latentedit reproduce` wrote it; {why}. Remove it, and run again")
