"""The best setting of each method on the calibration split, all searched alike.

The first candidates are tried on the first batch of items, and the best third of them on all. Then on from the best, on
all items, until every method has had as many tries (`search_spaces.neighbors`). Each is judged at the best of three
factors of its change; at last that of the best is searched for, its gain. Minimized is the error at strength 1.
"""

import dataclasses
import itertools
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from latentedit._version import __version__
from latentedit.core.errors import ConfigError, RegistryError, nearest
from latentedit.core.plugins import EDITORS
from latentedit.core.progress import Progress
from latentedit.editors.base import Editor, editor_class, localizes, make_editor
from latentedit.editors.eim import EIM
from latentedit.models.base import Backbone
from latentedit.models.model_settings import read_settings, write_settings
from latentedit.models.registry import bundled_folder
from latentedit.models.weights import read_json
from latentedit_bench.data.items import Dataset
from latentedit_bench.data.prepared import Prepared, prepare, same_size
from latentedit_bench.ranking.evaluate import Edits, Method, Row, evaluate
from latentedit_bench.tuning.search_spaces import (
    OURS,
    SEARCH_SPACES,
    SearchSpace,
    at_budget,
    edges,
    neighbors,
    search_space,
    without_steps,
)
from latentedit_keep.base.files import plain, write_text

