"""The best settings of each method on the calibration split, with the same search for every method.

The first candidates are tried on the first quarter of the items, and the best third of them on all items. Then
neighbors of the best are tried on all items until every method has had the same number of tries
(`search_spaces.neighbors`). Each candidate is scored at the best of three gains, factors of its change; a line search
then finds the gain of the best candidate. The objective is the error at strength 1.

Not Optuna: 16 tries of a grid of few values per method leave nothing for a sampler to learn (TPE begins with ten random
trials), all candidates must be compared on the same items and noise, rows that differ in locality share their edits,
and steps follow from the budget. Optuna would replace the ten lines of `halving`, not the search spaces, the gains
or the file that a stopped search continues, and would require tuning all methods again.
"""

import contextlib
import dataclasses
import itertools
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from latentedit import Backbone, __version__
from latentedit.core import (
    EDITORS,
    ConfigError,
    ModelError,
    Progress,
    RegistryError,
    nearest,
    plain,
    read_json,
    write_text,
)
from latentedit.editors import EIM, Editor, editor_class, make_editor
from latentedit.models import bundled_folder, read_settings, write_settings
from latentedit.numerics import continuing, successive_halving
from latentedit_bench.data.items import Dataset
from latentedit_bench.data.prepared import Prepared, prepare
from latentedit_bench.ranking.evaluate import Method, RankedEdits, Row, evaluate
from latentedit_bench.ranking.search_spaces import (
    OURS,
    SEARCH_SPACES,
    SearchSpace,
    at_budget,
    edges,
    neighbors,
    search_space,
    without_steps,
)

SEED = 1000  # seed of tuning; reported runs use other seeds
SCALES = (0.95, 1.05, 1.15)  # gains; a candidate is scored at the best of them, which costs no evaluation
GAINS = (0.7, 1.5)  # limits of the line search for the gain, in steps of `_GAIN_STEP`
_GAIN_STEP = 0.06
_FIRST = 4  # the first candidates are tried on this part of the batches


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A candidate's settings and score."""

    settings: Mapping[str, Any]  # the editor's settings, as plain values
    items: int  # number of items
    score: float  # mean error at strength 1, each at most 1, over the items that request a change
    gain: float  # the best of the gains
    moved: float  # mean change (root mean square, white is 1) of the items whose right answer is the image itself
    evaluations: float  # per image


