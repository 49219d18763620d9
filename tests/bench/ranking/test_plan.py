"""A plan says everything that decides its rows, and refuses what cannot be ranked."""

import dataclasses
from typing import Any

import pytest

from latentedit.api.manifests.items import Dataset
from latentedit.core.errors import ConfigError
from latentedit.editors.baselines.flowslider import FlowSlider
from latentedit.editors.baselines.sdedit import SDEdit
from latentedit_bench.ranking.methods import Method
from latentedit_bench.ranking.plan import Plan
from tests.bench.rendered_network import RenderedNetwork, some_items

SLIDER = Method(name="slide", editor=FlowSlider(steps=3), local=True)
NOISY = Method(name="noisy", editor=SDEdit(level=0.5, steps=4, guidance=1.0))
DATA = Dataset(name="some", version="1", items=some_items()[:6])


@pytest.fixture
def plan() -> Plan:
    return Plan(model=RenderedNetwork(reads=False), dataset=DATA, methods=(SLIDER, NOISY), strengths=(0.5, 1.0))


def test_the_plan_says_everything(plan: Plan) -> None:
    told = plan.spec
    assert (told["model"], told["model_fingerprint"]) == ("rendered-network", "rendered-network-1")
    assert told["network_dtype"] == "float32"
    assert told["data"] == {"name": "some", "version": "1", "items": 6, "fingerprint": DATA.fingerprint}
    assert [(one["name"], one["editor"], one["local"]) for one in told["methods"]] == [
        ("slide", "flowslider", True),
        ("noisy", "sdedit", False),
    ]
    assert told["methods"][1]["settings"] == NOISY.editor.to_dict()
    assert (told["strengths"], told["seed"], told["batch"], told["beside"]) == ([0.5, 1.0], 0, 32, True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"methods": ()}, "methods are none"),
        ({"methods": (SLIDER, SLIDER)}, "slide, slide. Name one or more, each once"),
        ({"strengths": (0.5, 2.0)}, "with 1 among them"),
        ({"strengths": (0.0, 1.0)}, "without 0"),
        ({"batch": 0}, "batch of 0 items"),
    ],
)
def test_wrong_plans_are_refused(plan: Plan, change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        dataclasses.replace(plan, **change)
