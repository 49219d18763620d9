"""Running an analysis: resumable, one line of rows a unit of work, and what is written at the end."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from latentedit._version import __version__
from latentedit.api.outputs import plain
from latentedit.core.errors import ConfigError
from latentedit.core.files.writing import make_folder, write_text
from latentedit.core.progress import Progress
from latentedit_bench.analysis.base import Analysis, Conclusion, Row
from latentedit_bench.analysis.journal import Journal
from latentedit_bench.analysis.plotting import new_figure, save_figure
from latentedit_bench.analysis.study import Study
from latentedit_bench.metrics.statistics import Table

WORK = "unfinished"
"""Folder, inside the one of the results, for the rows of each unit and for bases; it may be deleted."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finished:
    """A finished analysis, and where it was written.

    Args:
        conclusion: what it says.
        table: every row.
        files: the summary and the rows (CSV), the plot (PNG), and everything about them (JSON).
        measured: units that were measured now; the others were there already.
    """

    conclusion: Conclusion
    table: Table
    files: tuple[Path, ...]
    measured: int


def run(
    analysis: Analysis, studies: Sequence[Study], folder: Path, *, command: str, progress: Progress | None = None
) -> Finished:
    """Measure what was not measured before, then conclude, draw and write.

    Args:
        analysis: the question.
        studies: one a model.
        folder: where the results go; made where it is missing.
        command: that is stored with them.
        progress: told the analysis' name after each unit, in units.

    Raises:
        ConfigError: fewer pictures or models than the analysis needs, or one model twice.
        OutputError: the folder cannot be written to.
    """
    names = [study.backbone.name for study in studies]
    if len(set(names)) < len(names):
        raise ConfigError(f"expected each model once; got {', '.join(names)}")
    if len(names) < analysis.fewest_models:
        raise ConfigError(
            f"expected at least {analysis.fewest_models} models for {analysis.name}, which compares them; got "
            f"{', '.join(names)}. Name another one"
        )
    for study in studies:
        if len(study) < analysis.fewest:
            raise ConfigError(
                f"expected at least {analysis.fewest} pictures for {analysis.name}, which compares them; got "
                f"{len(study)}. Name more pictures"
            )
    plans = [(study, analysis.items(study)) for study in studies]
    make_folder(folder / WORK)
    total, done, measured = sum(len(items) for _, items in plans), 0, 0
    rows: list[Row] = []
    for study, items in plans:
        journal = _journal(folder / WORK, analysis, study)
        for item in items:
            found = journal.known.get(item)
            if found is None:
                found = analysis.measure(study, item)
                journal.add(item, found)
                measured += 1
            rows += [{"model": study.backbone.name, **row} for row in found]
            done += 1
            if progress is not None:
                progress(analysis.name, done, total)
    table = pd.DataFrame(rows)
    conclusion = analysis.conclude(table)
    files = _write(analysis, studies, folder, table, conclusion, command)
    return Finished(conclusion=conclusion, table=table, files=files, measured=measured)


def _journal(folder: Path, analysis: Analysis, study: Study) -> Journal:
    """The rows of one analysis of one study, under settings that are part of the file's name."""
    about = json.dumps([plain(study.settings), plain(analysis.settings)], sort_keys=True)
    digest = hashlib.sha256(about.encode()).hexdigest()[:16]
    return Journal.open(folder / f"{analysis.name}-{digest}.jsonl")


def _write(
    analysis: Analysis,
    studies: Sequence[Study],
    folder: Path,
    table: Table,
    conclusion: Conclusion,
    command: str,
) -> tuple[Path, ...]:
    """The files of a finished analysis; each whole, or as it was."""
    places = [folder / f"{analysis.name}{ending}" for ending in (".csv", "-rows.csv", ".png", ".json")]
    for place, frame in zip(places, (conclusion.summary, table), strict=False):
        text = StringIO()
        frame.to_csv(text, index=False, float_format="%.6g", lineterminator="\n")
        write_text(place, text.getvalue())
    figure = new_figure(len(studies))
    analysis.draw(table, figure)
    save_figure(figure, places[2])
    told: dict[str, Any] = {
        "analysis": analysis.name,
        "title": analysis.title,
        "verdict": conclusion.line,
        "command": command,
        "latentedit": __version__,
        "settings": dict(analysis.settings),
        "studies": [dict(study.settings) for study in studies],
        "claims": [dataclasses.asdict(claim) for claim in conclusion.claims],
    }
    write_text(places[3], json.dumps(plain(told), indent=1, ensure_ascii=False) + "\n")
    return tuple(places)
