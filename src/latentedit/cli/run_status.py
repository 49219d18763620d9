"""The state of a run's folder: progress, time left, failures."""

from typing import TYPE_CHECKING, Any

import typer

from latentedit.core.console import warn, with_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latentedit.batch.folder import Failure, RunFolder

_SHOWN = 10  # failures listed one by one


def status_json(folder: "RunFolder") -> "Mapping[str, Any]":
    """The content of `status_rows` for ``--json``."""
    records, held = folder.records(), folder.claimed()
    done, units = len(records), len(folder.manifest.units)
    spent = sum((record.seconds for record in records.values()), 0.0)
    edits = [record.seconds for record in records.values() if record.evaluations]  # parts that edit nothing are quick
    each = sum(edits) / len(edits) if edits else None
    left = 0.0 if done == units else None if each is None else (units - done) * each / max(1, len(held))
    return {
        "kind": folder.manifest.kind,
        "state": "finished" if done == units else "running" if held else "stopped",
        "done": done,
        "units": units,
        "at_work": held,
        "rows": sum(record.rows for record in records.values()),
        "seconds": spent,
        "seconds_left": left,
        "failures": folder.failures(),
        "command": folder.manifest.command,
        "latentedit": folder.manifest.latentedit,
    }


def status_rows(folder: "RunFolder") -> list[tuple[str, str]]:
    """Label and text."""
    status = status_json(folder)
    held = f", {len(status['at_work'])} at work now" if status["at_work"] else ""
    left = "" if status["seconds_left"] in (None, 0) else f"; about {_time(status['seconds_left'])} to go"
    rows = [
        ("state", f"{status['state']}: {status['done']} of {status['units']} parts done{held}"),
        ("rows", str(status["rows"])),
        ("time", f"{_time(status['seconds'])} of work{left}"),
        ("failures", str(len(status["failures"]) or "none")),
        *(("", text) for text in failure_lines(status["failures"])),
        ("command", status["command"]),
    ]
    if status["state"] == "stopped":
        rows.append(("continue", status["command"]))
    return rows


def failure_lines(failures: "Sequence[Failure]") -> list[str]:
    """One line a failure, and the number of further ones."""
    lines = [f"{failure.item}, {failure.what}: {with_options(failure.why)}" for failure in failures[:_SHOWN]]
    more = len(failures) - len(lines)
    return lines + ([f"and {more} more"] if more else [])


def finish(folder: "RunFolder") -> None:
    """List failures, and exit with code 1 if there are any."""
    failures = folder.failures()
    if failures:
        warn([f"{len(failures)} could not be done", *failure_lines(failures)])
        raise typer.Exit(1)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
