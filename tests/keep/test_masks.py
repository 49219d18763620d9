"""Conventions of masks from other tools."""

import numpy as np
import pytest
from PIL import Image

from latentedit_keep.api import keep
from latentedit_keep.base.errors import ImageError
from latentedit_keep.base.images import read_pixels
from latentedit_keep.base.warp import smoothed
from latentedit_keep.checking import check
from latentedit_keep.masks import mask_plane
from tests.keep.pairs import SIDE, scene, with_object

WHERE = np.zeros((SIDE, SIDE), dtype=np.uint8)
WHERE[48:92, 68:112] = 255
BLACK = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)


def layer(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([np.broadcast_to(colors, (*alpha.shape, 3)), alpha]).astype(np.uint8)


BLURRED, SOFT = (np.rint(smoothed(WHERE.astype(np.float32), sigma)).astype(np.uint8) for sigma in (4.0, 8.0))
STARK = (4.0 * scene().astype(np.float32) - 380).clip(0, 255).astype(np.uint8)  # with black and white in it


@pytest.mark.parametrize(
    ("mask", "named"),
    [
        (WHERE, ""),
        (BLURRED, ""),
        (SOFT, ""),
        (layer(BLACK + 255, WHERE), ""),
        (layer(BLACK + 255, BLURRED), ""),
        (layer(scene(), 255 - WHERE), "hole"),
        (layer(BLACK, 255 - WHERE), "hole"),
        (layer(BLACK + 255, 255 - WHERE), "hole"),
        (WHERE // 255, "two levels"),
        (np.where(WHERE[..., None] > 0, (255, 0, 0), BLACK).astype(np.uint8), "two levels"),
    ],
    ids=[
        "white", "blurred", "widely blurred", "white on a clear layer", "soft paint on a clear layer",
        "hole in a photograph", "hole in black", "hole in white", "classes 0 and 1", "red",
    ],
)  # fmt: skip
def test_mask_conventions_are_recognized_and_reported(mask: np.ndarray, named: str) -> None:
    plane, convention = mask_plane(read_pixels(Image.fromarray(mask)), (SIDE, SIDE))
    assert (plane[60:80, 80:100] > 0.5).all()
    assert plane[:30].max() < 0.1
    assert named in convention
    assert bool(named) == bool(convention)


@pytest.mark.parametrize(
    "image", [scene(), scene()[..., 0], STARK, np.rint(smoothed(scene().astype(np.float32), 6.0)).astype(np.uint8)]
)
def test_an_image_is_rejected_as_a_mask(image: np.ndarray) -> None:
    with pytest.raises(ImageError):
        mask_plane(read_pixels(Image.fromarray(image)), (SIDE, SIDE))


@pytest.mark.slow
def test_an_inverted_mask_is_reported() -> None:
    pair, mask = (Image.fromarray(scene()), Image.fromarray(with_object(scene()))), Image.fromarray(255 - WHERE)
    report = check(*pair, mask=mask).report
    assert report.reasons == ("no edit", "changed outside")
    assert "invert" in report.next_step
    kept = keep(*pair, mask=mask)
    np.testing.assert_array_equal(kept.kept.pixels, scene())
    assert [doubt for doubt in kept.doubts if "inverted" in doubt]
    assert not [doubt for doubt in keep(*pair, mask=Image.fromarray(WHERE)).doubts if "inverted" in doubt]
