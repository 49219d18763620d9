"""Is a transformer's latent more disentangled than a U-Net's? The same edits by two models of one data set."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pandas as pd
import safetensors
from matplotlib.figure import Figure

from latentedit.api.manifests.items import Dataset
from latentedit.core.settings import to_plain
from latentedit.editors.eim import EIM
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder
from latentedit.models.settings_file import read_settings
from latentedit_bench.experiments import benchmark_runs as bench
from latentedit_bench.experiments.base import Context, Outcome
from latentedit_bench.experiments.plotting import COLOURS, draw_by_name, draw_numbers, panels
from latentedit_bench.metrics.statistics import Table, by_item, means
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.search_spaces import BUDGET

MODELS = ("portraits", "portraits-unet")
"""The transformer and the U-Net."""

DRAWN = 0.95
"""Text adherence from which on a model is said to draw an attribute."""

ARMS = ("text", "image")

_SEARCH: Mapping[str, Any] = {"levels": (0.99, 0.0), "step_size": None, "noises": 2, "antithetic": True}
"""The flow's own steps, without the locality whose thresholds were tuned on one of the models."""

_MEASURES = {
    "disentanglement": ("SDE", 1),
    "decomposability": ("decomposability", 1),
    "others_changed": ("other attributes that the reader sees change", -1),
}
"""Column to its words and the sign with which more is better."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NetworkKinds(bench.EditingExperiment):
    """The transformer less the U-Net, item by item, with the text arm and with the image arm.

    Args:
        items: of the test split.
        calibration: items by which each model's setting of each arm is chosen.
        levels: of the text arm.
        shifts: spacings of the levels of the image arm's search.
        seed: of the searches' noises.
    """

    name: ClassVar[str] = "network-kinds"
    runs: ClassVar[tuple[str, ...]] = tuple(f"{name}-{split}" for name in MODELS for split in ("calibration", "test"))
    statement: ClassVar[str] = "the latent of a diffusion transformer is more disentangled than that of a U-Net"
    statistic: ClassVar[str] = (
        "SDE of the transformer less that of the U-Net at strength 1, paired by item; text arm, each model at the "
        "level that was best for it on the calibration split"
    )
    notes: ClassVar[tuple[str, ...]] = (
        "Matched: training data, VAE, vocabulary, attribute reader, resolution, items, grid of settings, evaluations.",
    )

    items: int = 72
    calibration: int = 24
    levels: tuple[float, ...] = (0.75, 0.85, 0.92, 0.97)
    shifts: tuple[float, ...] = (1.0, 1.7, 2.5, 3.5)

    @property
    def plan(self) -> Mapping[str, Any]:
        """The same grid of settings for both models."""
        return {
            **to_plain(self),
            "models": list(MODELS),
            "data": "counterfactual portraits that ask for a change, full captions",
            "arms": list(ARMS),
            "search of the image arm": dict(_SEARCH),
            "evaluations a picture, at most": BUDGET,
            "attributes drawn by both": f"text adherence of {DRAWN:g} or more on both models' cards",
            "strength": 1.0,
        }

    def quick(self) -> "NetworkKinds":
        """A few items, two settings of each arm."""
        return dataclasses.replace(self, items=12, calibration=4, levels=(0.85, 0.97), shifts=(1.7, 2.5))

    def edited(self, run: str, at: Context) -> Table:
        """Each model: the grid on calibration items, the best setting of each arm on test items."""
        name, split = run.rsplit("-", 1)
        model, data = self.loaded(name, at), bench.asking("calibration", self.calibration)
        grid = self._grid(model, data)
        if split == "calibration":
            methods = [one for some in grid.values() for one in some]
            return self.edit(run, at, model, data, methods).assign(model=name)
        best = chosen(self.part(f"{name}-calibration", at))
        taken = {one.name: one for some in grid.values() for one in some}
        methods = [dataclasses.replace(taken[setting], name=arm) for arm, setting in best.items()]
        return self.edit(run, at, model, bench.asking("test", self.items), methods).assign(model=name)

    def conclude(self, rows: Table) -> Outcome:
        """SDE, decomposability and what else the reader sees change, of both arms, for all and for what both draw."""
        by_run = {str(run): part for run, part in rows.groupby("run", sort=False)}
        best = {name: chosen(by_run[f"{name}-calibration"]) for name in MODELS}
        used = [f"{name}: {', '.join(one.values())}" for name, one in best.items()]
        transformer, unet = (by_run[f"{name}-test"] for name in MODELS)
        missing = undrawn()
        numbers: dict[str, Table] = {}
        for arm in ARMS:
            for column, (words, sign) in _MEASURES.items():
                pair = [by_item(rows[rows["method"] == arm], column) for rows in (transformer, unet)]
                difference = sign * (pair[0][arm] - pair[1][arm])
                both = transformer.groupby(["group", "item"])["asked"].first().reindex(difference.index)
                drawn = ~both.str.split(",").map(lambda names: bool(missing & set(names)))
                numbers[f"{words}, {arm} arm, all attributes"] = difference
                numbers[f"{words}, {arm} arm, attributes that both draw"] = difference[drawn]
        summary = [
            {"part": "attributes", **row}
            for some in (transformer, unet)
            for row in means(
                some.assign(attribute=some["asked"].str.split(",")).explode("attribute"),
                ["model", "method", "attribute"],
                "disentanglement",
            )
        ]
        counts = ", ".join(f"{name} {parameters(name) / 1e6:.1f} million" for name in MODELS)
        seconds = [read_settings(bundled_folder(name))["training_seconds"] for name in MODELS]
        notes = (
            f"Best on the calibration split: {'; '.join(used)}.",
            bench.cost_note(transformer),
            (
                f"Not matched: parameters of the network ({counts}); seconds of training (transformer "
                f"{seconds[0]['transformer']}, U-Net {seconds[1]['unet']}; numbers of steps are not recorded); text "
                f"adherence ({_adherence(MODELS[0])} and {_adherence(MODELS[1])}); text encoders (two and one); what "
                "is predicted (velocity and noise) and the noise schedule. A difference may come from any of these, "
                "and there is one model of each kind."
            ),
            f"Left out of what both draw: {', '.join(sorted(missing)) or 'nothing'}.",
        )
        return Outcome(claims=self.claims(" and ".join(MODELS), numbers), summary=pd.DataFrame(summary), notes=notes)

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """SDE of both models by asked attribute with the text arm, and the claims' numbers."""
        (attributes, numbers), *_ = panels(
            figure, ["text arm, by what is asked", "transformer less U-Net"], share_y=False, size=(11.5, 4.8)
        )
        part = outcome.summary[(outcome.summary["part"] == "attributes") & (outcome.summary["method"] == ARMS[0])]
        draw_by_name(attributes, part, "attribute", "model", dict(zip(MODELS, COLOURS, strict=False)))
        attributes.set_xlabel("SDE of items that ask for it, 1 is best, 95 % interval", fontsize=8)
        draw_numbers(numbers, outcome.claims, unit="transformer less U-Net (others changed: U-Net less transformer)")

    def _grid(self, model: Backbone, data: Dataset) -> dict[str, list[Method]]:
        latent = bench.some_latent(model, data)
        text = {f"text at {level:g}": {"arm": "text", "level": level} for level in self.levels}
        image = {
            f"image, shift {shift:g}": {"arm": "image", "search": {**_SEARCH, "shift": shift}} for shift in self.shifts
        }
        return {
            arm: [Method(name=name, editor=bench.paid(EIM.name, settings, latent)) for name, settings in some.items()]
            for arm, some in zip(ARMS, (text, image), strict=True)
        }


def undrawn() -> frozenset[str]:
    """Attributes that one of the models draws too seldom when its caption names them, by the models' cards."""
    found: set[str] = set()
    for name in MODELS:
        quality = read_settings(bundled_folder(name))["quality"]
        adherence = next(numbers for title, numbers in quality.items() if title.startswith("text adherence"))
        found |= {attribute for attribute, share in adherence.items() if attribute != "mean" and share < DRAWN}
    return frozenset(found)


def chosen(calibration: Table) -> dict[str, str]:
    """Each arm to its best setting by mean SDE, whose name begins with the arm's."""
    order = bench.best(calibration)
    return {arm: next(name for name in order if name.startswith(arm)) for arm in ARMS}


def parameters(name: str) -> int:
    """How many numbers a bundled model's network holds, without VAE and text encoders."""
    total = 0
    for part in ("transformer", "unet"):
        for place in sorted((bundled_folder(name) / part).glob("*.safetensors")):
            with safetensors.safe_open(place, framework="pt") as file:
                total += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    return total


def _adherence(name: str) -> float:
    quality = read_settings(bundled_folder(name))["quality"]
    return next(numbers["mean"] for title, numbers in quality.items() if title.startswith("text adherence"))