BATCH = 12
SEED = 1000  # of tuning; runs that are reported draw their noise from others
SCALES = (0.95, 1.05, 1.15)  # of its change, at the best of which each candidate is judged; they cost no evaluation
GAINS = (0.7, 1.5)  # least and largest factor of a change that is tried at last, in steps of `_GAIN_STEP`
_GAIN_STEP = 0.06
KEPT = 3  # one candidate in so many goes on from the first batch to all


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One candidate and what it came to."""

    settings: Mapping[str, Any]  # of the editor, plain values
    items: int  # on which it was tried
    score: float  # mean error to the counterfactual at strength 1, each at most 1, over the items that ask for a change
    gain: float  # factor of the change, of those that were tried, at which that is least
    moved: float  # mean change (root mean square, white is 1) of the items whose right answer is the image itself
    evaluations: float  # an image


def prepare_all(model: Backbone, dataset: Dataset, *, batch: int = BATCH) -> list[Prepared]:
    """A data set, encoded in batches."""
    return [prepare(model, items) for items in same_size(dataset.items, batch)]


class Trials:
    """Candidates of one editor, each edited once for the row as it is and for the row with our locality."""

    def __init__(
        self,
        batches: Sequence[Prepared],  # of the calibration split
        localities: Set[bool],  # of the rows that are to be tuned
        *,
        gains: Sequence[float] = SCALES,  # factors of its change at which each candidate is measured
        seed: int = SEED,  # from which each item's noise follows
    ) -> None:
        self.batches = batches
        self._ways = tuple(itertools.product(localities, gains))
        self._gains, self._seed = gains, seed
        self._rows: dict[str, list[dict[tuple[bool, float], list[Row]]]] = {}
        self._edited: tuple[Editor, list[Edits]] | None = None

    def with_gain(self, space: SearchSpace, editor: Editor, gain: float) -> float:
        """The score of an editor on all items whose change is multiplied by so much; edits are made once an editor."""
        method = Method(name=space.name, editor=editor, local=space.local, gain=gain)
        if self._edited is None or self._edited[0] is not editor:
            self._edited = editor, [Edits.of(method, one, [1.0], seed=self._seed) for one in self.batches]
        found = [evaluate(method, one.batch, [1.0], seed=self._seed, edits=one)[0] for one in self._edited[1]]
        return score([row for rows in found for row in rows])

    def tried(self, space: SearchSpace, editor: Editor, count: int) -> Tried:
        """What an editor comes to on the first batches; those that it was tried on before cost nothing."""
        known = self._rows.setdefault(json.dumps(editor.to_dict(), sort_keys=True), [])
        for batch in self.batches[len(known) : count]:
            method = Method(name=space.name, editor=editor)
            edits = Edits.of(method, batch, [1.0], seed=self._seed)
            ways = [dataclasses.replace(method, local=local, gain=gain) for local, gain in self._ways]
            kept = [evaluate(one, batch, [1.0], seed=self._seed, edits=edits)[0] for one in ways]
            known.append(dict(zip(self._ways, kept, strict=True)))
        by_gain = {
            gain: [row for of_batch in known[:count] for row in of_batch[space.local, gain]] for gain in self._gains
        }
        scores = {gain: score(rows) for gain, rows in by_gain.items()}
        gain = min(scores, key=scores.__getitem__)
        rows = by_gain[gain]
        return Tried(
            settings=editor.to_dict(),
            items=len(rows),
            score=scores[gain],
            gain=gain,
            moved=float(np.mean([row["changed_rms"] for row in rows if row.get("effect") is None] or [np.nan])),
            evaluations=float(np.mean([row["evaluations"] for row in rows])),
        )


def tune_gain(
    space: SearchSpace, trials: Trials, best: Tried, *, progress: Progress | None = None
) -> tuple[float, float]:
    """The factor of a method's change at which its best settings err least, and the error there.

    From 1 up and down by steps for as long as the error falls, on all items; the edits are made once.
    """
    editor = editor_class(space.editor).from_dict(best.settings)
    found: dict[float, float] = {}
    for gain in _gains(found):
        found[gain] = trials.with_gain(space, editor, gain)
        if progress is not None:
            progress(f"{space.name}, gain", len(found), max(3, len(found)))
    chosen = min(found, key=lambda gain: found[gain])
    return chosen, found[chosen]


def _gains(found: Mapping[float, float]) -> Iterator[float]:
    """Those to try next, until the best of what was found lies between others or at an end."""
    yield from (1.0, round(1 - _GAIN_STEP, 2), round(1 + _GAIN_STEP, 2))
    while (best := min(found, key=lambda gain: found[gain])) in (min(found), max(found)):
        following = round(best + math.copysign(_GAIN_STEP, best - 1), 2)
        if not GAINS[0] <= following <= GAINS[1]:
            return
        yield following


def tune_method(space: SearchSpace, trials: Trials, *, progress: Progress | None = None) -> list[Tried]:
    """Every candidate of a method: those that were tried on all items first, the best at the front."""
    latent, every = trials.batches[0].latent, len(trials.batches)
    kept = math.ceil(len(space.candidates) / KEPT)
    more, done = max(0, space.tries - len(space.candidates)), 0
    total = len(space.candidates) + kept * (every > 1) + more

    def tried(editor: Editor, count: int) -> Tried:
        nonlocal done
        found = trials.tried(space, editor, count)
        done += 1
        if progress is not None:
            progress(space.name, done, total)
        return found

    editors = [at_budget(space, settings, latent) for settings in space.candidates]
    first = sorted(((tried(one, 1), one) for one in editors), key=lambda pair: pair[0].score)
    final = [tried(one, every) for _, one in first[:kept]] if every > 1 else [found for found, _ in first[:kept]]
    dropped = [found for found, _ in first[kept:]]
    for _ in range(more):
        following = next(_affordable(space, trials, [*final, *dropped]), None)
        if following is None:  # settings that are all taken from a list
            break
        final = sorted([*final, tried(following, every)], key=lambda one: one.score)
    return sorted(final, key=lambda one: one.score) + dropped


def _affordable(space: SearchSpace, trials: Trials, known: Sequence[Tried]) -> Iterator[Editor]:
    """Editors that go on from the best of those on all items, and that can be had."""
    best = min((one for one in known if one.items == max(other.items for other in known)), key=lambda one: one.score)
    everything = [one.settings for one in known]
    for settings in neighbors(best.settings, everything):
        try:
            editor = at_budget(space, without_steps(settings, space), trials.batches[0].latent)
        except ConfigError:  # beyond what the editor takes
            continue
        if editor.to_dict() not in everything:
            yield editor


def score(rows: Sequence[Row]) -> float:
    """What is minimized: an edit that is worse than none counts as none."""
    errors = [row["error"] for row in rows if row.get("error") is not None]
    if not errors:
        raise ConfigError("no item has a right answer to choose settings by. Give the manifest truths")
    return float(np.mean(np.minimum(np.asarray(errors, dtype=np.float64), 1.0)))


def write_tuning(
    path: Path, model: Backbone, data: Dataset, space: SearchSpace, tried: Sequence[Tried], *, gain: float, command: str
) -> None:
    """Add one method's candidates and gain to the file of all; what it knows of the others stays.

    "edges" names the settings whose best value is still an end of what was tried.
    """
    new: dict[str, Any] = {"model": model.name, "fingerprint": model.fingerprint, "methods": {}}
    known = _read_tuning(path, model, "Move it away") if path.exists() else new
    known["methods"][space.name] = {
        **{name: getattr(space, name) for name in ("editor", "local", "budget")},
        "gain": gain,
        "best": tried[0].settings,
        "edges": sorted(edges(tried[0].settings, [one.settings for one in tried])),
        "tried": [dataclasses.asdict(one) for one in tried],
        "data": _about(data),
        "command": command,
        "latentedit": __version__,
    }
    write_text(path, json.dumps(plain(known), indent=1) + "\n")


def already_tuned(path: Path, model: Backbone, dataset: Dataset) -> set[str]:
    """Methods that a file holds, found on the same model and data; of another model it is refused."""
    if not path.exists():
        return set()
    methods, about = _read_tuning(path, model, "Move it away")["methods"], _about(dataset).items()
    return {name for name, one in methods.items() if one.get("data") and one["data"].items() <= about}


def _read_tuning(path: Path, model: Backbone, remedy: str) -> dict[str, Any]:
    known = read_json(path)
    if known.get("fingerprint") != model.fingerprint:
        raise ConfigError(f"{path} holds settings of another model than {model.name}. {remedy}")
    return known


def _about(dataset: Dataset) -> dict[str, Any]:
    count, fingerprint = len(dataset.items), dataset.fingerprint
    return {"name": dataset.name, "version": dataset.version, "items": count, "fingerprint": fingerprint}


def store_best(name: str, path: Path) -> None:
    """Make the best settings of a file a bundled model's own, in its ``latentedit.json``.

    Under "benchmark" those of every method; under "editors", for ``latentedit edit``, those of every baseline without
    our locality and without their gain. What the model recommends for eim stays.
    """
    tuned = read_json(path)["methods"]
    folder = bundled_folder(name)
    editors = dict(read_settings(folder).get("editors", {}))
    editors |= {key: one["best"] for key, one in tuned.items() if key == one["editor"] != EIM.name}
    best = {key: {part: one[part] for part in ("editor", "local", "gain", "best")} for key, one in tuned.items()}
    known = dict(read_settings(folder).get("benchmark", {}))
    write_settings(folder, {"editors": editors, "benchmark": known | best})


def stored_methods(model: Backbone, data: Dataset, names: Sequence[str] | None = None) -> list[Method]:
    """The methods whose settings a model's folder has; see `tuned_methods`."""
    return _methods(model, data, model.defaults.get("benchmark", {}), names, f"the folder of {model.name}")


