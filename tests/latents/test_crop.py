"""Boxes cut out and changes put back; and portraits by other programs, framed, read and edited against the truth."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from latentedit.latents.images import Box, Framer, SourceImage, carry_on, cut, framer_for, put_back, resize
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder, load
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_portraits.framer import PortraitFramer
from latentedit_portraits.reader import PortraitReader

pytestmark = pytest.mark.slow

FOREIGN = Path(__file__).parents[1] / "data" / "foreign"
SIZE = (40, 30)

boxes = st.tuples(st.integers(-20, 39), st.integers(-20, 29), st.integers(1, 60), st.integers(1, 60)).filter(
    lambda box: box[0] + box[2] > 0 and box[1] + box[3] > 0
)


class Whole(Framer):
    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def boxes(self, images: Sequence[Image.Image]) -> list[Box | None]:
        return [None] * len(images)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


def restored(change: Tensor, image: Image.Image, box: Box) -> Tensor:
    return torch.stack(list(put_back(change, image, box)))


@given(box=boxes)
def test_a_cut_shows_the_box_with_edges_repeated(box: Box) -> None:
    image = noise(*SIZE)
    padded = np.pad(np.asarray(image), ((100, 100), (100, 100), (0, 0)), mode="edge")
    left, top, width, height = box
    assert np.array_equal(cut(image, box), padded[top + 100 : top + 100 + height, left + 100 : left + 100 + width])


@given(box=boxes)
def test_a_change_reaches_half_a_box_beyond_it_at_most(box: Box) -> None:
    change = restored(torch.ones(3, 16, 16), Image.new("RGB", SIZE, (90, 90, 90)), box)
    left, top, width, height = box
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    outside = np.maximum(np.maximum(left - x, x - left - width + 1), 0) > width // 2
    outside |= np.maximum(np.maximum(top - y, y - top - height + 1), 0) > height // 2
    assert not change[:, torch.from_numpy(outside)].any()
    assert not restored(torch.zeros(3, 16, 16), noise(*SIZE), box).any()
    assert -0.1 < change.min() <= change.max() < 1.1  # bicubic planes swing over a little


def test_a_box_takes_the_change_as_it_is_inside() -> None:
    change = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([resize(plane, SIZE) for plane in change])
    assert torch.equal(restored(change, noise(*SIZE), (0, 0, *SIZE)), expected)
    change = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(1))
    whole = restored(change, noise(200, 150), (60, 50, 32, 32))
    assert torch.equal(whole[:, 52:80, 62:90], change[:, 2:30, 2:30])


def test_borders_inside_the_image_leave_no_seam() -> None:
    """On one color a change of 1 goes on without a step; put back without care it would end in a step of 1."""
    whole = restored(torch.ones(3, 128, 128), Image.new("RGB", (300, 300), (90, 90, 90)), (86, 86, 128, 128))[0]
    steps = torch.cat([whole.diff(dim=0).flatten(), whole.diff(dim=1).flatten()]).abs()
    assert steps.max() < 0.2
    assert whole[86:214, 86:214].min() > 0.9
    assert whole[:20].max() == 0


@pytest.mark.parametrize("top", [36, 10])
def test_a_change_is_carried_on_in_its_own_color_only(top: int) -> None:
    """A red stripe that the box shows in part turns; the gray around does not, nor does the blue that it never saw."""
    pixels = np.full((200, 200, 3), 128, dtype=np.uint8)
    pixels[:, 80:120] = (220, 40, 40)
    pixels[180:, 140:] = (40, 40, 220)
    change = torch.zeros(3, 128, 128)
    change[:, :, 80 - 36 : 120 - 36] = 0.5
    whole = restored(change, Image.fromarray(pixels), (36, top, 128, 128))
    assert whole[:, top + 134 : top + 159, 82:118].min() > 0.4
    assert whole[:, :, 124:].abs().max() < 0.01
    assert whole[:, 181:, 141:].abs().max() < 1e-6


def test_what_is_carried_on_is_the_joint_bilateral_mean() -> None:
    """Pixel by pixel in float64, for a box of 16 pixels in a guide of 24."""
    numbers = np.random.default_rng(3)
    guide, change = numbers.random((3, 24, 24)) * 0.2, numbers.normal(size=(2, 16, 16))
    found = carry_on(torch.from_numpy(change).float(), torch.from_numpy(guide).float(), (6, 5)).numpy()
    rim = [(y, x) for y in range(0, 16, 4) for x in range(0, 16, 4) if min(y, x, 15 - y, 15 - x) < 2]
    for row, column in ((0, 0), (23, 11), (5, 23), (2, 7)):
        total, weights = np.zeros(2), 1.0
        for y, x in rim:
            color = ((guide[:, row, column] - guide[:, y + 6, x + 5]) ** 2).sum() / 0.04**2
            place = ((row - 6 - y) ** 2 + (column - 5 - x) ** 2) / 16**2 / 0.25**2
            weight = np.exp(-(color + place) / 2)
            total, weights = total + weight * change[:, y, x], weights + weight
        np.testing.assert_allclose(found[:, row, column], total / weights, rtol=1e-3, atol=1e-6)


def test_the_models_folder_names_its_framer(register: Callable[..., None]) -> None:
    backbone = example_mixture(dimension=2)
    assert framer_for(backbone) is None
    register("framers", whole=f"{__name__}:Whole")
    backbone.defaults = {"framer": "whole"}
    found = framer_for(backbone)
    assert isinstance(found, Whole)
    assert found.backbone is backbone


@pytest.fixture(scope="module")
def portraits() -> Backbone:
    return load("portraits", device="cpu")


def foreign(name: str) -> Image.Image:
    return SourceImage.open(FOREIGN / f"{name}.png").image


def framed(name: str) -> tuple[Image.Image, Box]:
    """The standard square of an image, transparent parts white, and where it was."""
    image = foreign(name).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
    box = PortraitFramer.from_folder(bundled_folder("portraits")).boxes([image])[0]
    assert box is not None
    return cut(image, box), box


STANDARD = {
    "dicebear-plain": (40, 30, 200, 280, 280),
    "dicebear-disc": (40, 30, 200, 280, 300),
    "dicebear-wide": (100, 30, 200, 400, 600),
    "avataaars-disc": (32, 30, 200, 264, 330),
}
"""Where the standard square lies by the drawings' own coordinates: left, top, side; widths of drawing and image."""

