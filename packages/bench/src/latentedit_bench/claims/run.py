"""Running experiments: their plans are written first, then each is measured, judged, drawn and stored by itself."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit.api.measure import peak_bytes, reset_peak
from latentedit.core.errors import ConfigError, LatentEditError
from latentedit.core.files.writing import make_folder, write_text
from latentedit.core.progress import Progress
from latentedit.models.network import existing_device
from latentedit_bench.analysis.plotting import new_figure, save_figure
from latentedit_bench.claims.base import Experiment, Place
from latentedit_bench.claims.record import PLANS, Record, planned, read_plans, read_records


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

    ``plans.json`` comes first. Each experiment works in ``NAME/``, and is finished with ``NAME.png`` and ``NAME.json``.
    It can be stopped anywhere, and goes on there.

    Args:
        experiments: with their full plans.
        folder: where the results go; made where it is missing.
        command: that is stored with them.
        quick: run each by its smaller plan.
        device: where models run; None is the best there is.
        progress: see `Place`.
        note: likewise.

    Returns:
        A record of each, in the same order.

    Raises:
        ConfigError: the folder holds another plan of one of them; nothing was run.
        DeviceError: a device that this machine lacks.
        FileFormatError: a file of the folder that is damaged.
        OutputError: the folder cannot be written to.
    """
    existing_device(device)
    chosen = [experiment.quick() if quick else experiment for experiment in experiments]
    plans = {experiment.name: planned(experiment, quick=quick) for experiment in chosen}
    _store_plans(folder, plans)
    found = read_records(folder)
    records: list[Record] = []
    for experiment in chosen:
        record, about = found.get(experiment.name), plans[experiment.name]
        if record is None or record.failure is not None or record.about != about:
            own = folder / experiment.name
            at = Place(folder=own, command=command, device=device, progress=progress, note=note)
            record = _run(experiment, about, folder, at)
        records.append(record)
    return records


def _store_plans(folder: Path, plans: Mapping[str, dict[str, Any]]) -> None:
    """Add plans to those of the folder."""
    known = read_plans(folder)
    for name, about in plans.items():
        before = known.get(name, about)
        if before != about:
            raise ConfigError(
                f"expected {folder} to hold {name} by this plan; it holds one with other {_differing(before, about)}. "
                "Name another folder with -o"
            )
    make_folder(folder)
    if known != {**known, **plans}:
        write_text(folder / PLANS, json.dumps({**known, **plans}, indent=1, ensure_ascii=False) + "\n")


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Names of what differs; of the plan, its own."""
    flat = [{**about, **about["plan"], "plan": None} for about in (before, now)]
    names = dict.fromkeys([*flat[0], *flat[1]])
    return ", ".join(name for name in names if flat[0].get(name) != flat[1].get(name))


def _run(experiment: Experiment, about: dict[str, Any], folder: Path, at: Place) -> Record:
    """Measure, draw and store one; the record comes last, by which it is finished."""
    resumed, begun, on = at.folder.exists(), time.perf_counter(), existing_device(at.device)
    reset_peak(on)
    found: dict[str, Any]
    try:
        outcome = experiment.run(at)
        figure = new_figure(1)
        experiment.draw(outcome.table, figure)
        save_figure(figure, folder / f"{experiment.name}.png")
        found = {"claims": outcome.claims, "notes": outcome.notes}
    except LatentEditError as error:
        found = {"failure": str(error)}
    record = Record(
        name=experiment.name,
        about=about,
        command=at.command,
        seconds=time.perf_counter() - begun,
        resumed=resumed,
        peak_bytes=peak_bytes(on),
        **found,
    )
    record.write(folder)
    return record
