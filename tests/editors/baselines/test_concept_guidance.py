import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.core.rng import draw
from latentedit.editors.baselines.concept_guidance import SemanticGuidance, strongest_per_channel, strongest_places

Mask = Callable[[torch.Tensor, float], torch.Tensor]
SHAPE = (2, 3, 5, 4)


def psi_of(index: int = 0, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return draw(shape, seed=0, purpose="psi", index=index).double()


@pytest.mark.parametrize("threshold", [0.0, 0.37, 0.9, 1.0])
def test_each_channel_keeps_its_strongest_places(threshold: float) -> None:
    """With the quantile of NumPy, one channel at a time."""
    psi = psi_of()
    found = strongest_per_channel(psi, threshold)
    for picture in range(2):
        for channel in range(3):
            values = psi[picture, channel].numpy()
            keep = np.abs(values) >= np.quantile(np.abs(values), threshold) - 1e-12
            assert np.array_equal(found[picture, channel].numpy(), values * keep)
            assert keep.sum() == 20 - math.ceil(19 * threshold - 1e-9)


@pytest.mark.parametrize("threshold", [0.0, 0.37, 0.9])
def test_places_are_shared_by_the_channels(threshold: float) -> None:
    psi = psi_of()
    found = strongest_places(psi, threshold)
    for picture in range(2):
        sums = np.abs(psi[picture].numpy()).sum(0)
        keep = sums >= np.quantile(sums, threshold) - 1e-12
        assert np.array_equal(found[picture].numpy(), psi[picture].numpy() * keep)


def test_the_two_masks_differ() -> None:
    assert not torch.equal(strongest_places(psi_of(), 0.5), strongest_per_channel(psi_of(), 0.5))


@pytest.mark.parametrize("mask", [strongest_per_channel, strongest_places])
def test_masks_know_neither_scale_nor_sign_nor_neighbours(mask: Mask) -> None:
    psi = psi_of()
    assert torch.equal(mask(-4 * psi, 0.7), -4 * mask(psi, 0.7))
    assert torch.equal(mask(psi, 0.7)[1:], mask(psi[1:], 0.7))


@pytest.mark.parametrize("mask", [strongest_per_channel, strongest_places])
def test_latents_without_places_are_one_channel(mask: Mask) -> None:
    psi = torch.tensor([[3.0, -1.0, 0.5, -4.0, 2.0]])
    assert mask(psi, 0.5).tolist() == [[3.0, 0.0, 0.0, -4.0, 2.0]]


@pytest.mark.parametrize(("warm_up", "cool_down"), [(0, None), (2, None), (1, 3), (4, 4)])
def test_momentum_is_gathered_from_the_first_step_and_outlives_psi(warm_up: int, cool_down: int | None) -> None:
    """The recursion in numbers: one place, whose psi is 1, 2, 3, ..."""
    guidance = SemanticGuidance(warm_up=warm_up, cool_down=cool_down, momentum=0.3, decay=0.6)
    carried, nu = torch.zeros(1, 1), 0.0
    for index in range(6):
        found, carried = guidance.step(index, torch.full((1, 1), index + 1.0), carried)
        wanted = (0.0 if cool_down is not None and index >= cool_down else index + 1.0) + 0.3 * nu
        nu = 0.6 * nu + 0.4 * wanted
        assert float(found) == pytest.approx(wanted if index >= warm_up else 0.0, rel=1e-6)
        assert float(carried) == pytest.approx(nu, rel=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": 1.1}, "threshold"),
        ({"warm_up": -1}, "warm_up"),
        ({"warm_up": 3, "cool_down": 2}, "cool_down must not come before warm_up"),
        ({"momentum": -0.1}, "momentum"),
        ({"decay": 2.0}, "decay"),
    ],
)
def test_settings_outside_their_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SemanticGuidance(**wrong)
