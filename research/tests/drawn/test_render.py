import numpy as np
import pytest
from PIL import ImageColor

from latentedit_drawn.render import COLORS, Framing, render, render_array
from latentedit_portraits.attributes import VALUES, draw_split

PORTRAIT = draw_split("test", 1, 0)[0].replace(hair="short", hair_color="black", background="blue", accessory="none")


@pytest.mark.parametrize("size", [64, 128, 200])
def test_the_image_has_the_requested_size_and_background(size: int) -> None:
    image = render(PORTRAIT, size)
    assert image.size == (size, size)
    assert image.getpixel((0, 0)) == ImageColor.getrgb(COLORS["background"]["blue"])


@pytest.mark.slow_except("facial_hair")
@pytest.mark.parametrize("field", [name for name in VALUES if name != "facial_hair_color"])
def test_every_attribute_is_visible(field: str) -> None:
    images = [render_array(PORTRAIT.replace(**{field: value}), 64) for value in VALUES[field] if value != "none"]
    differences = [np.abs(a.astype(int) - b).max() for i, a in enumerate(images) for b in images[:i]]
    assert min(differences) > 20


def test_glasses_change_only_the_eyes() -> None:
    change = np.abs(render_array(PORTRAIT).astype(int) - render_array(PORTRAIT.replace(accessory="glasses")))
    assert change[40:70].max() > 100
    assert change[85:].max() == 0


def test_framing_shifts_by_whole_pixels() -> None:
    moved = render_array(PORTRAIT, framing=Framing(shift_x=4 / 128))
    # anti-aliasing is the same at whole-pixel shifts up to rounding of coordinates
    assert np.abs(moved[:, 4:].astype(int) - render_array(PORTRAIT)[:, :-4]).mean() < 0.5
    assert np.abs(moved[:, 4:].astype(int) - render_array(PORTRAIT)[:, 4:]).mean() > 2  # control
