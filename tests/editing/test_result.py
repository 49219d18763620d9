import math

import numpy as np
import pytest
from PIL import Image

from latentedit.core.errors import ShapeError
from latentedit.editing.result import measure_effect
from latentedit.latents import pictures

pytestmark = pytest.mark.slow


def test_effect_of_a_known_change() -> None:
    """A quarter of the pixels moves by 51 of 255 in one channel, the rest by 2 in all."""
    before = np.full((4, 4, 3), 100, dtype=np.uint8)
    after = before + 2
    after[:2, :2] = before[:2, :2]
    after[:2, :2, 0] += 51
    effect = measure_effect(Image.fromarray(before), Image.fromarray(after))
    assert effect.changed_share == 0.25
    assert effect.change_rms == pytest.approx(0.2 / math.sqrt(3))
    assert effect.rest_psnr_db == pytest.approx(20 * math.log10(255 / 2))


def test_eight_levels_are_no_change_and_nine_are() -> None:
    before = Image.new("RGB", (2, 2), (100, 100, 100))
    assert measure_effect(before, Image.new("RGB", (2, 2), (108, 92, 100))).changed_share == 0
    assert measure_effect(before, Image.new("RGB", (2, 2), (100, 91, 100))).changed_share == 1
    effect = measure_effect(before, before.copy())
    assert (effect.changed_share, effect.change_rms, effect.rest_psnr_db) == (0.0, 0.0, math.inf)
    with pytest.raises(ShapeError, match="different sizes"):
        measure_effect(before, Image.new("RGB", (2, 3)))


def test_strips_of_large_pictures_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    before, after = (Image.fromarray(draw.integers(90, 110, (23, 7, 3)).astype(np.uint8)) for _ in range(2))
    whole = measure_effect(before, after)
    monkeypatch.setattr(pictures, "_STRIP_PIXELS", 14)
    assert measure_effect(before, after) == whole
