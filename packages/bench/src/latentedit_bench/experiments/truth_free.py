"""Can settings be chosen without right answers? Which criteria predict the true error, and how good is their choice.

The candidates of ``latentedit models calibrate`` edit three kinds of items: pictures that the model drew, as the
calibration does it, of which nobody knows the answer; portraits of the calibration split, whose answers tune settings
on truth with the same tries; and portraits of the test split, on which all of them are scored.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import rankdata

from latentedit.api.calibrate import default_captions
from latentedit.api.settings_search import (
    AROUND,
    DEFAULT,
    LOCAL,
    NOT_LOCAL,
    Search,
    Source,
    candidate,
    candidates,
    chosen,
    looked_at,
    tries,
)
from latentedit.core.settings import to_plain
from latentedit.editors.calibrated import CalibratedSettings
from latentedit.editors.criteria import CRITERIA, LEVELS, Look, consensus_distances, levels_of, losses_at, smaller
from latentedit.editors.judge import Judge
from latentedit.editors.local_change import local_change
from latentedit.models.base import Backbone
from latentedit_bench.data.prepared import Prepared, prepare, to_tensor
from latentedit_bench.experiments.base import Context, Experiment, Outcome, Row, Unit
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.known_items import MODELS, asking, loaded
from latentedit_bench.experiments.plotting import COLOURS, draw_numbers, panels
from latentedit_bench.experiments.truth_free_criteria import OTHERS, other_criteria
from latentedit_bench.metrics.counterfactual import counterfactual_error
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.statistics import (
    Estimate,
    Table,
    drawn_weights,
    interval,
    over_groups,
    permutation_level,
    ratio_over_groups,
)

DRAWN, CALIBRATION, TEST = "drawn", "calibration", "test"

HARMED = "harmed pictures"
"""In the place of a candidate."""

BAR, RIGHT, NEAR = 1.10, 0.93, 0.05
"""What is asked for: error at most so many times that of settings tuned on truth, share of verdicts that are right, and
difference of the effects at strength 1."""

GOOD = 0.5
"""Error below which an edit is called right."""

_LOOKS = ("own", "target", "margin")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TruthFree(Experiment):
    """Criteria without truth against the true error, and what is chosen by them against what truth chooses.

    Args:
        models: bundled names, or folders.
        drawn: pictures that each model draws.
        calibration: items of the calibration split.
        test: items of the test split.
        seed: of every random number.
    """

    name: ClassVar[str] = "truth-free"
    minutes: ClassVar[int] = 23
    title: ClassVar[str] = "settings without right answers"
    paper: ClassVar[str] = "derived here"
    statement: ClassVar[str] = "settings that are chosen without right answers are as good as those tuned on them"
    statistic: ClassVar[str] = (
        f"{BAR:g} less the error on the test split of settings that are chosen without right answers over that of "
        "settings tuned on truth with the same tries"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "The candidates are the library's; they lie around a search that was found on portraits with right "
            "answers. The criteria that choose were picked on an earlier trial, with older weights and other "
            "candidates."
        ),
        (
            "The reader's criterion takes the reading of the rendered answer for what was asked for, which flatters "
            "it. Rank correlations are over candidates, of which a third are bad on purpose; their intervals "
            "(bootstrap over pictures) do not cover the choice of candidates."
        ),
        "Strengths of the image form are linear, so monotone; only their unit can differ.",
    )

    models: tuple[str, ...] = MODELS
    drawn: int = 24
    calibration: int = 16
    test: int = 32
    seed: int = 23
    batch: ClassVar[int] = 8

    @property
    def plan(self) -> Mapping[str, Any]:
        """Candidates, criteria, controls, bars."""
        return {
            **to_plain(self),
            "candidates": [*AROUND, DEFAULT],
            "criteria": {"that choose": list(CRITERIA), "others": list(OTHERS)},
            "levels": list(LEVELS),
            "controls": ["a candidate at random", DEFAULT, "correlations of shuffled candidates"],
            "bars": {
                "error over that of settings tuned on truth, at most": BAR,
                "verdicts right, at least": RIGHT,
                "effect at strength 1, from that of settings tuned on truth, at most": NEAR,
            },
        }

    def quick(self) -> "TruthFree":
        """A few items."""
        return dataclasses.replace(self, drawn=8, calibration=8, test=16)

    @property
    def model_names(self) -> Sequence[str]:
        """Every model."""
        return self.models

    def units(self, at: Context) -> Sequence[Unit]:
        """Model, kind of items, first and number of items of each batch."""
        del at
        sizes = {DRAWN: (self.drawn, self.how.batch), CALIBRATION: (self.calibration, self.batch)}
        sizes[TEST] = (self.test, self.batch)
        return [
            (model, kind, first, min(batch, count - first))
            for model in self.models
            for kind, (count, batch) in sizes.items()
            for first in range(0, count, batch)
        ]

    @property
    def how(self) -> Search:
        """As the library calibrates."""
        return Search(pictures=self.drawn)

    @torch.no_grad()
    def measure(self, unit: Unit, at: Context) -> Sequence[Row]:
        """A row for each item and candidate; of drawn ones also for each harmed picture."""
        name, kind, first, count = str(unit[0]), str(unit[1]), int(unit[2]), int(unit[3])
        model = loaded(name, at)
        about = {"model": name, "kind": kind}
        if kind == DRAWN:
            return [about | row for row in drawn_rows(model, range(first, first + count), self.how)]
        own, other = (
            asking(kind, first + count, captions=captions).items[first:] for captions in ("full", "paraphrased")
        )
        reworded = prepare(model, other) if kind == CALIBRATION and own else None
        return [about | row for row in item_rows(prepare(model, own), reworded, seed=self.seed)] if own else []

    def conclude(self, rows: Table) -> Outcome:
        """Of each model what is chosen against what truth chooses, then what every criterion is worth."""
        claims, summary, notes = list[Claim](), list[dict[str, Any]](), list[str]()
        for name, own in rows.groupby("model", sort=False):
            model = str(name)
            free, best = found_without(own[own["kind"] == DRAWN]), found_by_truth(own[own["kind"] == CALIBRATION])
            told = Choice(own[own["kind"] == TEST], free, best)
            claims += [Claim.of(self.statement, model, measure, found) for measure, found in told.numbers().items()]
            tuned = own[own["kind"] == CALIBRATION]
            for criterion in (*CRITERIA, *OTHERS):
                found = rank_correlation(tuned, criterion)
                measure = f"rank correlation of {criterion} with the true error, over candidates"
                claims.append(Claim.of(f"{criterion} predicts the true error", model, measure, found))
                picked = by_setting(tuned, criterion).mean().idxmin()
                summary.append(
                    {
                        "model": model,
                        "criterion": criterion,
                        **dataclasses.asdict(found),
                        "chosen": picked,
                        "error over the best's": told.over_best(str(picked), local=True),
                    }
                )
            summary += told.table()
            chance = permutation_level(*_two_means(tuned, CRITERIA[0]))
            notes.append(
                f"{model}: without right answers {told.named(told.free)}, by truth {told.named(told.best)}; a "
                f"candidate at random errs {told.at_random():.2f} times as much as the latter; correlations of "
                f"shuffled candidates lie in [{chance[0]:.2f}, {chance[1]:.2f}]; without right answers: {free.text}"
            )
        return Outcome(claims=tuple(claims), summary=pd.DataFrame(summary), notes=tuple(notes))

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """What every criterion is worth, of each model; and the numbers of what was chosen."""
        heads = ["rank correlation with the true error", "what was chosen"]
        correlations, numbers = panels(figure, heads, share_y=False, size=(15, 7))[0]
        known = outcome.summary[outcome.summary["criterion"].notna()]
        for colour, (model, part) in zip(COLOURS, known.groupby("model", sort=False), strict=False):
            shown = part.iloc[::-1]
            correlations.hlines(shown["criterion"], shown["low"], shown["high"], color=colour)
            correlations.plot(shown["mean"], shown["criterion"], "o", color=colour, label=str(model))
        correlations.axvline(0, color="grey", linewidth=0.8)
        correlations.set_xlabel("Spearman over candidates; 1: ranks as truth does; 95 % interval")
        correlations.legend(fontsize=8)
        draw_numbers(numbers, [one for one in outcome.claims if one.statement == self.statement], unit="see the names")


def drawn_rows(model: Backbone, places: range, how: Search) -> list[Row]:
    """What the library's calibration sees of pictures that the model draws."""
    source = Source(model=model, texts=default_captions(model, how.pictures), how=how)
    latent, target = source.batch(places)
    seen = looked_at(latent, target, how)
    levels = levels_of(model)
    rows: list[Row] = []
    for setting, values in seen["candidates"].items():
        for index, place in enumerate(places):
            looks = {_at(key, s): values[key][row][index] for key in _LOOKS for row, s in enumerate(levels)}
            distances = {key: values[key][index] for key in (LOCAL, NOT_LOCAL)}
            rows.append({"item": str(place), "group": str(place), "setting": setting, **looks, **distances})
    for index in range(len(seen["harmed"][0])):
        losses = {_at("own", s): seen["harmed"][row][index] for row, s in enumerate(levels)}
        name = f"{places.start}-{index}"
        rows.append({"item": name, "group": name, "setting": HARMED, **losses})
    return rows