FACE = {  # what the images show, as far as it has a name in the reader's words; none has glasses or a beard
    "dicebear-plain": {"mouth": "serious", "eyes": "open", "eyebrows": "flat", "hair": "short", "clothes": "hoodie"},
    "dicebear-disc": {"mouth": "smile", "eyes": "open", "eyebrows": "flat", "hair": "curly", "clothes": "t-shirt"},
    "dicebear-wide": {"mouth": "serious", "eyes": "open", "eyebrows": "angry", "clothes": "t-shirt"},
    "avataaars-disc": {"mouth": "smile", "eyes": "wide", "eyebrows": "flat", "hair": "long", "clothes": "overalls"},
}


@pytest.mark.parametrize("name", STANDARD)
def test_portraits_by_other_programs_are_framed_and_read(portraits: Backbone, name: str) -> None:
    left, top, side, drawn, width = STANDARD[name]
    expected = np.array([left, top, side]) * width / drawn
    found = np.array(framed(name)[1], dtype=float)
    middle, wanted = found[:2] + found[2] / 2, expected[:2] + expected[2] / 2
    assert np.abs(middle - wanted).max() < 0.03 * expected[2]
    assert abs(np.log(found[2] / expected[2])) < 0.06
    truth = FACE[name] | {"accessory": "none", "facial_hair": "none"}
    images = framed(name)[0], foreign(name)
    views = [SourceImage.from_image(image).fit(portraits.capabilities).pixels for image in images]
    read, misread = PortraitReader.from_folder(bundled_folder("portraits")).read(torch.stack(views))
    assert read | truth == read
    assert misread | truth != misread