def tuned_methods(path: Path, model: Backbone, data: Dataset, names: Sequence[str] | None = None) -> list[Method]:
    """The methods of a file of settings, each with its best, and ours as the model stores it.

    Other editors run with their defaults and as many steps as the budget pays for on the data, with a warning.
    """
    return _methods(model, data, _read_tuning(path, model, "Tune again")["methods"], names, str(path))


def _methods(
    model: Backbone, data: Dataset, known: Mapping[str, Any], names: Sequence[str] | None, where: str
) -> list[Method]:
    found: list[Method] = []
    for name in names or [OURS, *known]:
        if name in known:
            one = {key: value for key, value in known[name].items() if key in ("local", "gain")}
            editor = editor_class(known[name]["editor"]).from_dict(known[name]["best"])
            found.append(Method(name=name, editor=editor, **one))
        elif name in EDITORS.points():
            editor = make_editor(name, model)
            if name != OURS:
                warnings.warn(f"{name} is not tuned: {where} has no settings for it", stacklevel=3)
                editor = _at_budget_or_default(search_space(name), editor, prepare(model, data.items[:1]))
            found.append(Method(name=name, editor=editor, local=localizes(editor, model), tuned=name == OURS))
        elif any(name == one.name for one in SEARCH_SPACES):
            raise ConfigError(f"{where} has no settings of {name!r}. Find them with `latentedit bench tune`")
        else:
            raise RegistryError(f"no method is called {name!r}: {nearest(name, {*known, *EDITORS.names()})}")
    return found


def _at_budget_or_default(space: SearchSpace, editor: Editor, batch: Prepared) -> Editor:
    """With the steps that the budget pays for; unchanged if it does not pay for one."""
    try:
        return at_budget(space, without_steps(editor.to_dict(), space), batch.latent)
    except ConfigError:
        return editor