def item_rows(batch: Prepared, reworded: Prepared | None, *, seed: int) -> list[Row]:
    """Errors to the right answers, and what the model sees, of every candidate's edits of a batch.

    Args:
        batch: with right answers.
        reworded: the same items in other words, for the other criteria; None leaves them out.
        seed: of every random number.
    """
    assert batch.truth is not None
    latent, model = batch.latent, batch.latent.backbone
    before = losses_at(latent, (latent.condition, batch.target), latent.z, seed=seed)
    editors, levels = candidates(model), levels_of(model)
    changes: list[torch.Tensor] = []
    rows: list[list[Row]] = []
    for one in tries(latent, batch.target, before, seed=seed):
        kinds = {LOCAL: local_change(one.change), NOT_LOCAL: one.change}
        changes += [smaller(change) for change in kinds.values()]
        scores: dict[str, list[float]] = {}
        for kind, change in kinds.items():
            edited = to_tensor(batch.restored(change))
            error = counterfactual_error(edited, batch.source, batch.truth).clamp(max=1)
            effect = all_scores(edited, batch.source, batch.truth)["effect"]
            scores |= {_of("error", kind): error.tolist(), _of("effect", kind): effect.tolist()}
        scores |= {key: value.tolist() for key, value in one.look.scores.items()}
        for key in _LOOKS:
            values = getattr(one.look, key)
            scores |= {_at(key, s): values[row].tolist() for row, s in enumerate(levels)}
        if reworded is not None:
            editor = editors[one.name]
            scores |= other_criteria(editor, batch, one.z, one.look, kinds[LOCAL], reworded=reworded, seed=seed)
        rows.append(
            [
                {
                    "item": item.id,
                    "group": item.group,
                    "setting": one.name,
                    **{key: value[index] if math.isfinite(value[index]) else None for key, value in scores.items()},
                }
                for index, item in enumerate(batch.items)
            ]
        )
    distances = consensus_distances(torch.stack(changes))
    return [
        {**row, LOCAL: float(distances[2 * place][index]), NOT_LOCAL: float(distances[2 * place + 1][index])}
        for place, own in enumerate(rows)
        for index, row in enumerate(own)
    ]


