"""An experiment: a claim, the items on which it is measured, and the number that decides it."""

from latentedit_bench.experiments.declare import FULL, Difference, Edits, Lab, Measure, Method, Tables, experiment
from plugin.editor import OneStep


@experiment(
    "plugin-experiment",
    paper="One step (arXiv 0000.00000)",
    claim="one step at a high noise level changes more of what the text asks for than one at a low level",
    source=Edits(models=("portraits",), items=12, captions=(FULL,), kinds=("single",)),
    primary=Measure(name="effect", column="effect", differences=(Difference("method", "high", "low"),)),
    quick={"items": 6},
    minutes=1,
)
def noise_level(lab: Lab, *, high: float = 0.8, low: float = 0.2) -> Tables:
    """The effect is 0 for the unchanged image and 1 for the correct result, which the renderer draws."""
    levels = {"high": high, "low": low}
    yield lab.edit([Method(name=name, editor=OneStep(level=level)) for name, level in levels.items()])
