"""Does a direction from two texts change one attribute? What a reader sees of the requested one and of all others."""

import numpy as np

from latentedit_bench.experiments.declare import EIM_PAPER, Difference, Dots, Edits, Lab, Measure, experiment
from latentedit_bench.experiments.items import PARTIAL, Tables, recommended
from latentedit_bench.experiments.texts import other_requests
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.evaluate import CHANGE, TRUE_CHANGE, Method

OTHER = "another attribute's direction"
_REQUESTED = 0.5  # total variation in the right answer from which an attribute counts as requested

_MARGIN = Measure(
    name="change of the requested attribute minus the largest change of another",
    column="margin",
    where={"captions": PARTIAL},
    differences=(Difference("method", "eim", OTHER),),
)


def margins(rows: Table) -> Table:
    """Rows with "margin": the least change of a requested attribute minus the largest of the others.

    Requested is what changes in the right answer by `_REQUESTED` or more, or else what changes most there.
    """
    names = [str(name).removeprefix(CHANGE) for name in rows.columns if str(name).startswith(CHANGE)]
    changed = rows[[f"{CHANGE}{name}" for name in names]].to_numpy(float)
    truth = rows[[f"{TRUE_CHANGE}{name}" for name in names]].to_numpy(float)
    requested = (truth >= _REQUESTED) | (truth == truth.max(1, keepdims=True))
    found = np.where(requested, changed, np.inf).min(1) - np.where(requested, -np.inf, changed).max(1)
    return rows.assign(margin=found)


@experiment(
    "single-attribute",
    paper=EIM_PAPER,
    claim="directions derived from text alone control one attribute each",
    source=Edits(others=96, kinds=("single",)),
    prepare=margins,
    primary=_MARGIN,
    secondary=(_MARGIN.variant(f"{_MARGIN.name} (full captions)", captions="full"),),
    plots=(Dots(x="margin", y="requested", by="method", label="margin", where={"captions": PARTIAL}),),
    minutes=31,
)
def single_attribute(lab: Lab) -> Tables:
    """Changes are total variations of the reader's probabilities; of two tied attributes the smaller change counts.

    The control is a direction from the same search on the same portrait for another attribute that the caption names,
    scored as if it were the requested one: it changes images as much. The reader knows twelve attributes and sees no
    other changes. Partial captions leave out about half of the attributes.
    """
    editor = recommended(lab.model)
    yield lab.edit([Method(name="eim", editor=editor, local=True)])
    swapped = other_requests(lab.data, lab.source.seed)
    yield lab.edit([Method(name=OTHER, editor=editor, local=True)], data=swapped, folder="control")
