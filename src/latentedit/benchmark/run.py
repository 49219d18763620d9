"""Running a benchmark: a plan that says everything, a journal of finished batches, and the table of all rows."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import latentedit
from latentedit.backbones.base import Backbone
from latentedit.backbones.weights import read_json
from latentedit.benchmark.evaluate import evaluate
from latentedit.benchmark.items import Dataset
from latentedit.benchmark.methods import Method
from latentedit.benchmark.prepared import prepare, same_size
from latentedit.editing.journal import Journal
from latentedit.editing.outputs import plain
from latentedit.encoding.images import save_image
from latentedit.encoding.output_files import write_text
from latentedit.errors import ConfigError, OutputError
from latentedit.metrics.statistics import Table
from latentedit.types import Progress

PLAN_FILE = "plan.json"
ROWS_FILE = "unfinished/rows.jsonl"
STRENGTHS = (0.5, 1.0, 1.5, 2.0)

BATCH = 20
"""Items that are edited together."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Everything that decides a benchmark's rows.

    Args:
        model: what edits.
        dataset: what is edited.
        methods: by which.
        strengths: at which.
        seed: of every random number of the editors.
    """

    model: Backbone
    dataset: Dataset
    methods: tuple[Method, ...]
    strengths: tuple[float, ...] = STRENGTHS
    seed: int = 0

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"expected one method or more, each once; got {', '.join(names) or 'none'}")
        if 1.0 not in self.strengths or 0.0 in self.strengths:
            raise ConfigError(f"expected strengths with 1 and without 0; got {', '.join(map(str, self.strengths))}")

    @property
    def told(self) -> dict[str, Any]:
        """The plan as plain values; two runs whose plans are equal give equal rows."""
        data = self.dataset
        return {
            "latentedit": latentedit.__version__,
            "model": self.model.name,
            "model_fingerprint": self.model.fingerprint,
            "network_dtype": str(self.model.network_dtype).removeprefix("torch."),
            "data": {
                "name": data.name,
                "version": data.version,
                "items": len(data.items),
                "fingerprint": data.fingerprint,
            },
            "methods": [
                {"name": m.name, "editor": m.editor.name, "local": m.local, "settings": m.editor.to_dict()}
                for m in self.methods
            ],
            "strengths": list(self.strengths),
            "seed": self.seed,
        }


def run(plan: Plan, folder: Path, *, command: str, pictures: bool = False, progress: Progress | None = None) -> Table:
    """Measure what was not measured before.

    Args:
        plan: what is run.
        folder: where plan, rows and pictures go; made where it is missing. A run that was stopped goes on.
        command: that is stored with them.
        pictures: also write every edited picture, under ``pictures/METHOD/STRENGTH/ITEM.png``.
        progress: told after each method and batch.

    Returns:
        Every row, see `evaluate.evaluate`.

    Raises:
        ConfigError: the folder holds the run of another plan.
        OutputError: the folder cannot be written to.
    """
    _begin(plan, folder, command)
    journal = Journal.open(folder / ROWS_FILE)
    batches = same_size(plan.dataset.items, BATCH)
    rows: list[Mapping[str, Any]] = []
    total, done = len(batches) * len(plan.methods), 0
    for items in batches:
        ready = None
        for method in plan.methods:
            unit = (items[0].id, len(items), method.name)
            if unit not in journal.known:
                ready = prepare(plan.model, items) if ready is None else ready
                found, images = evaluate(method, ready, plan.strengths, seed=plan.seed)
                if pictures:
                    _save(folder, method, [item.id for item in items], images)
                journal.add(unit, found)
                rows += found
            else:
                rows += journal.known[unit]
            done += 1
            if progress is not None:
                progress("bench", done, total)
    return pd.DataFrame(plain(rows))


def read_plan(folder: Path) -> dict[str, Any]:
    """The plan of a folder, as plain values.

    Raises:
        ModelError: no plan there.
    """
    return read_json(folder / PLAN_FILE)


def _begin(plan: Plan, folder: Path, command: str) -> None:
    try:
        (folder / ROWS_FILE).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"expected to be able to make the folder {folder}; got: {error.strerror}") from error
    told, place = plain(plan.told), folder / PLAN_FILE
    if place.exists():
        known = {name: value for name, value in read_json(place).items() if name != "command"}
        different = [name for name in told if known.get(name) != told[name]]
        if different and (folder / ROWS_FILE).exists():
            raise ConfigError(
                f"expected {folder} to be empty or to hold this run; it holds one with other {', '.join(different)}. "
                "Name another folder with -o"
            )
    write_text(place, json.dumps({**told, "command": command}, indent=1, ensure_ascii=False) + "\n")


def _save(folder: Path, method: Method, names: Sequence[str], images: Mapping[float, Sequence[Any]]) -> None:
    for strength, some in images.items():
        place = folder / "pictures" / method.name / f"{strength:g}"
        place.mkdir(parents=True, exist_ok=True)
        for name, image in zip(names, some, strict=True):
            save_image(image, place / f"{name}.png")
