"""Does editing take both parts of the joint latent? The text's part, the image's and both, with one direction in all.

With ``Z_s`` the state of a picture's inversion at the level s, d a displacement of its clean latent, and R the way back
from there under a text, the arms are

    text    R(Z_s, c1)
    image   R(Z_s + (1-s) d, c0)
    joint   R(Z_s + (1-s) d, c1)
    direct  x + d, which makes no way

The image arm is the image's part of the joint latent, moved, under the source's text. The direct one is another thing,
an edit of the clean latent; nothing but the codec stands between it and the picture.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.levels import uniform_grid
from latentedit.directions.at_level import clean_share
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import identify
from latentedit.latents.inversion import invert, replay
from latentedit.latents.joint import JointLatent as Encoded
from latentedit_bench.data.prepared import Prepared
from latentedit_bench.experiments.base import Outcome, Row
from latentedit_bench.experiments.batches import BatchExperiment, scored
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.known_items import CAPTIONS, FULL, PARTIAL, Part, of_models, recommended
from latentedit_bench.experiments.plotting import COLOURS, GREY, draw_levels, draw_numbers, panels
from latentedit_bench.metrics.disentanglement import joint_gain
from latentedit_bench.metrics.statistics import Table, by_item, means
from latentedit_bench.tuning.search_spaces import BUDGET

ANNEALED = "annealed"
ONE_LOOK = "one look"

LOOK = HSDS(levels=(0.95, 0.95), steps=1, noises=4, antithetic=True)
"""The coarse direction: one level, four noises."""

TEXT, IMAGE, JOINT, DIRECT = "text", "image", "joint", "direct"

DECIDING = 0.5
"""The level that decides; declared before the run, as are full captions and the annealed direction."""

NO_WALK = "a direction that was found on the picture by annealing needs no way through the model; ours, not the paper's"
COARSE = "a coarse direction is better brought back through the model under the target's text; ours, not the paper's"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JointLatent(BatchExperiment):
    """The joint gain ``SDE(joint) - max(SDE(text), SDE(image))``, the maximum taken an item at a time.

    Args:
        levels: from which the arms come back.
        steps: even ones of a walk from level 1; one from s takes ``ceil(steps * s)``.
    """

    name: ClassVar[str] = "joint-latent"
    minutes: ClassVar[int] = 112
    statement: ClassVar[str] = "editing takes the joint latent: neither the image's part nor the text's alone is enough"
    statistic: ClassVar[str] = (
        "SDE of the joint arm less the larger of those of text arm and image arm, paired by item, all with the same "
        f"annealed direction, from level {DECIDING:g}, full captions"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "The paper's exact arms are not public; these are derived from its words. The image arm is the moved image "
            "latent brought back under the source's text. The maximum over the two single arms is taken an item at a "
            "time, which favours them: it is the control, and where one part is enough, the gain is not above 0."
        ),
        (
            "All arms of a picture have the same direction, the same way up and as many steps back. They differ in "
            "cost by the search alone, which the text arm does not need. Only level "
            f"{DECIDING:g} with full captions decides; the rest is told."
        ),
    )

    levels: tuple[float, ...] = (0.3, 0.5, 0.65, 0.8, 0.95)
    steps: int = 12

    @property
    def plan(self) -> Mapping[str, Any]:
        """The arms, the directions, and what decides."""
        return self.planned(
            arms={
                TEXT: "R(Z_s, c1)",
                IMAGE: "R(Z_s + (1-s) d, c0)",
                JOINT: "R(Z_s + (1-s) d, c1)",
                DIRECT: "x + d",
            },
            directions={ANNEALED: "as the model's folder recommends", ONE_LOOK: self.planned_look},
            captions=list(CAPTIONS),
            decides={"level": DECIDING, "captions": FULL, "direction": ANNEALED},
            local=False,
        )

    @property
    def planned_look(self) -> Mapping[str, Any]:
        """Of the coarse direction."""
        return {"level": LOOK.levels[0], "noises": LOOK.noises, "antithetic": LOOK.antithetic}

    def quick(self) -> "JointLatent":
        """A few items at three levels."""
        return dataclasses.replace(self, items=8, others=6, levels=(0.5, 0.8), steps=8)

    def cost(self, part: Part) -> int:
        """Two searches; of each level the way up, that of the text, and those of two arms with two directions."""
        del part
        return BUDGET + LOOK.evaluations() + 6 * sum(self._steps(level) for level in self.levels)

    def look_at(self, part: Part, batch: Prepared) -> list[tuple[int, Row]]:
        """Every arm with both directions from every level."""
        del part
        latent, found = batch.latent, list[tuple[int, Row]]()

        def add(arm: str, z: Tensor, *, search: str = "", level: float = 0.0) -> None:
            about = {"arm": arm, "search": search, "level": level}
            found.extend((index, {**about, **scores}) for index, scores in enumerate(scored(batch, z)))

        searches = {ANNEALED: recommended(latent.backbone).search, ONE_LOOK: LOOK}
        d = {name: identify(latent, batch.target, one, seed=batch.seeds(self.seed)).z for name, one in searches.items()}
        for search, displacement in d.items():
            add(DIRECT, latent.z + displacement, search=search)
        for level in self.levels:
            moved = arms(latent, batch.target, d, level=level, steps=self._steps(level))
            for (arm, search), z in moved.items():
                add(arm, z, search=search, level=level)
        return found

    def _steps(self, level: float) -> int:
        return math.ceil(self.steps * level)

    def conclude(self, rows: Table) -> Outcome:
        """Model by model: the gain where it is decided, in SDE and in error; elsewhere; and what the way back gives."""
        claims, summary = list[Claim](), list[dict[str, Any]]()
        for model, own in of_models(rows).items():
            gains, ways = numbers(own, self.levels)
            claims += self.claims(model, gains)
            for statement, values in ways.items():
                claims += self.claims(model, values, statement)
            summary += means(own, ["model", "captions", "arm", "search", "level"], "disentanglement")
        return Outcome(claims=tuple(claims), summary=pd.DataFrame(summary))

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """The arms over levels for each model, full captions, annealed direction; and what decides."""
        models = list(dict.fromkeys(outcome.summary["model"]))
        *arm_axes, numbers_axis = panels(
            figure, [*models, "joint gain"], share_y=False, size=(4.6 * len(models) + 6, 5.2)
        )[0]
        known = outcome.summary[(outcome.summary["captions"] == FULL) & outcome.summary["search"].isin(["", ANNEALED])]
        for axis, model in zip(arm_axes, models, strict=True):
            own = known[known["model"] == model]
            for colour, arm in zip(COLOURS, (TEXT, IMAGE, JOINT), strict=False):
                part = own[own["arm"] == arm].sort_values("level", ascending=False)
                draw_levels(axis, part, label=f"{arm} arm", colour=colour)
            direct = own[own["arm"] == DIRECT]
            axis.axhline(direct["mean"].iloc[0], color=GREY, linestyle="--", label="x + d, no way back")
            axis.set_ylabel("SDE, full captions, annealed d; 95 % interval", fontsize=8)
            axis.set_ylim(0, 1)
            axis.legend(fontsize=7)
        gains = [claim for claim in outcome.claims if claim.statement == self.statement]
        shown = [claim for claim in gains if claim.measure.startswith(f"SDE, {ANNEALED} d, {FULL}")]
        draw_numbers(numbers_axis, shown, unit="SDE")


def arms(
    latent: Encoded,
    target: Condition,
    directions: Mapping[str, Float[Tensor, "b *latent"]],
    *,
    level: float,
    steps: int,
) -> dict[tuple[str, str], Float[Tensor, "b *latent"]]:
    """Clean latents of the text arm, and of image and joint arm with each direction: by arm and direction's name.

    Args:
        latent: encoded pictures.
        target: text.
        directions: displacements of the clean latent.
        level: from which to come back, at most the model's highest.
        steps: of each way, even ones.

    Cost:
        ``2 + 2 len(directions)`` evaluations a step.
    """
    grid = uniform_grid(steps, start=min(level, latent.backbone.capabilities.s_max))
    trace = invert(latent, grid)
    share = clean_share(trace.levels[-1])
    found = {(TEXT, ""): replay(latent, trace, target)}
    for name, d in directions.items():
        found[IMAGE, name] = replay(latent, trace, latent.condition, offset=share * d)
        found[JOINT, name] = replay(latent, trace, target, offset=share * d)
    return found


def numbers(rows: Table, levels: Sequence[float]) -> tuple[dict[str, Table], dict[str, dict[str, Table]]]:
    """Of one model: the joint gain, what decides first; and our own claims to what bears on them.

    Args:
        rows: as `JointLatent` measures them.
        levels: from which the arms came back.
    """
    scores = {
        (str(captions), score): by_item(part.assign(setting=_setting(part)), score, "setting")
        for captions, part in rows.groupby("captions", sort=False)
        for score in ("disentanglement", "error")
    }

    def gain(captions: str, search: str, level: float) -> Table:
        sde = scores[captions, "disentanglement"]
        columns = [sde[_name(*one)] for one in ((JOINT, search, level), (TEXT, "", level), (IMAGE, search, level))]
        return pd.Series(joint_gain(*(torch.tensor(one.to_numpy(float)) for one in columns)).numpy(), index=sde.index)

    def error_gain(captions: str, search: str, level: float) -> Table:
        error = scores[captions, "error"].clip(upper=1)
        single = error[[_name(TEXT, "", level), _name(IMAGE, search, level)]].min(axis=1, skipna=False)
        return single - error[_name(JOINT, search, level)]

    others = [level for level in levels if level != DECIDING]
    every = itertools.product((ANNEALED, ONE_LOOK), (FULL, PARTIAL), (DECIDING, *others))
    settings = [(captions, search, level) for search, captions, level in every]
    gains = {f"SDE, {_words(*one)}": gain(*one) for one in settings}
    gains |= {f"error at most 1, {_words(*one)}": error_gain(*one) for one in settings if one[2] == DECIDING}
    ways: dict[str, dict[str, Table]] = {NO_WALK: {}, COARSE: {}}
    for captions in (FULL, PARTIAL):
        sde = scores[captions, "disentanglement"]
        for statement, search, sign in ((NO_WALK, ANNEALED, -1), (COARSE, ONE_LOOK, 1)):
            walked = sde[_name(JOINT, search, DECIDING)] - sde[_name(DIRECT, search, 0.0)]
            which = "joint arm less x + d" if sign > 0 else "x + d less joint arm"
            ways[statement][f"SDE, {which}, {_words(captions, search, DECIDING)}"] = sign * walked
    return gains, ways


def _words(captions: str, search: str, level: float) -> str:
    return f"{search} d, {captions} captions, level {level:g}"


def _name(arm: str, search: str, level: float) -> str:
    return f"{arm}/{search}/{level:g}"


def _setting(rows: Table) -> list[str]:
    return [_name(*one) for one in zip(rows["arm"], rows["search"], rows["level"], strict=True)]
