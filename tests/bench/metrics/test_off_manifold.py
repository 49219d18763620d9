import inspect
import math

import pytest
import torch
from scipy.stats import gmean

from latentedit.core.errors import ConfigError, ShapeError
from latentedit_bench.metrics.off_manifold import ResidualRatio, residual_ratio
from tests.bench.metrics.constructed import noise


def test_it_is_the_ratio_of_the_losses() -> None:
    assert residual_ratio(torch.tensor([1.0, 0.5, 3.0]), torch.tensor([1.0, 1.0, 1.5])).tolist() == [1, 0.5, 2]


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["edited", "source"])
def test_losses_that_are_none_are_refused(name: str, value: float) -> None:
    good, bad = torch.ones(2), torch.tensor([1.0, value])
    with pytest.raises(ConfigError, match=f"expected {name} losses above 0; got {value:g}"):
        residual_ratio(bad if name == "edited" else good, good if name == "edited" else bad)


def test_other_counts_are_refused() -> None:
    with pytest.raises(ShapeError, match="one loss of each picture"):
        inspect.unwrap(residual_ratio)(torch.ones(2), torch.ones(3))  # without the shapes that tests check


def test_the_class_is_scipys_geometric_mean() -> None:
    edited, source = (noise(9, seed=seed).exp() for seed in (0, 1))
    metric = ResidualRatio()
    metric.update(edited[:4], source[:4])
    metric.update(edited[4:], source[4:])
    assert metric.compute().item() == pytest.approx(gmean((edited / source).numpy()), rel=1e-12)
    assert metric.values.tolist() == pytest.approx((edited / source).tolist(), rel=1e-15)


def test_the_geometric_mean_is_the_same_the_other_way_round() -> None:
    edited, source = (noise(9, seed=seed).exp() for seed in (0, 1))
    there, back = ResidualRatio(), ResidualRatio()
    assert (there(edited, source) * back(source, edited)).item() == pytest.approx(1, rel=1e-12)
