"""Names, purities and positions of directions, for known readers and changes."""

import math
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from latentedit.encoding.captions.base import Captioner
from latentedit.geometry.naming import LEAST_CHANGE, UNNAMED, meaning_of, place_of


class ChannelReader(Captioner):
    """Three attributes; the probability of the second value of each is the mean of a channel, scaled to 0 to 1."""

    values: ClassVar = {"light": ("off", "on"), "hair_color": ("black", "white"), "noise": ("no", "yes")}

    def caption(self, pixels: Tensor) -> list[str]:
        return [""] * len(pixels)

    def probabilities(self, pixels: Tensor) -> dict[str, Tensor]:
        means = (pixels.mean((2, 3)) + 1) / 2
        return {name: torch.stack([1 - p, p], 1) for name, p in zip(self.values, means.T, strict=True)}


SOURCE = torch.zeros(3, 6, 6)


def images_with_means(*means: tuple[float, float, float]) -> Tensor:
    """Images whose channels have these means."""
    return torch.tensor(means, dtype=torch.float32)[:, :, None, None].expand(-1, -1, 6, 6)


def test_changes_are_mean_total_variations() -> None:
    """A channel mean m is the probability (m + 1) / 2, so a shift by m is a total variation of |m| / 2."""
    scales = (-2.0, -1.0, 1.0, 2.0)
    images = images_with_means((-0.8, 0.1, 0), (-0.4, 0.1, 0), (0.4, 0.1, 0), (0.8, -0.3, 0))
    meaning = meaning_of(ChannelReader(), SOURCE, images, scales)
    assert meaning.changes == pytest.approx({"light": 0.3, "hair_color": 0.075, "noise": 0.0}, abs=1e-6)
    assert meaning.purity == pytest.approx(0.3 / 0.375, rel=1e-5)
    assert (meaning.attribute, meaning.name) == ("light", "light: on (+), off (-)")
    unchanged = meaning_of(ChannelReader(), SOURCE, images_with_means((0, 0, 0)), (1.0,))
    assert math.isnan(unchanged.purity)
    assert (unchanged.name, unchanged.place) == (UNNAMED, "nowhere")
    clipped = meaning_of(ChannelReader(), SOURCE, images_with_means((5.0, 0, 0)), (1.0,))
    assert clipped.changes["light"] == pytest.approx(0.5), "images are not clipped before they are read"


@pytest.mark.parametrize(
    ("images", "scales", "name"),
    [
        (images_with_means((0, 0.6, 0), (0, -0.6, 0)), (-1.0, 1.0), "hair color: black (+), white (-)"),
        (images_with_means((0, 0.6, 0), (0, 0.0, 0)), (1.0, -1.0), "hair color: white (+)"),
        (images_with_means((0, 0.6, 0), (0, 0.6, 0)), (1.0, -1.0), "hair color: white (+ and -)"),
        (images_with_means((0, 0.6, 0)), (1.0,), "hair color: white (+)"),
        (images_with_means((0, 0.9, 0), (0, -0.9, 0)), (1.0, 2.0), "hair color: changed"),
    ],
)
def test_the_name_states_the_increased_value_of_each_sign(images: Tensor, scales: tuple[float, ...], name: str) -> None:
    """In the last case, edits of one sign change the probability both ways, so no value is named."""
    assert meaning_of(ChannelReader(), SOURCE, images, scales).name == name


@pytest.mark.parametrize(("share", "name"), [(0.99, UNNAMED), (1.01, "light: on (+), off (-)")])
def test_changes_below_the_floor_have_no_name(share: float, name: str) -> None:
    shift = 2 * LEAST_CHANGE * share
    meaning = meaning_of(ChannelReader(), SOURCE, images_with_means((shift, 0, 0), (-shift, 0, 0)), (1.0, -1.0))
    assert meaning.name == name
    assert meaning.attribute == ("" if name == UNNAMED else "light")
    assert meaning.purity == pytest.approx(math.nan if name == UNNAMED else 1.0, nan_ok=True)
    assert meaning.changes["light"] == pytest.approx(LEAST_CHANGE * share)


def test_without_a_reader_directions_are_named_by_position() -> None:
    images = SOURCE[None].clone()
    images[:, :, 4:, :2] = 0.5
    meaning = meaning_of(None, SOURCE, images, (1.0,))
    assert (meaning.name, meaning.place, meaning.changes) == ("bottom left", "bottom left", {})
    assert math.isnan(meaning.purity)
    assert place_of(torch.zeros(1, 3, 9, 9)) == "nowhere"
    assert place_of(torch.ones(1, 3, 9, 9)) == "whole image"
    corners = torch.zeros(1, 3, 9, 9)
    corners[..., 0, 0] = corners[..., 8, 8] = 1.0
    assert place_of(corners) == "whole image"
    for row, vertical in enumerate(("top", "", "bottom")):
        for column, horizontal in enumerate(("left", "", "right")):
            change = torch.zeros(2, 3, 12, 12)
            change[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = -1e-3
            assert place_of(change) == (f"{vertical} {horizontal}".strip() or "middle")
