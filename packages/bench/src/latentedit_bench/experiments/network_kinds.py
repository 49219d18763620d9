"""Is a transformer's latent more disentangled than a U-Net's? The same edits by trained models of both kinds.

The unit is a training: two networks of one kind, trained twice, differ too. So what decides has an interval over
trainings, and with one training a kind there is none.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import safetensors
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy import stats

from latentedit.api.manifests.items import Dataset
from latentedit.core.plugins import MODELS as BUNDLED
from latentedit.editors.eim import EIM
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder
from latentedit.models.settings_file import read_settings
from latentedit_bench.experiments.base import Context, Outcome
from latentedit_bench.experiments.benchmark_runs import EditingExperiment, best, cost_note, paid, some_latent
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.known_items import CAPTIONS, MODELS, PARTIAL, Part, asking, loaded
from latentedit_bench.experiments.plotting import COLOURS, draw_by_name, draw_numbers, panels
from latentedit_bench.metrics.statistics import Estimate, Table, by_item, drawn_weights, means, over_groups
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.search_spaces import BUDGET

DRAWN = 0.95
"""Text adherence from which on a model is said to draw an attribute."""

TRANSFORMER, UNET = "transformer", "unet"
"""The kinds, as folders of weights are called."""

ARMS = ("text", "image")

ALL, BOTH = "all attributes", "attributes that every model draws"

THESE = "these trained networks differ so, whatever another training would give"

_SEARCH: Mapping[str, Any] = {"levels": (0.99, 0.0), "step_size": None, "noises": 2, "antithetic": True}
"""The flow's own steps, without the locality whose thresholds were tuned on one of the models."""

