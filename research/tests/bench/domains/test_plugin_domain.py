"""A domain of a third party, ``examples/plugin``: its counterfactuals, areas and sizes."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from latentedit.core import ConfigError
from latentedit_bench.data.counterfactual import SIZES, counterfactual
from latentedit_bench.data.loading import load_dataset
from latentedit_bench.domains.base import Domain, attribute_areas, load_domain, scalable
from research.tests.bench.conftest import Register

EXAMPLE = Path(__file__).parents[4] / "examples" / "plugin" / "src" / "plugin" / "domain.py"
Squares = runpy.run_path(str(EXAMPLE))["Squares"]
OneSize = type("OneSize", (), {name: part for name, part in vars(Squares).items() if name != "render_at"})


@pytest.fixture(autouse=True)
def installed(register: Register) -> None:
    register("domains", **{"plugin-domain": f"{__name__}:Squares", "one-size": f"{__name__}:OneSize"})


@pytest.mark.slow_except("wrong")
@pytest.mark.parametrize("captions", ["full", "partial", "paraphrased", "wrong"])
def test_its_counterfactuals_are_a_data_set(captions: str) -> None:
    data = load_dataset("counterfactual-plugin-domain", split="test", captions=captions)
    assert data.name == f"counterfactual-plugin-domain/test/{captions}"
    assert len(data.items) == SIZES["test"]
    assert {item.kind for item in data.items} == {"single", "pair", "triple", "nothing", "contradiction"}
    assert data.fingerprint == counterfactual("plugin-domain", "test", captions=captions).fingerprint
    for item in data.items[:20]:
        assert item.truth is not None
        assert item.mask is not None
        differ = (np.asarray(item.image()) != np.asarray(item.truth())).any(2)
        assert np.array_equal(item.mask(), differ)
        assert differ.any() == bool(item.about["requested"])
        for name in filter(None, item.about["requested"].split(",")):
            assert name in item.target_caption


def test_its_areas_are_those_of_the_renderer() -> None:
    """A square of 30 x 30 pixels on a wall of 64 x 64."""
    assert isinstance(load_domain("plugin-domain"), Domain)
    square = 30**2 / 64**2
    assert attribute_areas("plugin-domain") == pytest.approx({"square": square, "wall": 1 - square})


def test_its_scenes_are_drawn_at_any_size() -> None:
    domain = scalable("plugin-domain")
    small, large = (domain.render_at(domain.draw("test", 1, 0)[0], side) for side in (64, 128))
    assert np.array_equal(large[::2, ::2], small)
    with pytest.raises(ConfigError):
        scalable("one-size")
