import inspect
import math

import pytest
import torch

from latentedit.core.errors import ConfigError, ShapeError
from latentedit_bench.metrics.off_manifold import residual_ratio


def test_it_is_the_ratio_of_the_losses() -> None:
    assert residual_ratio(torch.tensor([1.0, 0.5, 3.0]), torch.tensor([1.0, 1.0, 1.5])).tolist() == [1, 0.5, 2]


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["edited", "source"])
def test_losses_that_are_none_are_refused(name: str, value: float) -> None:
    good, bad = torch.ones(2), torch.tensor([1.0, value])
    with pytest.raises(ConfigError, match=f"a loss of the {name} pictures is {value:g}, not above 0"):
        residual_ratio(bad if name == "edited" else good, good if name == "edited" else bad)


def test_other_counts_are_refused() -> None:
    with pytest.raises(ShapeError, match="Give one a picture"):
        inspect.unwrap(residual_ratio)(torch.ones(2), torch.ones(3))  # without the shapes that tests check