class Trials:
    """Runs each candidate of an editor once and scores it with and without locality, at several gains."""

    def __init__(
        self,
        batches: Sequence[Prepared],  # batches of the calibration split
        localities: Set[bool],  # whether edits are kept local, for each row to tune
        *,
        gains: Sequence[float] = SCALES,  # at which each candidate is scored
        seed: int = SEED,  # seed of each item's noise
    ) -> None:
        self.batches = batches
        self._ways = tuple(itertools.product(localities, gains))
        self._gains, self._seed = gains, seed
        self._rows: dict[str, list[dict[tuple[bool, float], list[Row]]]] = {}
        self._edited: tuple[Editor, list[RankedEdits]] | None = None

    def with_gain(self, space: SearchSpace, editor: Editor, gain: float) -> float:
        """The score of an editor on all items at a gain; each editor edits once."""
        method = Method(name=space.name, editor=editor, local=space.local, gain=gain)
        if self._edited is None or self._edited[0] is not editor:
            self._edited = editor, [RankedEdits.of(method, one, [1.0], seed=self._seed) for one in self.batches]
        found = [evaluate(method, one.batch, [1.0], seed=self._seed, edits=one)[0] for one in self._edited[1]]
        return score_settings([row for rows in found for row in rows])

    def tried(self, space: SearchSpace, editor: Editor, count: int) -> Tried:
        """The score of an editor on the first batches; batches that it has edited before cost nothing."""
        known = self._rows.setdefault(json.dumps(editor.to_dict(), sort_keys=True), [])
        for batch in self.batches[len(known) : count]:
            method = Method(name=space.name, editor=editor)
            edits = RankedEdits.of(method, batch, [1.0], seed=self._seed)
            ways = [dataclasses.replace(method, local=local, gain=gain) for local, gain in self._ways]
            kept = [evaluate(one, batch, [1.0], seed=self._seed, edits=edits)[0] for one in ways]
            known.append(dict(zip(self._ways, kept, strict=True)))
        by_gain = {gain: [row for some in known[:count] for row in some[space.local, gain]] for gain in self._gains}
        scores = {gain: score_settings(rows) for gain, rows in by_gain.items()}
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
    """The gain with the lowest error of a method's best settings, and that error.

    A line search on all items, from 1 in steps as long as the error falls; the edits are made once.
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
    """Yields gains until the best one is bracketed or at a limit."""
    yield from (1.0, round(1 - _GAIN_STEP, 2), round(1 + _GAIN_STEP, 2))
    while (best := min(found, key=lambda gain: found[gain])) in (min(found), max(found)):
        following = round(best + math.copysign(_GAIN_STEP, best - 1), 2)
        if not GAINS[0] <= following <= GAINS[1]:
            return
        yield following


def tune_method(space: SearchSpace, trials: Trials, *, progress: Progress | None = None) -> list[Tried]:
    """Every candidate of a method, the best first; those tried on all items come before the others."""
    latent, every = trials.batches[0].latent, len(trials.batches)
    sizes = [max(1, every // _FIRST), every] if every > 1 else [1]
    more, done = max(0, space.tries - len(space.candidates)), 0
    total = len(space.candidates) + continuing(len(space.candidates)) * (len(sizes) - 1) + more
    known: dict[int, Tried] = {}

    def tried(editor: Editor, count: int) -> Tried:
        nonlocal done
        found = known[id(editor)] = trials.tried(space, editor, count)
        done += 1
        if progress is not None:
            progress(space.name, done, total)
        return found

    editors = [at_budget(space, settings, latent) for settings in space.candidates]
    order = successive_halving(editors, lambda some, size: [tried(one, size).score for one in some], sizes)
    found = [known[id(one)] for one in order]
    for _ in range(more):
        following = next(_affordable(space, trials, found), None)
        if following is None:  # no numbers to change
            break
        found = sorted([*found, tried(following, every)], key=lambda one: (-one.items, one.score))
    return found


def _affordable(space: SearchSpace, trials: Trials, known: Sequence[Tried]) -> Iterator[Editor]:
    """Valid neighbors of the best candidate on all items that were not tried."""
    best = min((one for one in known if one.items == max(other.items for other in known)), key=lambda one: one.score)
    everything = [one.settings for one in known]
    for settings in neighbors(best.settings, everything):
        try:
            editor = at_budget(space, without_steps(settings, space), trials.batches[0].latent)
        except ConfigError:  # outside the range of a setting
            continue
        if editor.to_dict() not in everything:
            yield editor


def score_settings(rows: Sequence[Row]) -> float:
    """The objective: the mean error; an edit that is worse than none counts as none."""
    errors = [row["error"] for row in rows if row.get("error") is not None]
    if not errors:
        raise ConfigError("tuning needs right answers, and no item has one. Add truths to the manifest")
    return float(np.mean(np.minimum(np.asarray(errors, dtype=np.float64), 1.0)))


def write_tuning(
    path: Path, model: Backbone, data: Dataset, space: SearchSpace, tried: Sequence[Tried], *, gain: float, command: str
) -> None:
    """Add one method's candidates and gain to a file; its other methods stay.

    "edges" names the settings whose best value is the smallest or largest that was tried.
    """
    new: dict[str, Any] = {"model": model.name, "fingerprint": model.fingerprint, "methods": {}}
    known = _read_tuning(path, model, "Move it away") if path.exists() else new
    known["methods"][space.name] = {
        **{name: getattr(space, name) for name in ("editor", "local", "budget")},
        "gain": gain,
        "best": tried[0].settings,
        "edges": sorted(edges(tried[0].settings, [one.settings for one in tried])),
        "tried": [dataclasses.asdict(one) for one in tried],
        "data": data.spec,
        "command": command,
        "latentedit": __version__,
    }
    write_text(path, json.dumps(plain(known), indent=1) + "\n")


def left_to_tune(path: Path, model: Backbone, dataset: Dataset, spaces: Sequence[SearchSpace]) -> list[SearchSpace]:
    """Methods that a file does not have for the same data and budget; rejects a file of another model."""
    known = _read_tuning(path, model, "Move it away")["methods"] if path.exists() else {}

    def same(one: SearchSpace) -> bool:
        found = known.get(one.name, {})
        return found.get("budget") == one.budget and dataset.spec.items() >= found.get("data", {"": None}).items()

    return [one for one in spaces if not same(one)]


def _read_tuning(path: Path, model: Backbone, remedy: str) -> dict[str, Any]:
    known = read_json(path, error=ModelError, allow_nan=True)
    if not isinstance(known, dict) or known.get("fingerprint") != model.fingerprint:
        raise ConfigError(f"{path} has settings of another model, not of {model.name}. {remedy}")
    return known


def store_best(name: str, path: Path) -> None:
    """Store the best settings of a file in the ``latentedit.json`` of a bundled model.

    "benchmark" gets those of every method; "editors", for ``latentedit edit``, those of every baseline without locality
    and gain. The model's recommended settings of eim stay.
    """
    tuned = read_json(path, error=ModelError, allow_nan=True)["methods"]
    folder = bundled_folder(name)
    editors = dict(read_settings(folder).get("editors", {}))
    editors |= {key: one["best"] for key, one in tuned.items() if key == one["editor"] != EIM.name}
    best = {key: {part: one[part] for part in ("editor", "local", "gain", "best")} for key, one in tuned.items()}
    known = dict(read_settings(folder).get("benchmark", {}))
    write_settings(folder, {"editors": editors, "benchmark": known | best})


def tuned_methods(
    model: Backbone, data: Dataset, names: Sequence[str] | None = None, *, path: Path | None = None
) -> list[Method]:
    """The methods of a file of settings, or of the model's folder, each with its best.

    Ours is as the model stores it, unless a file has it. Other editors run with their defaults and as many steps as the
    budget pays for on the data, with a warning.
    """
    known: Mapping[str, Any] = model.defaults.get("benchmark", {})
    where, found = f"the folder of {model.name}", list[Method]()
    if path is not None:
        known, where = _read_tuning(path, model, "Tune again")["methods"], str(path)
    for name in names or dict.fromkeys([OURS, *known]):
        if name in known and (name != OURS or path is not None):
            one = {key: value for key, value in known[name].items() if key in ("local", "gain")}
            editor = editor_class(known[name]["editor"]).from_dict(known[name]["best"])
            found.append(Method(name=name, editor=editor, **one))
        elif name in EDITORS.points():
            editor = make_editor(name, model)
            if name != OURS:
                warnings.warn(f"{name} is not tuned: {where} has no settings for it", stacklevel=2)
                space, latent = search_space(name), prepare(model, data.items[:1]).latent
                with contextlib.suppress(ConfigError):  # the budget does not pay for one step
                    editor = at_budget(space, without_steps(editor.to_dict(), space), latent)
            found.append(Method(name=name, editor=editor, local=editor.localizes_on(model), tuned=name == OURS))
        elif any(name == one.name for one in SEARCH_SPACES):
            raise ConfigError(f"{where} has no settings of {name!r}. Run `latentedit bench tune`")
        else:
            raise RegistryError(f"no method is called {name!r}: {nearest(name, {*known, *EDITORS.names()})}")
    return found
