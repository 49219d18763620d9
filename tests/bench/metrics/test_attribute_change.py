"""How far readings of attributes move."""

import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from latentedit.core.errors import ShapeError
from latentedit_bench.metrics.attribute_change import attribute_change
from tests.bench.metrics.constructed import noise


def reading(seed: int) -> dict[str, Tensor]:
    return {
        name: noise(5, values, seed=seed + index).softmax(1)
        for index, (name, values) in enumerate([("hair", 4), ("mouth", 2), ("hat", 3)])
    }


def test_total_variation_is_the_largest_difference_of_probability_of_any_event() -> None:
    before, after = reading(0), reading(50)
    found = attribute_change(before, after)
    for column, name in enumerate(before):
        for row in range(5):
            rises = (after[name] - before[name])[row]
            assert found[row, column].item() == pytest.approx(rises[rises > 0].sum().item(), rel=1e-12)
            # Pinsker-like bounds with another distance: JS <= TV <= sqrt(2 JS), JS in nats and divided by log 2 below
            js = jensenshannon(before[name][row], after[name][row], base=2) ** 2
            assert js <= found[row, column].item() <= math.sqrt(2 * math.log(2) * js) + 1e-12
    assert torch.equal(attribute_change(before, dict(reversed(after.items()))), found), "the order of the first reading"
    sure, other = {"hat": torch.tensor([[1.0, 0.0]])}, {"hat": torch.tensor([[0.0, 1.0]])}
    assert (attribute_change(sure, sure).item(), attribute_change(sure, other).item()) == (0, 1)


def test_readings_that_do_not_belong_together_are_refused() -> None:
    before = reading(0)
    for after in (
        {"hair": before["hair"]},
        {**before, "hat": before["hat"][:4]},
        {**before, "hat": before["mouth"]},
        dict(zip(["hair", "mouth", "scarf"], before.values(), strict=True)),
    ):
        with pytest.raises(ShapeError, match="other attributes or pictures"):
            attribute_change(before, after)
    with pytest.raises(ShapeError, match="other attributes or pictures"):
        attribute_change({}, {})
