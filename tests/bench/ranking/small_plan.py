"""A plan of two methods on six rendered items, for the tests of plans, runs and units."""

from typing import Any

from latentedit.editors import FlowSlider, SDEdit
from latentedit_bench.data.items import Dataset
from latentedit_bench.ranking.evaluate import Method
from latentedit_bench.ranking.plan import Plan
from tests.bench.rendered_network import RenderedNetwork, some_items

SLIDER = Method(name="slide", editor=FlowSlider(steps=3), local=True)
NOISY = Method(name="noisy", editor=SDEdit(level=0.5, steps=4, guidance=1.0))
DATA = Dataset(name="some", version="1", items=some_items()[:6])


def small_plan(**more: Any) -> Plan:
    """On a model of its own, in batches of two."""
    told: dict[str, Any] = {"dataset": DATA, "methods": (SLIDER, NOISY), "strengths": (0.5, 1.0), "batch": 2}
    return Plan(model=RenderedNetwork(reads=False), **told | more)