_MEASURES = {
    "disentanglement": ("SDE", 1),
    "decomposability": ("decomposability", 1),
    "others_changed": ("other attributes that the reader sees change", -1),
}
"""Column to its words and the sign with which more is better."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NetworkKinds(EditingExperiment):
    """The transformers less the U-Nets, item by item, with the text arm and with the image arm.

    Args:
        models: every training: transformers and U-Nets in any order, bundled names or folders.
        items: of the test split, by each of them.
        calibration: items by which each training's setting of each arm is chosen.
        levels: of the text arm.
        shifts: spacings of the levels of the image arm's search.
    """

    name: ClassVar[str] = "network-kinds"
    minutes: ClassVar[int] = 45
    statement: ClassVar[str] = "the latent of a diffusion transformer is more disentangled than that of a U-Net"
    statistic: ClassVar[str] = (
        "mean SDE of the trained transformers less that of the trained U-Nets at strength 1, partial captions; text "
        "arm, each training at the level that was best for it on the calibration split"
    )
    rule: ClassVar[str] = (
        "holds where the 95 % interval of the number, over trainings and items, lies above 0, does not hold where it "
        "lies below 0, and is undecided otherwise: so with one training of a kind, for then there is no interval over "
        "trainings"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "Matched: training data, VAE, vocabulary, attribute reader, resolution, items, grid of settings, "
            "evaluations. What predicts (velocity or noise), the noise schedule, text encoders and adherence to text "
            "are not, and a difference may come from any of these."
        ),
        (
            "Over trainings: Welch's interval of the difference of the kinds' means, widened by the bootstrap over "
            "items. What is said of these trained networks alone has an interval over items."
        ),
    )

    items: int = 144
    others: int = 144
    calibration: int = 24
    levels: tuple[float, ...] = (0.75, 0.85, 0.92, 0.97)
    shifts: tuple[float, ...] = (1.0, 1.7, 2.5, 3.5)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Of each training the calibration items, then the test items."""
        return tuple(
            part
            for model in self.models
            for part in (
                Part(model=model, items=self.calibration, captions=PARTIAL, split="calibration"),
                *(Part(model=model, items=self.items, captions=captions) for captions in CAPTIONS),
            )
        )

    @property
    def plan(self) -> Mapping[str, Any]:
        """The same grid of settings for every training."""
        return self.planned(
            data="counterfactual portraits that ask for a change",
            arms=list(ARMS),
            decides={"arm": ARMS[0], "captions": PARTIAL},
            strength=1.0,
            **{
                "search of the image arm": dict(_SEARCH),
                "attributes that every model draws": f"text adherence of {DRAWN:g} or more on every model's card",
            },
        )

    def quick(self) -> "NetworkKinds":
        """A few items, two settings of each arm."""
        return dataclasses.replace(self, items=12, others=12, calibration=4, levels=(0.85, 0.97), shifts=(1.7, 2.5))

    def cost(self, part: Part) -> int:
        """An edit a setting of the grid, or by each arm."""
        return BUDGET * (len(ARMS) if part.split == "test" else len(self.levels) + len(self.shifts))

    def edited(self, part: Part, at: Context) -> Table:
        """The grid on calibration items, the best setting of each arm on test items."""
        data = asking("calibration", self.calibration, captions=PARTIAL)
        grid = self._grid(loaded(part.model, at), data)
        if part.split == "calibration":
            return self.edit(part, at, data, [one for some in grid.values() for one in some])
        first = next(one for one in self.parts if one.model == part.model)
        settings = chosen(self.found(first, at))
        taken = {one.name: one for some in grid.values() for one in some}
        methods = [dataclasses.replace(taken[setting], name=arm) for arm, setting in settings.items()]
        return self.edit(part, at, part.data(), methods)

    def conclude(self, rows: Table) -> Outcome:
        """The kinds' difference first, over trainings; then what tells of these networks alone, over items."""
        kinds = {Path(model).name: kind_of(model) for model in self.models}
        test, names = rows[rows["split"] == "test"], " and ".join(kinds)
        missing = undrawn(self.models)
        drawn = ~test["asked"].str.split(",").map(lambda asked: bool(missing & set(asked)))
        claims, these = list[Claim](), list[Claim]()
        for captions in CAPTIONS:
            for arm in ARMS:
                for column, (words, sign) in _MEASURES.items():
                    for which, known in ((ALL, test), (BOTH, test[drawn])):
                        part = known[(known["captions"] == captions) & (known["method"] == arm)]
                        scores = sign * by_item(part, column, "model")
                        measure = f"{words}, {arm} arm, {which}, {captions} captions"
                        found = over_trainings(scores, kinds)
                        claims.append(Claim.of(self.statement, names, measure, found))
                        these.append(Claim.of(THESE, names, measure, over_groups(_difference(scores, kinds))))
        calibration = rows[rows["split"] == "calibration"]
        used = [f"{name}: {', '.join(chosen(own).values())}" for name, own in calibration.groupby("model", sort=False)]
        told = test[test["captions"] == PARTIAL]
        by_attribute = told.assign(attribute=told["asked"].str.split(",")).explode("attribute")
        summary = means(by_attribute, ["model", "method", "attribute"], "disentanglement")
        notes = (
            *_decided(kinds),
            _both(these, missing),
            f"Best on the calibration split: {'; '.join(used)}.",
            cost_note(test),
            f"The trainings: {'; '.join(_card(model) for model in self.models)}.",
        )
        return Outcome(claims=(*claims, *these), summary=pd.DataFrame(summary), notes=notes)

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """SDE of every training by asked attribute with the text arm, and the numbers of these networks."""
        heads = ["text arm, by what is asked, partial captions", "these networks: transformer less U-Net"]
        (attributes, numbers), *_ = panels(figure, heads, share_y=False, size=(13, 6.4))
        part = outcome.summary[outcome.summary["method"] == ARMS[0]]
        draw_by_name(attributes, part, "attribute", "model", dict(zip(part["model"].unique(), COLOURS, strict=False)))
        attributes.set_xlabel("SDE of items that ask for it, 1 is best, 95 % interval", fontsize=8)
        shown = [one for one in outcome.claims if one.statement == THESE and PARTIAL in one.measure]
        draw_numbers(numbers, shown, unit="transformer less U-Net (others changed: U-Net less transformer)")

    def _grid(self, model: Backbone, data: Dataset) -> dict[str, list[Method]]:
        latent = some_latent(model, data)
        text = {f"text at {level:g}": {"arm": "text", "level": level} for level in self.levels}
        image = {
            f"image, shift {shift:g}": {"arm": "image", "search": {**_SEARCH, "shift": shift}} for shift in self.shifts
        }
        return {
            arm: [Method(name=name, editor=paid(EIM.name, settings, latent)) for name, settings in some.items()]
            for arm, some in zip(ARMS, (text, image), strict=True)
        }


