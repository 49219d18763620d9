"""What a captioner's mistakes cost: phrases of the description that are wrong or missing, at published rates."""

import dataclasses
import itertools
import random
from collections.abc import Iterator, Sequence
from typing import cast

from latentedit.editors import FlowEdit
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
from latentedit_bench.experiments.items import recommended
from latentedit_bench.ranking.evaluate import Method

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
    source=Edits(models=("portraits", "scenes"), seed=24, items=96, others=32, captions=(FULL,)),
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
    quick={"items": 8, "others": 4, "rates": (0.0, 0.2)},
)
def caption_mistakes(lab: Lab, *, rates: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2)) -> Tables:
    """Both captions describe what should stay with the same mistakes; the request itself is right.

    Each shared phrase is wrong, or missing, with the given probability; the mistakes of a rate are among those of a
    higher one. "Completed" captions are completed by the model's captioner, which adds missing phrases and corrects
    none. FlowEdit has the levels, steps, pairs of noises, gain and locality of eim. Published captioners hallucinate 2
    to 33 % of objects or captions on COCO: arXiv 1809.02156 (CHAIR), arXiv 2305.10355 (POPE).
    """
    search = recommended(lab.model).search
    editor = FlowEdit(
        level=search.levels[0],
        shift=search.shift,
        steps=search.steps,
        noises=search.noises,
        antithetic=search.antithetic,
        source_guidance=search.guidance,
        target_guidance=search.guidance,
    )
    methods = [
        Method(name="eim", editor=recommended(lab.model), local=True),
        Method(name="flowedit", editor=editor, local=True, gain=search.gain),
    ]
    for rate, mistake, complete in itertools.product(rates, MISTAKES, (False, True)):
        data, completed = lab.data, "yes" if complete else "no"
        changed = [mistaken(item, mistake, rate, complete=complete) for item in data.items]
        name = f"{mistake}-{rate:g}-{completed}"
        rows = lab.edit(
            methods, data=dataclasses.replace(data, name=f"{data.name}/{name}", items=tuple(changed)), folder=name
        )
        line = rows["method"] + (", completed" if complete else "")
        capped = rows["error"].astype(float).clip(upper=1)
        yield rows.assign(mistake=mistake, rate=rate, completed=completed, line=line, capped=capped)


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
    stated = domain.phrases(scene)

    def found() -> Iterator[str]:
        for name, values in domain.alternatives(scene).items():
            for value in values:
                other = domain.phrases(domain.change(scene, {name: value}))
                if [a != b for a, b in zip(stated, other, strict=True)].count(True) == 1 and other[place] != stated[
                    place
                ]:
                    yield other[place]

    return list(found())
