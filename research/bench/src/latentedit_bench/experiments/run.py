"""Running experiments: each is measured, decided, drawn and stored on its own.

NAME/          rows of the experiment, while it runs and after
NAME.webp      its plots
NAME.json      its record, by which it is finished
"""

import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit import LatentEditError, __version__
from latentedit.core import ConfigError, FileFormatError, Progress, make_folder, plain, read_object, write_text
from latentedit.numerics import existing_device, peak_bytes, reset_peak
from latentedit_bench.experiments.experiment import Context, Experiment
from latentedit_bench.metrics.decisions import Outcome
from latentedit_bench.report.plots import Forest, Shown, draw_figure, save_figure


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """An experiment that was run."""

    name: str  # name of the experiment
    paper: str
    claim: str
    quick: bool  # whether the plan was the smaller one
    plan: Mapping[str, Any]  # models, images, levels, seeds
    primary: tuple[Outcome, ...] = ()  # one per model; none if the experiment failed
    secondary: tuple[Outcome, ...] = ()  # reported, but do not decide
    notes: str = ""  # warnings to the reader
    failure: str | None = None  # why there is no outcome; None if there is one
    weights: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])  # fingerprints, where known
    command: str  # command line that was typed
    seconds: float  # wall time, without that of runs that were stopped before
    peak_bytes: int  # highest resident memory of the process (CPU) or allocation (CUDA)
    latentedit: str = __version__  # version

    @property
    def sentence(self) -> str:
        """The claim, as a sentence without its full stop."""
        return self.claim[:1].upper() + self.claim[1:]

    @property
    def others(self) -> list[tuple[str, str]]:
        """Secondary measures, each with the outcomes of all models."""
        found: dict[str, list[str]] = {}
        for one in self.secondary:
            found.setdefault(one.measure, []).append(f"{one.model} {one.text}")
        return [(name, "; ".join(texts)) for name, texts in found.items()]

    def verdict(self, outcome: Outcome) -> str:
        """Such as "holds", or "would not hold (quick run, 8 images)"."""
        if not self.quick:
            return outcome.verdict
        words = {"holds": "would hold", "does not hold": "would not hold"}.get(outcome.verdict, outcome.verdict)
        return f"{words} (quick run, {outcome.images} images)"

    def changed_weights(self, experiment: Experiment) -> list[str]:
        """Models whose weights have changed since; none if the fingerprints were not stored."""
        now = experiment.weights() if self.weights else {}
        return [name for name, fingerprint in self.weights.items() if fingerprint != now.get(name)]

    def write(self, folder: Path) -> None:
        """Write the record as ``NAME.json``."""
        write_text(folder / f"{self.name}.json", json.dumps(plain(self), indent=1, ensure_ascii=False) + "\n")

    @staticmethod
    def read(place: Path) -> "Record":
        """Read what `write` wrote."""
        try:
            stored = read_object(place.read_bytes())
            for name in ("primary", "secondary"):
                stored[name] = tuple(_outcome(one) for one in stored[name])
            return Record(**stored)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileFormatError(f"{place} is not a record of `latentedit reproduce`: {error}. Remove it") from None


def read_records(folder: Path) -> list[Record]:
    """Every record of a folder, by name."""
    return [Record.read(place) for place in sorted(folder.glob("*.json"))]


def reproduce(
    experiments: Sequence[Experiment],  # experiments with their full plans
    folder: Path,  # folder of the results; created if it is missing
    *,
    command: str,  # command line that is stored with them
    quick: bool = False,  # run each by its smaller plan
    device: str | None = None,  # device of the models; None is the best available
    progress: Progress | None = None,  # see `Context`
) -> list[Record]:
    """Run experiments without a result; a failure is recorded, and the others continue.

    A stopped run continues.
    """
    existing_device(device)
    chosen = [one.changed(**one.quick) if quick else one for one in experiments]
    known = {one.name: found for one in chosen if (found := _stored(one, folder, quick=quick)) is not None}
    make_folder(folder)
    records: list[Record] = []
    for one in chosen:
        record = known.get(one.name)
        if record is None or record.failure is not None:
            context = Context(folder=folder / one.name, command=command, device=device, progress=progress)
            record = _run(one, folder, context, quick=quick)
        records.append(record)
    return records


def _stored(one: Experiment, folder: Path, *, quick: bool) -> Record | None:
    """The stored result of an experiment; rejects one with another plan or other weights."""
    place = folder / f"{one.name}.json"
    if not place.exists():
        return None
    found = Record.read(place)
    if found.quick != quick or found.plan != plain(one.plan):
        raise ConfigError(f"{folder} has results of {one.name} with another plan. Choose another folder with -o")
    changed = found.changed_weights(one)
    if changed:
        raise ConfigError(
            f"{folder} has results of {one.name} with other weights of {', '.join(changed)}. Choose another folder "
            "with -o"
        )
    return found


def _run(one: Experiment, folder: Path, context: Context, *, quick: bool) -> Record:
    """Measure, draw and store one; the record is written last and marks it as finished."""
    begun, on = time.perf_counter(), existing_device(context.device)
    reset_peak(on)
    found: dict[str, Any]
    try:
        rows = one.rows(context)
        primary, secondary = one.conclude(rows)
        shown = Shown(rows=rows, outcomes=primary, image_columns=one.image_columns or one.source.image_columns)
        save_figure(draw_figure((*one.plots, Forest()), shown), folder / f"{one.name}.webp")
        found = {"primary": primary, "secondary": secondary, "weights": one.weights()}
    except LatentEditError as error:
        found = {"failure": str(error)}
    found |= {name: getattr(one, name) for name in ("name", "paper", "claim", "notes")}
    record = Record(
        quick=quick,
        plan=plain(one.plan),
        command=context.command,
        seconds=time.perf_counter() - begun,
        peak_bytes=peak_bytes(on),
        **found,
    )
    record.write(folder)
    return record


def _outcome(stored: Mapping[str, Any]) -> Outcome:
    """From JSON, in which null is an unknown number."""
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in stored.items()}
    return Outcome(**known)
