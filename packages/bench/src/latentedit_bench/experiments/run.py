"""Running experiments: their plans are written first, then each is measured, judged, drawn and stored by itself.

plans.json     every experiment's plan by name
NAME/          rows of the experiment, while it runs and after
NAME.png       its plot
NAME.json      its record, by which it is finished
"""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit._version import __version__
from latentedit.api.measure import peak_bytes, reset_peak
from latentedit.core.errors import ConfigError, FileFormatError, LatentEditError
from latentedit.core.files.tensors import read_object
from latentedit.core.progress import Progress
from latentedit.models.placement import existing_device
from latentedit_bench.experiments.base import Context, Experiment
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.plotting import new_figure, save_figure
from latentedit_keep.files import make_folder, plain, write_text

PLANS = "plans.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """An experiment that was run.

    Args:
        name: of the experiment.
        about: what was written down before it ran, see `planned`.
        claims: none where it failed; the first of each model is the one that the statement is about.
        notes: what a reader must know beside the numbers.
        failure: why nothing was found; None where something was.
        weights: fingerprints of the models' weights by their names; none where it was run before they were stored.
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
    weights: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    command: str
    seconds: float
    resumed: bool
    peak_bytes: int
    latentedit: str = __version__

    @property
    def heads(self) -> tuple[Claim, ...]:
        """Of each model the first claim, by which the statement is decided there."""
        return tuple({claim.model: claim for claim in reversed(self.claims)}.values())[::-1]

    def verdict(self, claim: Claim | None = None) -> str:
        """That of a claim, or without one what became of the experiment; and whether it was quick."""
        word = "failed" if self.failure is not None else "not measured" if claim is None else claim.verdict
        return f"{word}, quick" if self.about["quick"] else word

    def changed_weights(self, experiment: Experiment) -> list[str]:
        """Models whose weights are others now than those it was found with; none where these were not stored."""
        now = experiment.weights() if self.weights else {}
        return [name for name, fingerprint in self.weights.items() if fingerprint != now.get(name)]

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
        stored = _read(place)
        try:
            claims, notes = read_claims(stored.pop("claims")), tuple(stored.pop("notes"))
            return Record(claims=claims, notes=notes, **stored)
        except (KeyError, TypeError) as error:
            raise _damaged(place, str(error)) from None


def read_claims(stored: Sequence[Mapping[str, Any]]) -> tuple[Claim, ...]:
    """Claims as they are stored, in which null is a number that is not known.

    Raises:
        TypeError: something else.
    """
    known: list[dict[str, Any]] = [
        {name: math.nan if value is None else value for name, value in one.items()} for one in stored
    ]
    return tuple(Claim(**one) for one in known)


def planned(experiment: Experiment, *, quick: bool) -> dict[str, Any]:
    """What is written down of an experiment before it runs.

    Args:
        experiment: with the plan that is to run.
        quick: whether that is the smaller one.
    """
    about = {name: getattr(experiment, name) for name in ("paper", "statement", "statistic", "rule")}
    return plain({**about, "quick": quick, "plan": dict(experiment.plan)})


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


def reproduce(
    experiments: Sequence[Experiment],
    folder: Path,
    *,
    command: str,
    quick: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> list[Record]:
    """Run what has not been run; an experiment that fails is recorded, and the others go on.

    It can be stopped anywhere, and goes on there.

    Args:
        experiments: with their full plans.
        folder: where the results go; made where it is missing.
        command: that is stored with them.
        quick: run each by its smaller plan.
        device: where models run; None is the best there is.
        progress: see `Context`.
        note: see `Context`.

    Returns:
        A record of each, in the same order.

    Raises:
        ConfigError: the folder holds another plan of one of them, or what was found with other weights; nothing was
            run.
        RegistryError, ModelError: a model that a finished experiment was run with, and that is no longer there.
        DeviceError: a device that this machine lacks.
        FileFormatError: a file of the folder that is damaged.
        OutputError: the folder cannot be written to.
    """
    existing_device(device)
    chosen = [experiment.quick() if quick else experiment for experiment in experiments]
    plans = {experiment.name: planned(experiment, quick=quick) for experiment in chosen}
    known = read_records(folder)
    for experiment in chosen:
        _check_weights(experiment, known.get(experiment.name), folder)
    _store_plans(folder, plans)
    records: list[Record] = []
    for experiment in chosen:
        record, about = known.get(experiment.name), plans[experiment.name]
        if record is None or record.failure is not None or record.about != about:
            own = folder / experiment.name
            at = Context(folder=own, command=command, device=device, progress=progress, note=note)
            record = _run(experiment, about, folder, at)
        records.append(record)
    return records


def _check_weights(experiment: Experiment, record: Record | None, folder: Path) -> None:
    """What was found with weights that a model no longer has is not what would be found now."""
    changed = [] if record is None else record.changed_weights(experiment)
    if changed:
        raise ConfigError(
            f"{folder} holds {experiment.name} as it was found with other weights of {', '.join(changed)}. Name "
            "another folder with -o"
        )


def _store_plans(folder: Path, plans: Mapping[str, dict[str, Any]]) -> None:
    """Add plans to those of the folder."""
    known = read_plans(folder)
    for name, about in plans.items():
        before = known.get(name, about)
        if before != about:
            raise ConfigError(
                f"{folder} holds {name} by another plan, with other {_differing(before, about)}. Name another folder "
                "with -o"
            )
    make_folder(folder)
    if known != {**known, **plans}:
        write_text(folder / PLANS, json.dumps({**known, **plans}, indent=1, ensure_ascii=False) + "\n")


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Names of what differs; of the plan, its own."""
    flat = [{**about, **about["plan"], "plan": None} for about in (before, now)]
    return ", ".join(name for name in {**flat[0], **flat[1]} if flat[0].get(name) != flat[1].get(name))


def _run(experiment: Experiment, about: dict[str, Any], folder: Path, at: Context) -> Record:
    """Measure, draw and store one; the record comes last, by which it is finished."""
    resumed, begun, on = at.folder.exists(), time.perf_counter(), existing_device(at.device)
    reset_peak(on)
    found: dict[str, Any]
    try:
        outcome = experiment.run(at)
        figure = new_figure()
        experiment.draw(outcome, figure)
        save_figure(figure, folder / f"{experiment.name}.png")
        line = (f"Found: {outcome.line}.",) if outcome.line else ()
        found = {"claims": outcome.claims, "notes": (*line, *outcome.notes, *experiment.notes)}
    except LatentEditError as error:
        found = {"failure": str(error)}
    record = Record(
        name=experiment.name,
        about=about,
        weights={} if "failure" in found else experiment.weights(),
        command=at.command,
        seconds=time.perf_counter() - begun,
        resumed=resumed,
        peak_bytes=peak_bytes(on),
        **found,
    )
    record.write(folder)
    return record


def _read(place: Path) -> dict[str, Any]:
    try:
        return read_object(place.read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(place, str(error)) from None


def _damaged(place: Path, why: str) -> FileFormatError:
    return FileFormatError(f"{place} is not as `latentedit reproduce` wrote it: {why}. Remove it, and run again")
