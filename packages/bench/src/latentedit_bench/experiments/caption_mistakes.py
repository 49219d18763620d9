"""What a captioner's mistakes cost: phrases of the description that are wrong or missing, at published rates."""

import dataclasses
import itertools
import random
from collections.abc import Sequence
from typing import cast

from latentedit.directions.hsds import HSDS
from latentedit.editors import FlowEdit
from latentedit.editors.eim import EIM
from latentedit.testing.domains import Domain, Scene
from latentedit_bench.data.counterfactual import Rendered
from latentedit_bench.data.items import Item
from latentedit_bench.domains.base import load_domain
from latentedit_bench.experiments.declare import (
    EIM_PAPER,
    FULL,
    Difference,
    Edits,
    Lab,
    Lines,
    Measure,
    Tables,
    experiment,
)
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.evaluate import Method

# Those of eim on portraits, and FlowEdit's path at the same levels with the same pairs of noises.
SEARCH = HSDS(
    levels=(0.99, 0.0),
    shift=2.5,
    steps=7,
    step_size=None,
    noises=2,
    antithetic=True,
    keep_source=0.002,
    drop_residual=0.3,
    gain=1.06,
)
PATH = FlowEdit(level=0.99, shift=2.5, steps=7, noises=2, antithetic=True, target_guidance=1.0)

WRONG, MISSING = MISTAKES = ("wrong", "missing")
_LESS = Measure(
    name="error with 10 % of the phrases wrong, not completed",
    column="capped",
    where={"mistake": WRONG, "rate": 0.1, "completed": "no"},
    differences=(Difference("method", "flowedit", "eim"),),
)
_COST = _LESS.variant(
    "error of eim, 10 % of the phrases wrong",
    rate=(0.0, 0.1),
    method="eim",
    differences=(Difference("rate", 0.1, 0.0),),
)


@experiment(
    "caption-mistakes",
    paper=EIM_PAPER,
    claim="with a captioner that is wrong about one phrase in ten, eim errs less than FlowEdit on the same schedule",
    source=Edits(models=("portraits",), seed=24, items=96, captions=(FULL,)),
    primary=_LESS,
    secondary=(
        *(
            _LESS.variant(f"error with {rate:.0%} of the phrases wrong, not completed", rate=rate)
            for rate in (0.0, 0.2)
        ),
        _LESS.variant("error with 10 % of the phrases missing, not completed", mistake=MISSING),
        _LESS.variant("error with 10 % of the phrases missing, completed", mistake=MISSING, completed="yes"),
        _COST,
        _COST.variant("error of eim, 10 % of the phrases missing, not completed", mistake=MISSING),
        _COST.variant("error of eim, 10 % of the phrases missing, completed", mistake=MISSING, completed="yes"),
    ),
    plots=(
        Lines(y="capped", x="rate", by="line", label="error, wrong phrases", where={"mistake": WRONG}),
        Lines(y="capped", x="rate", by="line", label="error, missing phrases", where={"mistake": MISSING}),
    ),
    quick={"items": 8, "rates": (0.0, 0.2)},
    minutes=25,
)
def caption_mistakes(lab: Lab, *, rates: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2)) -> Tables:
    """Both captions describe what should stay with the same mistakes; the request itself is right.

    Each shared phrase is wrong, or missing, with the given probability; the mistakes of a rate are among those of a
    higher one. "Completed" captions are completed by the model's captioner, which adds missing phrases and corrects
    none. FlowEdit has the levels, steps, pairs of noises, gain and locality of eim. On COCO, 13.0 and 32.7 % of the
    captions of two published captioners name an object that is not there (CHAIR_S of arXiv 1809.02156, measured in
    arXiv 2305.10355); a caption has several phrases, so one phrase in five is more than they get wrong.
    """
    methods = [
        Method(name="eim", editor=EIM(search=SEARCH), local=True),
        Method(name="flowedit", editor=PATH, local=True, gain=SEARCH.gain),
    ]
    exact: Table | None = None  # without mistakes: the same for all
    for rate, mistake, complete in itertools.product(rates, MISTAKES, (False, True)):
        completed, rows = "yes" if complete else "no", None if rate else exact
        if rows is None:
            items = tuple(mistaken(item, mistake, rate, complete=complete) for item in lab.data.items)
            name = f"{mistake}-{rate:g}-{completed}" if rate else "exact"
            rows = lab.edit(
                methods, data=dataclasses.replace(lab.data, name=f"{lab.data.name}/{name}", items=items), folder=name
            )
        exact = rows if rate == 0 else exact
        line = rows["method"] + (", completed" if complete else "")
        capped = rows["error"].astype(float).clip(upper=1)
        yield rows.assign(mistake=mistake, rate=rate, completed=completed, line=line, capped=capped)


scenes = caption_mistakes.variant("caption-mistakes-scenes", "scenes", models=("scenes",), items=32)


def mistaken(item: Item, mistake: str, rate: float, *, complete: bool = False) -> Item:
    """The item with mistakes in the phrases that its two captions share."""
    source, truth = cast("Rendered", item.image), cast("Rendered", item.truth)
    domain = load_domain(source.domain)
    generator = random.Random(f"caption mistakes/{mistake}/{item.group}")
    pairs: list[tuple[str, str]] = []
    for place, (old, new) in enumerate(zip(domain.phrases(source.scene), domain.phrases(truth.scene), strict=True)):
        hit, others = generator.random() < rate, wrong_phrases(domain, source.scene, place)
        other = generator.choice(others) if others else None
        if old != new or not hit or (mistake == WRONG and other is None):
            pairs.append((old, new))
        elif mistake == WRONG and other is not None:
            pairs.append((other, other))
    texts = [domain.caption([pair[side] for pair in pairs]) for side in (0, 1)]
    return dataclasses.replace(item, source_caption=texts[0], target_caption=texts[1], complete=complete)


def wrong_phrases(domain: Domain, scene: Scene, place: int) -> Sequence[str]:
    """Other phrases at one place of a caption, those of scenes that differ in this phrase alone."""
    stated, found = domain.phrases(scene), list[str]()
    for name, values in domain.alternatives(scene).items():
        for value in values:
            other = domain.phrases(domain.change(scene, {name: value}))
            if [index for index, phrase in enumerate(other) if phrase != stated[index]] == [place]:
                found.append(other[place])
    return found