def found_without(rows: Table) -> CalibratedSettings:
    """What the library chooses from the rows of drawn pictures of one model."""
    levels = [float(name.removeprefix("own ")) for name in rows.columns if name.startswith("own ")]
    known, harmed = rows[rows["setting"] != HARMED], rows[rows["setting"] == HARMED]
    seen: dict[str, Any] = {}
    for setting, part in known.groupby("setting", sort=False):
        looks = {key: [part[_at(key, s)].tolist() for s in levels] for key in _LOOKS}
        seen[str(setting)] = {**looks, **{key: part[key].tolist() for key in (LOCAL, NOT_LOCAL)}}
    batch = {"candidates": seen, "harmed": [harmed[_at("own", s)].tolist() for s in levels]}
    return chosen({name: candidate(name) for name in seen}, levels, [batch])


def found_by_truth(rows: Table) -> tuple[str, bool]:
    """The candidate, and whether it is local, of the least mean error to right answers."""
    errors = {
        (str(name), kind == LOCAL): float(by_setting(rows, _of("error", kind))[name].mean())
        for kind in (LOCAL, NOT_LOCAL)
        for name in rows["setting"].unique()
    }
    return min(errors, key=lambda one: errors[one])


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What was chosen, on the test split of one model.

    Args:
        rows: of the test split.
        found: without right answers.
        best: by truth; name, and whether it is local.
    """

    rows: Table
    found: CalibratedSettings
    best: tuple[str, bool]

    @property
    def free(self) -> tuple[str, bool]:
        """Name, and whether it is local, of what was chosen without right answers."""
        return next(iter(self.found.tried)), self.found.local

    def numbers(self) -> dict[str, Estimate]:
        """The bars, each above 0 where it is met; the first is the experiment's."""
        free, best, default = (self._of("error", *one) for one in (self.free, self.best, (DEFAULT, True)))
        ratio = ratio_over_groups(free, best)
        right = over_groups(self._right(self.found.judge) - RIGHT)
        apart = self._apart()
        return {
            f"{BAR:g} less the error of what is chosen without right answers over that of what truth chooses": _less(
                BAR, ratio
            ),
            "error of the library's defaults less that of what is chosen without right answers": over_groups(
                default - free
            ),
            f"share of verdicts that are right (changed: error below {GOOD:g}), all candidates, less {RIGHT:g}": right,
            f"{NEAR:g} less the difference of effects at strength 1 from what truth chooses": _less(NEAR, apart),
        }

    def over_best(self, name: str, *, local: bool) -> float:
        """Mean error of a candidate over that of what truth chooses."""
        return float(self._of("error", name, local).mean() / self._of("error", *self.best).mean())

    def at_random(self) -> float:
        """The same of a candidate that is drawn at random."""
        return float(np.mean([self.over_best(str(name), local=True) for name in self.rows["setting"].unique()]))

    def table(self) -> list[dict[str, Any]]:
        """Error of every candidate, local and not."""
        return [
            {
                "model": str(self.rows["model"].iloc[0]),
                "setting": str(name),
                "local": local,
                "measure": "error",
                **dataclasses.asdict(over_groups(self._of("error", str(name), local))),
            }
            for name in self.rows["setting"].unique()
            for local in (True, False)
        ]

    @staticmethod
    def named(one: tuple[str, bool]) -> str:
        """A candidate in words."""
        return f"{one[0]!r}{'' if one[1] else ', not local'}"

    def _of(self, measure: str, name: str, local: bool) -> Table:
        return by_setting(self.rows, _of(measure, LOCAL if local else NOT_LOCAL))[name]

    def _right(self, judge: Judge) -> Table:
        """Whether the verdict on each edit says what the error says; 1 or 0."""
        level = judge.level
        look = Look(**{key: _column(self.rows, _at(key, level)) for key in _LOOKS})
        changed = (look.share >= judge.least_share) & (look.residual <= judge.damage)
        good = (self.rows[_of("error", LOCAL)] < GOOD).to_numpy()
        right = pd.Series((changed[0].numpy() == good).astype(float), index=self.rows.index)
        return self.rows.assign(right=right).set_index(["group", "item"])["right"]

    def _apart(self) -> Estimate:
        """Size of the difference of mean effects."""
        apart = self._of("effect", *self.free) - self._of("effect", *self.best)
        found = over_groups(apart)
        low, high = sorted((abs(found.low), abs(found.high)))
        return Estimate(
            mean=abs(found.mean), low=0.0 if found.low * found.high < 0 else low, high=high, pictures=found.pictures
        )


