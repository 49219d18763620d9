"""Images without structure but grain: they are aligned by what is above the grain, and strangers are refused."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from latentedit.keeping.api import keep
from latentedit.pixels.registration import register
from tests.keep.pairs import as_jpeg

SIZE = (360, 240)
Pixels = np.ndarray


def sky(turned: bool = False) -> Pixels:
    """A gradient of 45 levels, ``[height, width, 3]``, as floats."""
    y, x = np.mgrid[0 : 1 : SIZE[1] * 1j, 0 : 1 : SIZE[0] * 1j]
    image = np.stack([110 + 60 * y + 15 * x, 150 + 50 * y, 210 + 20 * y], axis=-1)
    return image[::-1, ::-1] if turned else image


def bokeh(seed: int = 1, sigma: float = 18) -> Pixels:
    """Lights far out of focus."""
    spots = np.random.default_rng(seed).normal(size=(*SIZE[::-1], 3)).astype(np.float32)
    soft = cv2.GaussianBlur(spots, (0, 0), sigma)
    return 128 + 28 * soft / soft.std()


def wall(*color: float) -> Pixels:
    return np.zeros((*SIZE[::-1], 3)) + color


def grain(sigma: float, seed: int, size_px: float = 0.0) -> Pixels:
    """Grain of a sensor, or of film if it has a size."""
    noise = np.random.default_rng(seed).normal(size=(*SIZE[::-1], 3)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), size_px) if size_px else noise
    return sigma * noise / noise.std()


def with_bird(image: Pixels) -> Pixels:
    found = image.copy()
    found[110:124, 150:180] = 35
    return found


def taken(image: Pixels) -> Pixels:
    return np.rint(image).clip(0, 255).astype(np.uint8)


def smoothed_by_the_editor(image: Pixels) -> Pixels:
    return as_jpeg(cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5), 90)


def regrained_in_part(image: Pixels) -> Pixels:
    """Unequal grain: smoothed in the left half, with film grain of its own."""
    edited = image.copy()
    edited[:, :180] = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 3)[:, :180] + grain(5, 9, 1.2)[:, :180]
    return as_jpeg(edited, 90)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ground", "sigma", "editor"),
    [(sky, 2.0, smoothed_by_the_editor), (sky, 5.0, regrained_in_part), (bokeh, 3.0, as_jpeg)],
)
def test_a_bird_is_removed_or_added_on_grain_alone(
    ground: Callable[[], Pixels], sigma: float, editor: Callable[[Pixels], Pixels]
) -> None:
    plain = ground() + grain(sigma, 0)
    for before, after in ((with_bird(ground()) + grain(sigma, 0), plain), (plain, with_bird(plain))):
        original = taken(before)
        found = keep(original, editor(after))
        assert found.found == "local change"
        assert np.abs(found.kept.pixels[117, 165].astype(float) - after[117, 165]).max() < 30
        assert 0.3 < found.changed_share / (14 * 30 / plain[..., 0].size) < 4  # seams avoid the rim of a bird
    assert keep(taken(plain), editor(plain)).found == "nothing"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (sky(), sky(turned=True)),
        (bokeh(1), bokeh(2)),
        (wall(200, 190, 180), wall(90, 60, 40)),
    ],
    ids=["another sky", "other lights", "another wall"],
)
def test_strangers_without_structure_are_refused(first: Pixels, second: Pixels) -> None:
    found = keep(taken(first + grain(4, 0)), as_jpeg(second + grain(4, 1)))
    assert found.found == "different images"
    assert found.changed_share == 0


@pytest.mark.slow
def test_film_grain_that_is_replaced_is_no_change() -> None:
    """Coarse grain is as strong in a window as fine texture, and nothing of it agrees."""
    found = keep(taken(bokeh() + grain(7, 0, 1.5)), as_jpeg(bokeh() + grain(6, 1, 1.5), 90))
    assert found.found == "nothing"


def moved_by_the_editor(image: Pixels, right: float, down: float) -> Pixels:
    frame = np.array([[1.0, 0, right], [0, 1, down]])
    return cv2.warpAffine(image.astype(np.float32), frame, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


@pytest.mark.slow
def test_an_editor_that_moves_a_plain_image_and_its_few_things_changes_nothing() -> None:
    scene = with_bird(sky())
    scene[150:200, 60:110] = 60
    edited = moved_by_the_editor(scene, 7, -4) + grain(4, 1)
    found = keep(taken(scene + grain(4, 0)), as_jpeg(edited, 90))
    assert found.found == "nothing"
    assert np.abs(np.subtract(found.shift_px, (7, -4))).max() < 1.5


@pytest.mark.slow
def test_grain_that_is_replaced_in_a_part_is_no_certain_change() -> None:
    """Its variance differs there, and no mean; a true change elsewhere is kept without it."""
    scene, own = textured_below(sky()), grain(7, 0, 1.2)
    original, edited = scene + own, scene + own
    part = np.zeros(SIZE[::-1], np.float32)
    part[:110, 180:] = 1
    edited += cv2.GaussianBlur(part, (0, 0), 6)[..., None] * (grain(7, 1, 1.2) - own)
    assert keep(taken(original), as_jpeg(edited, 95)).found == "faint change"
    edited[20:80, 20:90] = 20
    found = keep(taken(original), as_jpeg(edited, 95))
    assert found.found == "local change"
    assert (found.kept.pixels[:90, 210:] == taken(original)[:90, 210:]).all()
    assert np.abs(found.kept.pixels[30:70, 30:80].astype(float) - 20).max() < 8


@pytest.mark.slow
def test_a_faint_pattern_of_letters_is_a_change() -> None:
    """Lines without a mean difference, as fine as grain."""
    original = textured_below(sky()) + grain(1, 0)
    letters = Image.new("L", SIZE)
    for top in range(15, 90, 14):
        ImageDraw.Draw(letters).text((150, top), "nothing is said", 255)
    edited = original + np.asarray(letters)[..., None] / 255 * 60
    assert keep(taken(original), as_jpeg(edited, 95)).found == "local change"


def textured_below(image: Pixels) -> Pixels:
    """The image with houses, by which it is aligned."""
    found, generator = image.copy(), np.random.default_rng(5)
    for left in range(0, SIZE[0], 24):
        found[int(generator.integers(120, 190)) :, left : left + 20] = generator.uniform(20, 110, 3)
    return found


@pytest.mark.parametrize(("size", "quality"), [((12, 10), 70), ((6, 8), 80), ((4, 3), 90), ((24, 20), 65)])
def test_jpeg_of_a_tiny_image_hides_no_change(size: tuple[int, int], quality: int) -> None:
    before = cv2.resize(taken(textured_below(bokeh())), size, interpolation=cv2.INTER_AREA).astype(np.float32)
    assert keep(taken(before), as_jpeg(before, quality)).found == "nothing"
    after = before.copy()
    after[0, 0] += 80 if before[0, 0].mean() < 128 else -80
    edited = as_jpeg(after, quality)
    found = keep(taken(before), edited)
    assert found.found == "local change"
    assert (found.kept.pixels[0, 0] == edited[0, 0]).all()
    assert found.changed_share < 0.3
    assert keep(taken(before), 255 - taken(before)).found != "local change"


def test_a_frame_that_is_taken_unmeasured_is_uncertain() -> None:
    """The one thing there was bent, so that the frame of the editor's file is taken."""
    first, second = sky(), sky()
    for row in range(40, 200):
        first[row, 150:160] = 35
        left = 150 + round(6 * np.sin(row / 12))
        second[row + 5, left : left + 10] = 35
    found = register((first + grain(4, 0)).astype(np.float32), (second + grain(4, 1)).astype(np.float32))
    assert found.shift_px == (0, 0)
    assert found.uncertainty_px > 1.5


