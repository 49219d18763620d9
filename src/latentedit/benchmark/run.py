"""Running a benchmark: a plan that says everything, a journal of finished batches, and the table of all rows."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

import latentedit
from latentedit.backbones.base import Backbone
from latentedit.backbones.weights import read_json
from latentedit.benchmark.evaluate import CODEC, Row, codec_rows, evaluate
from latentedit.benchmark.items import Dataset
from latentedit.benchmark.methods import Method
from latentedit.benchmark.prepared import Prepared, prepare, same_size
from latentedit.editing.journal import Journal
from latentedit.editing.outputs import plain
from latentedit.encoding.images import save_image
from latentedit.encoding.output_files import write_text
from latentedit.errors import ConfigError, OutputError
from latentedit.metrics.statistics import Table
from latentedit.types import Progress

PLAN_FILE = "plan.json"
ROWS_FILE = "unfinished/rows.jsonl"
SHOWN = "unfinished/shown"
SHOWN_ITEMS = 8
"""Items whose pictures are kept for the sheet."""

STRENGTHS = (0.5, 1.0, 1.5, 2.0)

BATCH = 32
"""Items that are edited together unless told: as many as memory allows is fastest."""


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


def run(
    plan: Plan,
    folder: Path,
    *,
    command: str,
    batch: int = BATCH,
    pictures: bool = False,
    progress: Progress | None = None,
) -> Table:
    """Measure what was not measured before.

    Args:
        plan: what is run.
        folder: where plan, rows and pictures go; made where it is missing. A run that was stopped goes on.
        command: that is stored with them.
        batch: items that are edited together; more take more memory, and change rows by rounding at most.
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
    batches = same_size(plan.dataset.items, batch)
    rows: list[Mapping[str, Any]] = []
    total, done = len(batches) * (1 + len(plan.methods)), 0
    for items in batches:
        ready: Prepared | None = None
        for method in (None, *plan.methods):
            unit = (items[0].id, len(items), CODEC if method is None else method.name)
            if unit not in journal.known:
                ready = prepare(plan.model, items) if ready is None else ready
                journal.add(unit, _measure(plan, method, ready, folder, pictures=pictures))
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


def shown(plan: Plan, folder: Path) -> dict[str, list[Image.Image | None]]:
    """Method to its pictures of the first items at strength 1, for a sheet; None where one is missing."""
    found: dict[str, list[Image.Image | None]] = {}
    for method in plan.methods:
        places = [folder / SHOWN / method.name / f"{item.id}.png" for item in plan.dataset.items[:SHOWN_ITEMS]]
        found[method.name] = [Image.open(place).convert("RGB") if place.exists() else None for place in places]
    return found


def _measure(plan: Plan, method: Method | None, batch: Prepared, folder: Path, *, pictures: bool) -> list[Row]:
    """The rows of one method on one batch, or those of the codec alone."""
    if method is None:
        return codec_rows(batch)
    found, images = evaluate(method, batch, plan.strengths, seed=plan.seed)
    first = {item.id for item in plan.dataset.items[:SHOWN_ITEMS]}
    names = [item.id for item in batch.items]
    _save(folder / SHOWN / method.name, {n: i for n, i in zip(names, images[1.0], strict=True) if n in first})
    if pictures:
        for strength, some in images.items():
            _save(folder / "pictures" / method.name / f"{strength:g}", dict(zip(names, some, strict=True)))
    return found


def _save(folder: Path, images: Mapping[str, Image.Image]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        (folder / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
        save_image(image, folder / f"{name}.png")
