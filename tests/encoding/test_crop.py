"""Crops and pasted changes; portraits by other programs, cropped and read."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from latentedit.encoding.images import Box, Framer, SourceImage, carry_on, cut, framer_for, put_back, resize
from latentedit.models.base import Backbone
from latentedit.models.capabilities import Capabilities
from latentedit.models.registry import bundled_folder
from latentedit_portraits.framer import PortraitFramer
from latentedit_portraits.reader import PortraitReader
from tests.editors.edits import noise
from tests.testing.gaussian_mixture import example_mixture

PORTRAITS = Path(__file__).parents[1] / "data" / "foreign"
SIZE = (40, 30)

boxes = st.tuples(st.integers(-20, 39), st.integers(-20, 29), st.integers(1, 60), st.integers(1, 60)).filter(
    lambda box: box[0] + box[2] > 0 and box[1] + box[3] > 0
)


class WholeImage(Framer):
    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def boxes(self, images: Sequence[Image.Image]) -> list[Box | None]:
        return [None] * len(images)


def pasted(change: Tensor, image: Image.Image, box: Box) -> Tensor:
    return torch.stack(list(put_back(change, image, box)))


@given(box=boxes)
def test_crops_repeat_the_edges_of_the_image(box: Box) -> None:
    image = noise(SIZE)
    padded = np.pad(np.asarray(image), ((100, 100), (100, 100), (0, 0)), mode="edge")
    left, top, width, height = box
    assert np.array_equal(cut(image, box), padded[top + 100 : top + 100 + height, left + 100 : left + 100 + width])


@given(box=boxes)
def test_changes_reach_at_most_half_a_box_beyond_it(box: Box) -> None:
    change = pasted(torch.ones(3, 16, 16), Image.new("RGB", SIZE, (90, 90, 90)), box)
    left, top, width, height = box
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    outside = np.maximum(np.maximum(left - x, x - left - width + 1), 0) > width // 2
    outside |= np.maximum(np.maximum(top - y, y - top - height + 1), 0) > height // 2
    assert not change[:, torch.from_numpy(outside)].any()
    assert not pasted(torch.zeros(3, 16, 16), noise(SIZE), box).any()
    assert -0.1 < change.min() <= change.max() < 1.1  # bicubic interpolation overshoots


def test_changes_inside_the_box_are_only_resized() -> None:
    change = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([resize(plane, SIZE) for plane in change])
    assert torch.equal(pasted(change, noise(SIZE), (0, 0, *SIZE)), expected)
    change = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(1))
    result = pasted(change, noise((200, 150)), (60, 50, 32, 32))
    assert torch.equal(result[:, 52:80, 62:90], change[:, 2:30, 2:30])


def test_borders_inside_the_image_leave_no_seam() -> None:
    """On a uniform image, a change of 1 fades out without a step; a plain paste would leave a step of 1."""
    result = pasted(torch.ones(3, 128, 128), Image.new("RGB", (300, 300), (90, 90, 90)), (86, 86, 128, 128))[0]
    steps = torch.cat([result.diff(dim=0).flatten(), result.diff(dim=1).flatten()]).abs()
    assert steps.max() < 0.2
    assert result[86:214, 86:214].min() > 0.9
    assert result[:20].max() == 0


@pytest.mark.parametrize("top", [36, 10])
def test_changes_extend_only_to_similar_colors(top: int) -> None:
    """The change of a red stripe continues beyond the box; gray and blue areas do not change."""
    pixels = np.full((200, 200, 3), 128, dtype=np.uint8)
    pixels[:, 80:120] = (220, 40, 40)
    pixels[180:, 140:] = (40, 40, 220)
    change = torch.zeros(3, 128, 128)
    change[:, :, 80 - 36 : 120 - 36] = 0.5
    result = pasted(change, Image.fromarray(pixels), (36, top, 128, 128))
    assert result[:, top + 134 : top + 159, 82:118].min() > 0.4
    assert result[:, :, 124:].abs().max() < 0.01
    assert result[:, 181:, 141:].abs().max() < 1e-6


def test_extended_changes_are_joint_bilateral_means() -> None:
    """Against a loop over pixels in float64, for a box of 16 pixels in a guide of 24."""
    rng = np.random.default_rng(3)
    guide, change = rng.random((3, 24, 24)) * 0.2, rng.normal(size=(2, 16, 16))
    result = carry_on(torch.from_numpy(change).float(), torch.from_numpy(guide).float(), (6, 5)).numpy()
    border = [(y, x) for y in range(0, 16, 4) for x in range(0, 16, 4) if min(y, x, 15 - y, 15 - x) < 2]
    for row, column in ((0, 0), (23, 11), (5, 23), (2, 7)):
        total, weights = np.zeros(2), 1.0
        for y, x in border:
            color = ((guide[:, row, column] - guide[:, y + 6, x + 5]) ** 2).sum() / 0.04**2
            distance = ((row - 6 - y) ** 2 + (column - 5 - x) ** 2) / 16**2 / 0.25**2
            weight = np.exp(-(color + distance) / 2)
            total, weights = total + weight * change[:, y, x], weights + weight
        np.testing.assert_allclose(result[:, row, column], total / weights, rtol=1e-3, atol=1e-6)


def test_model_settings_name_the_framer(register: Callable[..., None]) -> None:
    backbone = example_mixture(dimension=2)
    assert framer_for(backbone) is None
    register("framers", whole=f"{__name__}:WholeImage")
    backbone.defaults = {"framer": "whole"}
    result = framer_for(backbone)
    assert isinstance(result, WholeImage)
    assert result.backbone is backbone


@pytest.mark.parametrize(
    ("name", "square", "face"),
    [
        (
            "dicebear-plain",
            (40, 30, 200, 280, 280),
            "mouth serious, eyes open, eyebrows flat, hair short, clothes hoodie",
        ),
        (
            "dicebear-disc",
            (40, 30, 200, 280, 300),
            "mouth smile, eyes open, eyebrows flat, hair curly, clothes t-shirt",
        ),
        ("dicebear-wide", (100, 30, 200, 400, 600), "mouth serious, eyes open, eyebrows angry, clothes t-shirt"),
        (
            "avataaars-disc",
            (32, 30, 200, 264, 330),
            "mouth smile, eyes wide, eyebrows flat, hair long, clothes overalls",
        ),
    ],
)
def test_portraits_by_other_programs_are_framed_and_read(name: str, square: tuple[int, ...], face: str) -> None:
    """The square is that of the drawing: left, top, side; then the widths of drawing and image.

    What the images show is in the reader's words where it has one; none has glasses or a beard.
    """
    folder, whole = bundled_folder("portraits"), SourceImage.open(PORTRAITS / f"{name}.png").image
    image = whole.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
    (box,) = PortraitFramer.from_folder(folder).boxes([image])
    assert box is not None
    *expected, drawing_width, width = square
    left, top, side = np.array(expected) * width / drawing_width
    centers = np.array(box[:2]) + box[2] / 2, np.array([left, top]) + side / 2
    assert np.abs(centers[0] - centers[1]).max() < 0.03 * side
    assert abs(np.log(box[2] / side)) < 0.06
    truth = dict(one.split() for one in face.split(", ")) | {"accessory": "none", "facial_hair": "none"}
    sizes = Capabilities(sizes=(128, 128, 128))
    views = [SourceImage.from_image(one).fit(sizes).pixels for one in (cut(image, box), whole)]
    read, read_uncropped = PortraitReader.from_folder(folder).read(torch.stack(views))
    assert read | truth == read
    assert read_uncropped | truth != read_uncropped
