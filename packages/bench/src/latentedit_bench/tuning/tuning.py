"""The best setting of each method on the calibration split, all searched alike, by successive halving.

Every candidate is tried on the first batch of items, and the best third of them on all.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latentedit._version import __version__
from latentedit.api.manifests.items import Dataset
from latentedit.core.errors import ConfigError
from latentedit.core.files.writing import write_text
from latentedit.core.plain import plain
from latentedit.core.progress import Progress
from latentedit.editors.base import Editor
from latentedit.editors.registry import editor_class
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder
from latentedit.models.settings_file import read_settings, write_settings
from latentedit.models.weights import read_json
from latentedit_bench.data.prepared import Prepared, prepare, same_size
from latentedit_bench.ranking.evaluate import Row, evaluate
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.search_spaces import SearchSpace, at_budget

BATCH = 12

KEPT = 3
"""One candidate in so many goes on from the first batch to all."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One candidate and what it came to.

    Args:
        settings: of the editor, plain values.
        items: on which it was tried.
        score: mean error to the counterfactual at strength 1, each at most 1, over the items that ask for a change.
        moved: mean change (root mean square, white is 1) of the items whose right answer is the picture itself.
        evaluations: a picture.
    """

    settings: Mapping[str, Any]
    items: int
    score: float
    moved: float
    evaluations: float


def prepare_all(model: Backbone, dataset: Dataset, *, batch: int = BATCH) -> list[Prepared]:
    """A data set, encoded in batches."""
    return [prepare(model, items) for items in same_size(dataset.items, batch)]


def tune_method(
    space: SearchSpace, batches: Sequence[Prepared], *, seed: int = 0, progress: Progress | None = None
) -> list[Tried]:
    """Every candidate of a method: those that were tried on all items first, the best at the front.

    Args:
        space: the method.
        batches: of the calibration split.
        seed: of every random number.
        progress: told the method's name after each candidate.
    """
    total, done = len(space.candidates) + math.ceil(len(space.candidates) / KEPT) * (len(batches) > 1), 0

    def tried(editor: Editor, some: Sequence[Prepared]) -> Tried:
        nonlocal done
        found = _tried(space, editor, some, seed)
        done += 1
        if progress is not None:
            progress(space.name, done, total)
        return found

    editors = [at_budget(space, settings, batches[0].latent) for settings in space.candidates]
    first = sorted(((tried(one, batches[:1]), one) for one in editors), key=lambda pair: pair[0].score)
    best = first[: math.ceil(len(first) / KEPT)]
    final = [tried(one, batches) for _, one in best] if len(batches) > 1 else [found for found, _ in best]
    return sorted(final, key=lambda one: one.score) + [found for found, _ in first[len(best) :]]


def _tried(space: SearchSpace, editor: Editor, batches: Sequence[Prepared], seed: int) -> Tried:
    method = Method(name=space.name, editor=editor, local=space.local)
    rows = [row for batch in batches for row in evaluate(method, batch, [1.0], seed=seed, beside=False)[0]]
    return Tried(
        settings=editor.to_dict(),
        items=len(rows),
        score=score(rows),
        moved=float(np.mean([row["changed_rms"] for row in rows if row.get("effect") is None] or [np.nan])),
        evaluations=float(np.mean([row["evaluations"] for row in rows])),
    )


def score(rows: Sequence[Row]) -> float:
    """What is minimised: an edit that is worse than none counts as none."""
    errors = [row["error"] for row in rows if row.get("error") is not None]
    if not errors:
        raise ConfigError("no item has a right answer to choose settings by. Give the manifest truths")
    return float(np.mean(np.minimum(np.asarray(errors, dtype=np.float64), 1.0)))


def write_tuning(
    path: Path, model: Backbone, dataset: Dataset, space: SearchSpace, tried: Sequence[Tried], *, command: str
) -> None:
    """Add one method's candidates to the file of all; what it knows of the others stays.

    Raises:
        ConfigError: the file holds settings of another model.
        OutputError: the place cannot be written to.
    """
    new: dict[str, Any] = {"model": model.name, "fingerprint": model.fingerprint, "methods": {}}
    known = read_json(path) if path.exists() else new
    if known.get("fingerprint") != model.fingerprint:
        raise ConfigError(f"{path} holds settings of another model than {model.name}. Move it away")
    known["methods"][space.name] = {
        "editor": space.editor,
        "local": space.local,
        "budget": space.budget,
        "best": tried[0].settings,
        "tried": [dataclasses.asdict(one) for one in tried],
        "data": {"name": dataset.name, "version": dataset.version, "items": len(dataset.items)},
        "command": command,
        "latentedit": __version__,
    }
    write_text(path, json.dumps(plain(known), indent=1) + "\n")


def store_best(name: str, path: Path) -> None:
    """Make the best settings of a file a bundled model's own, in its ``latentedit.json``.

    Under "benchmark" those of every method; under "editors" those of every baseline, for ``latentedit edit --method``.
    What the model recommends for eim stays: it was chosen with more than this benchmark in mind.

    Raises:
        RegistryError: no bundled model of that name.
        OutputError: its folder cannot be written to.
    """
    tuned = read_json(path)["methods"]
    folder = bundled_folder(name)
    editors = dict(read_settings(folder).get("editors", {}))
    editors |= {one["editor"]: one["best"] for one in tuned.values() if not editor_class(one["editor"]).composes}
    best = {key: {"editor": one["editor"], "local": one["local"], "best": one["best"]} for key, one in tuned.items()}
    known = dict(read_settings(folder).get("benchmark", {}))
    write_settings(folder, {"editors": editors, "benchmark": known | best})


def stored_methods(model: Backbone, names: Sequence[str] | None = None) -> list[Method]:
    """The methods whose settings a model's folder has; see `tuned_methods`."""
    return _methods(model.defaults.get("benchmark", {}), names, f"the folder of {model.name}")


def tuned_methods(path: Path, model: Backbone, names: Sequence[str] | None = None) -> list[Method]:
    """The methods of a file of settings, each with its best.

    Args:
        path: as `write_tuning` wrote it.
        model: they must have been found on.
        names: those wanted, in this order; all by default.

    Raises:
        ConfigError: settings of another model, or a method without settings.
    """
    known = read_json(path)
    if known.get("fingerprint") != model.fingerprint:
        raise ConfigError(f"{path} holds settings of another model than {model.name}. Tune again")
    return _methods(known["methods"], names, str(path))


def _methods(known: Mapping[str, Any], names: Sequence[str] | None, where: str) -> list[Method]:
    missing = [name for name in names or () if name not in known]
    if missing or not known:
        wanted = ", ".join(missing) or "any method"
        raise ConfigError(f"there are no settings of {wanted} in {where}. Find them with: bench tune")
    chosen = [{"name": name, **known[name], "settings": known[name]["best"]} for name in names or known]
    return list(planned_methods(chosen))


def planned_methods(told: Sequence[Mapping[str, Any]]) -> tuple[Method, ...]:
    """Methods from what a plan tells of them: "name", "editor", "local", "settings"."""
    return tuple(
        Method(name=one["name"], editor=editor_class(one["editor"]).from_dict(one["settings"]), local=one["local"])
        for one in told
    )
