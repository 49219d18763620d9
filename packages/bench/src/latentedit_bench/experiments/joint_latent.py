"""Does moving both parts of the joint latent beat moving one? The three arms at several levels, at equal cost."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from latentedit.core.settings import to_plain
from latentedit.directions.hsds import HSDS
from latentedit.editors.eim import EIM
from latentedit.editors.slider import Arm
from latentedit.latents import joint
from latentedit.models.base import Backbone
from latentedit_bench.experiments import benchmark_runs as bench
from latentedit_bench.experiments.base import Context, Outcome
from latentedit_bench.experiments.plotting import COLOURS, draw_levels, draw_numbers, panels
from latentedit_bench.metrics.statistics import Table, by_item, means
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.search_spaces import BUDGET
from latentedit_bench.tuning.tuning import stored_methods

ONE_LOOK = "one look"
ANNEALED = "annealed"

TUNED = ("eim joint", "eim text", "eim")
"""Of the settings stored with the model: joint, text and image arm, each tuned by itself."""

_LOOK: Mapping[str, Any] = {"levels": (0.95, 0.95), "steps": 1, "antithetic": True}
_LOOK_NOISES = 4
"""Of the joint arm, which walks with the rest of the budget."""

_ANNEALED_STEPS = 3
"""Steps of the joint arm's annealed search, which also walks with a part of the budget."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One arm with one search at one level.

    Args:
        arm: which part of the joint latent moves.
        search: `ONE_LOOK` or `ANNEALED`; "" for the text arm.
        level: how far up the text and joint arms go; 0 for the image arm.
    """

    arm: Arm
    search: str = ""
    level: float = 0.0

    @property
    def name(self) -> str:
        """As the rows say it."""
        parts = [self.arm, self.search, f"at {self.level:g}" if self.level else ""]
        return " ".join(part for part in parts if part)

    def editor(self, stored: HSDS, latent: joint.JointLatent) -> EIM:
        """With as many steps, or noises of one look, as the budget pays for.

        Args:
            stored: the search of several steps that is stored with the model.
            latent: on whose grid of levels the cost depends.
        """
        alone = self.arm == "image"
        look = {**_LOOK, "noises": BUDGET // 2 if alone else _LOOK_NOISES}  # a noise takes two evaluations
        annealed = to_plain(stored) if alone else {**to_plain(stored), "steps": _ANNEALED_STEPS}
        searches = {"": {}, ONE_LOOK: {"search": look}, ANNEALED: {"search": annealed}}
        settings = {"arm": self.arm, **searches[self.search]}
        if alone:
            return EIM.from_dict(settings)
        return bench.as_eim(bench.paid(EIM.name, {**settings, "level": self.level}, latent))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JointLatent(bench.EditingExperiment):
    """The joint gain ``SDE(joint) - max(SDE(text), SDE(image))``, the maximum taken an item at a time.

    Args:
        items: of the test split.
        calibration: items by which each arm's setting is chosen.
        levels: of the text and joint arms.
        model: a bundled name.
        seed: of the searches' noises.
    """

    name: ClassVar[str] = "joint-latent"
    runs: ClassVar[tuple[str, ...]] = ("calibration", "test")
    statement: ClassVar[str] = "editing takes the joint latent: neither the image's part nor the text's alone is enough"
    statistic: ClassVar[str] = (
        "SDE of the joint arm less the larger of those of text arm and image arm, paired by item, each arm at the "
        "search and level that were best for it on the calibration split"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "With one look, what the joint arm pays for its walk the image arm spends on more noises, which makes its "
            "direction better; with the annealed search, the joint arm's takes fewer steps."
        ),
        (
            "The maximum over the two single arms is taken an item at a time, which favours them. The search is our "
            "derivation; nothing but the stored settings keeps its change local."
        ),
    )

    calibration: int = 24
    levels: tuple[float, ...] = (0.5, 0.65, 0.75, 0.85, 0.95)
    model: str = "portraits"

    @property
    def plan(self) -> Mapping[str, Any]:
        """Every arm, search and level; what they cost is in the notes."""
        return {
            **to_plain(self),
            "data": "counterfactual portraits that ask for a change, full captions",
            "arms": [setting.name for setting in self.settings],
            "one look": {**_LOOK, "noises": {"image": BUDGET // 2, "joint": _LOOK_NOISES}},
            "annealed": {"search": "as stored with the model", "steps of the joint arm's": _ANNEALED_STEPS},
            "stored": list(TUNED),
            "evaluations a picture, at most": BUDGET,
            "strength": 1.0,
        }

    @property
    def settings(self) -> list[Setting]:
        """All that are tried on the calibration split."""
        found = [Setting(arm="image", search=search) for search in (ONE_LOOK, ANNEALED)]
        found += [Setting(arm="text", level=level) for level in self.levels]
        return found + [
            Setting(arm="joint", search=search, level=level) for search in (ONE_LOOK, ANNEALED) for level in self.levels
        ]

    def quick(self) -> "JointLatent":
        """A few items at three levels."""
        return dataclasses.replace(self, items=8, calibration=4, levels=(0.65, 0.75, 0.95))

    def edited(self, run: str, at: Context) -> Table:
        """All settings on calibration items; those of one look, the best ones and the stored ones on test items."""
        model = self.loaded(self.model, at)
        data = bench.asking("calibration", self.calibration)
        methods = _methods(model, self.settings, bench.some_latent(model, data))
        if run == "calibration":
            return self.edit(run, at, model, data, list(methods.values()))
        calibration = self.part("calibration", at)
        kept = [one.name for one in self.settings if one.search != ANNEALED]
        kept += [name for name in chosen(calibration, self.settings).values() if name not in kept]
        kept += [name for name in chosen(calibration, self.settings, ANNEALED).values() if name not in kept]
        tested = [*(methods[name] for name in kept), *stored_methods(model, TUNED)]
        return self.edit(run, at, model, bench.asking("test", self.items), tested)

    def conclude(self, rows: Table) -> Outcome:
        """The gain at the best setting of each arm first, then what it is made of, each search alone, and each level.

        Settings are chosen on the calibration rows, and compared on the test rows.
        """
        calibration, test = (rows[rows["run"] == run] for run in self.runs)
        settings, table = self.settings, by_item(test, "disentanglement")
        at_best, model = chosen(calibration, settings), str(test["model"].iloc[0])

        def gain(names: Mapping[str, str]) -> Table:
            return table[names["joint"]] - table[[names["text"], names["image"]]].max(axis=1, skipna=False)

        numbers = {"joint gain, each arm at its best": gain(at_best)}
        for other in ("text", "image"):
            numbers[f"joint less {other}, each at its best"] = table[at_best["joint"]] - table[at_best[other]]
        for search in (ONE_LOOK, ANNEALED):
            numbers[f"joint gain, {search}, each arm at its best level"] = gain(chosen(calibration, settings, search))
        for level in sorted({one.level for one in settings if one.level}):
            arms = (Setting(arm="joint", search=ONE_LOOK, level=level), Setting(arm="text", level=level))
            names = {one.arm: one.name for one in (*arms, Setting(arm="image", search=ONE_LOOK))}
            numbers[f"joint gain, one look, at level {level:g}"] = gain(names)
        names = dict[str, str](zip(("joint", "text", "image"), TUNED, strict=True))
        numbers["joint gain, stored settings of each arm"] = gain(names)
        by_name = {one.name: one for one in settings}
        summary = [
            {"part": "arms", **dataclasses.asdict(by_name[row["method"]]), **row}
            if row["method"] in by_name
            else {"part": "stored", **row}
            for row in means(test, ["model", "method"], "disentanglement")
        ]
        notes = (
            f"Best on the calibration split: {', '.join(at_best.values())}.",
            bench.cost_note(test),
        )
        return Outcome(claims=self.claims(model, numbers), summary=pd.DataFrame(summary), notes=notes)

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """The three arms over levels, and the claims' numbers."""
        (arms, numbers), *_ = panels(
            figure, ["SDE at strength 1, one look", "joint gain and its parts"], share_y=False, size=(11.5, 4.4)
        )
        part = outcome.summary[(outcome.summary["part"] == "arms") & outcome.summary["search"].isin(["", ONE_LOOK])]
        for colour, arm in zip(COLOURS, ("text", "joint"), strict=False):
            draw_levels(arms, part[part["arm"] == arm], label=f"{arm} arm", colour=colour)
        image = part[part["arm"] == "image"]
        arms.axhline(image["mean"].iloc[0], color=COLOURS[2], label="image arm (has no level)")
        arms.axhspan(image["low"].iloc[0], image["high"].iloc[0], color=COLOURS[2], alpha=0.2, linewidth=0)
        arms.set_ylabel("SDE, 1 is best, 95 % interval")
        arms.legend(fontsize=7)
        draw_numbers(numbers, outcome.claims, unit="SDE")


def chosen(calibration: Table, settings: Sequence[Setting], search: str | None = None) -> dict[str, str]:
    """Each arm's best setting by mean SDE: "joint", "text" and "image" to a method.

    Args:
        calibration: rows of all settings.
        settings: all of them.
        search: of the image and joint arms, where only one is asked about.
    """
    order = bench.best(calibration)
    found: dict[str, str] = {}
    for arm in ("joint", "text", "image"):
        able = {one.name for one in settings if one.arm == arm and (arm == "text" or search in (None, one.search))}
        found[arm] = next(name for name in order if name in able)
    return found


def _methods(model: Backbone, settings: Sequence[Setting], latent: joint.JointLatent) -> dict[str, Method]:
    image = bench.as_eim(stored_methods(model, ["eim, not local"])[0].editor)
    return {one.name: Method(name=one.name, editor=one.editor(image.search, latent)) for one in settings}