def by_setting(rows: Table, measure: str) -> Table:
    """One row an item, "group" and "item" in the index; one column a candidate, in the order of the rows."""
    wide = rows.pivot(index=["group", "item"], columns="setting", values=measure)
    return wide[list(rows["setting"].unique())].astype(float)


def rank_correlation(rows: Table, criterion: str) -> Estimate:
    """Spearman's over candidates, of mean criterion and mean error; pictures are drawn for its interval."""
    values, errors = by_setting(rows, criterion), by_setting(rows, _of("error", LOCAL))
    sound = values.notna().all(axis=1)
    values, errors = values[sound], errors[sound]
    if values.empty:
        return Estimate(mean=math.nan, low=math.nan, high=math.nan, pictures=0)
    groups = {name: place for place, name in enumerate(dict.fromkeys(values.index.get_level_values("group")))}
    members = [(groups[name],) for name in values.index.get_level_values("group")]
    weights = drawn_weights(members, np.random.default_rng(0))
    weights = weights[weights.sum(1) > 0]
    draws = _spearman(_means(weights, values), _means(weights, errors))
    low, high = interval(draws)
    (mean,) = _spearman(*(table.mean().to_numpy(float)[None] for table in (values, errors)))
    return Estimate(mean=float(mean), low=low, high=high, pictures=len(groups))


def _means(weights: NDArray[np.float64], table: Table) -> NDArray[np.float64]:
    return weights @ table.to_numpy(float) / weights.sum(1, keepdims=True)


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row; nan where one does not vary."""
    a, b = (rankdata(one, axis=1) for one in (first, second))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.divide((a * b).sum(1), scale, out=np.full(len(a), np.nan), where=scale > 0)


def _two_means(rows: Table, criterion: str) -> tuple[list[float], list[float]]:
    first, second = by_setting(rows, criterion).mean(), by_setting(rows, _of("error", LOCAL)).mean()
    return first.tolist(), second.tolist()


def _less(bar: float, found: Estimate) -> Estimate:
    """A bar less a number."""
    return Estimate(mean=bar - found.mean, low=bar - found.high, high=bar - found.low, pictures=found.pictures)


def _column(rows: Table, name: str) -> torch.Tensor:
    return torch.tensor(rows[name].to_numpy(float))[None]


def _at(key: str, level: float) -> str:
    return f"{key} {level:g}"


def _of(measure: str, kind: str) -> str:
    return measure if kind == LOCAL else f"{measure}, not local"
