"""A plan says everything that decides its rows, and refuses what cannot be ranked."""

from typing import Any

import pytest

from latentedit.core.errors import ConfigError
from tests.bench.ranking.small_plan import DATA, NOISY, SLIDER, small_plan


def test_the_plan_says_everything() -> None:
    told = small_plan().spec
    assert (told["model"], told["model_fingerprint"]) == ("rendered-network", "rendered-network-1")
    assert told["network_dtype"] == "float32"
    assert told["data"] == {"name": "some", "version": "1", "items": 6, "fingerprint": DATA.fingerprint}
    methods = [(one["name"], one["editor"], one["local"]) for one in told["methods"]]
    assert methods == [("slide", "flowslider", True), ("noisy", "sdedit", False)]
    assert told["methods"][1]["settings"] == NOISY.editor.to_dict()
    assert (told["strengths"], told["seeds"], told["batch"]) == ([0.5, 1.0], [0], 2)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"methods": ()}, "methods are none"),
        ({"methods": (SLIDER, SLIDER)}, "'slide', 'slide'. Name one or more, each once"),
        ({"strengths": (0.5, 2.0)}, "with 1 among them"),
        ({"strengths": (0.0, 1.0)}, "without 0"),
        ({"batch": 0}, "batch of 0 items"),
        ({"seeds": ()}, "seeds are none"),
        ({"seeds": (1, 2, 1)}, "seeds are 1, 2, 1. Give one or more, each once"),
    ],
)
def test_wrong_plans_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        small_plan(**change)