def over_trainings(scores: Table, kinds: Mapping[str, str]) -> Estimate:
    """Mean of the transformers less that of the U-Nets, each training by its mean over items.

    The half-width is ``t sqrt(V1 / n1 + V2 / n2 + B)``: variances V between the n trainings of a kind, Welch's degrees
    of freedom for t, and B the bootstrap's variance of the difference over groups of items. With one training of a kind
    there is no interval: both ends are nan.

    Args:
        scores: a row an item, a column a training.
        kinds: each training to its kind.
    """
    known = scores.dropna()
    groups = known.index.get_level_values("group")
    means_of = {
        kind: known[[name for name in known.columns if kinds[str(name)] == kind]].mean().to_numpy(float)
        for kind in (TRANSFORMER, UNET)
    }
    first, second = means_of[TRANSFORMER], means_of[UNET]
    mean, pictures = float(first.mean() - second.mean()), len(set(groups))
    if min(len(first), len(second)) < 2:
        return Estimate(mean=mean, low=math.nan, high=math.nan, pictures=pictures)
    parts = [float(one.var(ddof=1)) / len(one) for one in (first, second)]
    freedom = sum(parts) ** 2 / max(
        sum(part**2 / (len(one) - 1) for part, one in zip(parts, (first, second), strict=True)), 1e-300
    )
    items = _item_variance(_difference(known, kinds))
    half = float(stats.t.ppf(0.975, max(freedom, 1.0))) * math.sqrt(sum(parts) + items)
    return Estimate(mean=mean, low=mean - half, high=mean + half, pictures=pictures)


def _difference(scores: Table, kinds: Mapping[str, str]) -> Table:
    """Of each item the mean over transformers less that over U-Nets."""
    of_kind = {kind: [name for name in scores.columns if kinds[str(name)] == kind] for kind in (TRANSFORMER, UNET)}
    means_of = {kind: scores[names].mean(axis=1, skipna=False) for kind, names in of_kind.items()}
    return means_of[TRANSFORMER] - means_of[UNET]


def _item_variance(values: Table) -> float:
    """Of the mean of items whose groups are drawn."""
    names = sorted(set(values.index.get_level_values("group")))
    places: Sequence[tuple[int]] = [(names.index(name),) for name in values.index.get_level_values("group")]
    weights: Float[np.ndarray, "draws n"] = drawn_weights(places, np.random.default_rng(0))
    return float(np.var(weights @ values.to_numpy(float) / weights.sum(1)))


def folder_of(model: str) -> Path:
    """Of a bundled name or a folder."""
    return bundled_folder(model) if model in BUNDLED.names() else Path(model)


def kind_of(model: str) -> Literal["transformer", "unet"]:
    """By the folder of its weights."""
    return TRANSFORMER if (folder_of(model) / TRANSFORMER).is_dir() else UNET


def undrawn(models: Sequence[str] = MODELS) -> frozenset[str]:
    """Attributes that one of the models draws too seldom when its caption names them, by the models' cards."""
    return frozenset(
        attribute
        for model in models
        for attribute, share in _adherence(model).items()
        if attribute != "mean" and share < DRAWN
    )


def chosen(calibration: Table) -> dict[str, str]:
    """Each arm to its best setting by mean SDE, whose name begins with the arm's."""
    order = best(calibration)
    return {arm: next(name for name in order if name.startswith(arm)) for arm in ARMS}


def parameters(model: str) -> int:
    """How many numbers a model's network holds, without VAE and text encoders."""
    total = 0
    for place in sorted((folder_of(model) / kind_of(model)).glob("*.safetensors")):
        with safetensors.safe_open(place, framework="pt") as file:
            total += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    return total


def _adherence(model: str) -> Mapping[str, float]:
    quality = read_settings(folder_of(model))["quality"]
    return next(numbers for title, numbers in quality.items() if title.startswith("text adherence"))


def _card(model: str) -> str:
    seconds = read_settings(folder_of(model)).get("training_seconds", {}).get(kind_of(model), "unknown")
    return (
        f"{Path(model).name}, a {kind_of(model)} of {parameters(model) / 1e6:.1f} million numbers, {seconds} s of "
        f"training, mean text adherence {_adherence(model)['mean']}"
    )


def _decided(kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Why nothing is decided, where that is so."""
    alone = [kind for kind in (TRANSFORMER, UNET) if list(kinds.values()).count(kind) < 2]
    if not alone:
        return ()
    why = "Another training of the same network may differ as much as these do; give folders of further ones."
    return (f"Undecided: one training of a kind ({', '.join(alone)}). {why}",)


def _both(these: Sequence[Claim], missing: frozenset[str]) -> str:
    """What is found on attributes that every model draws, whichever side it favours."""
    shown = [one for one in these if BOTH in one.measure and PARTIAL in one.measure]
    favours = {"holds": "the transformers", "does not hold": "the U-Nets"}
    told = [f"{one.measure.split(f', {BOTH}')[0]} {one.text} ({favours.get(one.verdict, 'neither')})" for one in shown]
    return (
        f"On attributes that every model draws (left out: {', '.join(sorted(missing)) or 'none'}), these networks, "
        f"transformers less U-Nets, partial captions, and whom it favours: {'; '.join(told)}."
    )