@pytest.mark.slow
def test_strangers_out_of_focus_are_refused() -> None:
    """Some of their soft tiles agree by chance if one is turned."""
    first, second = bokeh(33, 15) + grain(1, 0), bokeh(53, 15) + grain(1, 1)
    assert keep(taken(first), as_jpeg(second, 90)).found == "different images"


def test_what_has_no_tiles_agrees_by_its_coarse_colors_alone() -> None:
    plain = wall(90, 90, 90).astype(np.float32)
    assert [register(plain, one.astype(np.float32)).agreement for one in (plain + 10, bokeh(2))] == [1, 0]


def test_what_jpeg_may_hide_in_a_tiny_image_is_unsure() -> None:
    before = cv2.resize(taken(textured_below(bokeh())), (6, 6), interpolation=cv2.INTER_AREA).astype(np.float32)
    after = before.copy()
    after[2, 4] += 40
    assert keep(taken(before), as_jpeg(after, 60)).found == "faint change"


def test_an_image_of_32_px_is_compared_in_place() -> None:
    """Alignment would be off by a pixel, and take a large change for a cast."""
    before = cv2.resize(taken(textured_below(bokeh())), (32, 23), interpolation=cv2.INTER_AREA).astype(np.float32)
    after = before.copy()
    after[:14, :16] += 70
    found = keep(taken(before), as_jpeg(after, 70))
    assert found.found == "local change"
    assert 0.2 < found.changed_share < 0.5


@pytest.mark.slow
def test_a_drift_that_loses_as_much_as_it_shows_more_is_no_extension() -> None:
    scene = textured_below(bokeh()) + grain(1, 0)
    frame = np.array([[0.955, 0, 16.0], [0, 0.955, -10.0]])
    flags = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REFLECT}
    drifted = cv2.warpAffine(scene.astype(np.float32), frame, SIZE, **flags)
    found = keep(taken(scene), as_jpeg(drifted, 95))
    assert found.found == "nothing"
    assert found.analysis.beyond[0] > 0.1
