"""An editor's own grain, other light and a filling along the borders are no change."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentedit import KeepResult, keep
from latentedit.pixels.light import find_light
from latentedit.pixels.registration import register
from tests.keep.pairs import as_jpeg, moved, scene, some, with_object

SIDE, CENTER, RADIUS = 400, (130, 250), 40
Y, X = np.mgrid[:SIDE, :SIDE] / SIDE
AROUND = np.hypot(X * SIDE - CENTER[0], Y * SIDE - CENTER[1]) > RADIUS + 24
INSIDE = np.hypot(X * SIDE - CENTER[0], Y * SIDE - CENTER[1]) < RADIUS - 6
PHOTO = scene(SIDE, seed=12)
EDIT = with_object(PHOTO, CENTER, RADIUS)


def grainy(image: NDArray[np.uint8], sigma: float, seed: int, soft: float = 0.0) -> NDArray[np.uint8]:
    """The image with grain of this many levels, of which soft one is blurred."""
    grain = np.random.default_rng(seed).normal(size=image.shape[:2]).astype(np.float32)
    if soft:
        grain = cv2.GaussianBlur(grain, (0, 0), soft)
        grain /= grain.std()
    return np.rint(image + sigma * grain[..., None]).clip(0, 255).astype(np.uint8)


def lit(image: NDArray[np.uint8], factor: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(image * factor[..., None]).clip(0, 255).astype(np.uint8)


def framed(image: NDArray[np.uint8], right: float, down: float, degrees: float, fill: str) -> NDArray[np.uint8]:
    """The image after an editor moved or straightened it and filled in what was missing."""
    shown = Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC, fillcolor=fill)
    matrix = (1, 0, -right, 0, 1, -down)
    return np.asarray(
        shown.transform(shown.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=fill)
    )


def kept(original: NDArray[np.uint8], edited: NDArray[np.uint8]) -> tuple[KeepResult, NDArray[np.int_]]:
    """The result, and by how many levels each pixel differs from the original."""
    result = keep(Image.fromarray(original), Image.fromarray(edited))
    return result, apart_from(original, result)


def apart_from(original: NDArray[np.uint8], result: KeepResult) -> NDArray[np.int_]:
    return np.abs(np.asarray(result.image.convert("RGB")).astype(int) - original).max(axis=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "soft"),
    [(24, 24, 0.0), (14, 14, 1.0), (26, 0, 0.0), (0, 22, 0.0)],
    ids=["exchanged", "soft", "removed", "added"],
)
def test_an_editors_own_grain_is_no_change(before: float, after: float, soft: float) -> None:
    original, edited = grainy(PHOTO, before, 1, soft), as_jpeg(grainy(EDIT, after, 2, soft), 92)
    result, apart = kept(original, edited)
    assert result.found == "local change"
    assert (apart[AROUND] > 0).mean() < 0.005
    assert (apart[INSIDE] > 0).mean() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(0, 20), (25, 25)], ids=["added", "exchanged"])
def test_grain_on_a_smooth_image_is_neither_detail_nor_another_structure(before: float, after: float) -> None:
    """Out of focus but for some things: what the editor's grain adds was not restored."""
    smooth = cv2.GaussianBlur(PHOTO, (0, 0), 8.0)
    for left, top in ((20, 30), (210, 60), (300, 200), (60, 330), (240, 320)):
        cv2.rectangle(smooth, (left, top), (left + 70, top + 50), (60, 120, 200), -1, cv2.LINE_AA)
    original = grainy(smooth, before, 1)
    result, apart = kept(original, as_jpeg(grainy(with_object(smooth, CENTER, RADIUS), after, 2), 92))
    assert result.found == "local change"
    assert (apart[AROUND] > 0).mean() < 0.005
    assert (apart[INSIDE] > 0).mean() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(("side", "levels"), [(200, 24), (400, 16)])
def test_clumps_of_grain_on_a_sharp_image_are_no_other_image(side: int, levels: float) -> None:
    """Next to nothing of it is averaged out within a sixtieth of 200 px, and 400 px have gained detail by it."""
    photo = scene(side, seed=12)
    edited = as_jpeg(lit(grainy(photo, levels, 3, 1.0), np.full((side, side), 0.9)), 90)
    assert kept(photo, edited)[0].found == "nothing"


LIGHTS = {
    "above": 1 - 0.35 * (1 - Y) ** 2,
    "vignette": 1 - 0.35 * ((X - 0.5) ** 2 + (Y - 0.5) ** 2) / 0.5,
    "spot": 1 - 0.35 * np.exp(-((X - 0.75) ** 2 + (Y - 0.3) ** 2) / 0.06),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHTS)
def test_other_light_is_left_out_and_named_or_taken_whole(name: str) -> None:
    edited = as_jpeg(lit(EDIT, LIGHTS[name]), 92)
    result, apart = kept(PHOTO, edited)
    assert result.found == "local change"
    assert (apart[AROUND] > 8).mean() < 0.01
    assert (apart[INSIDE] > 20).mean() > 0.95
    number = result.changes[-1].number
    assert result.changes[-1].faint
    assert any("the light changed" in one and f"change {number}" in one for one in result.doubts)
    taken = np.asarray(result.composed(only=[number]).image.convert("RGB")).astype(float)
    far = AROUND & (np.abs(LIGHTS[name] - 1) > 0.15)
    left, still = (np.abs(one - LIGHTS[name][..., None] * PHOTO)[far].mean() for one in (taken, PHOTO.astype(float)))
    assert left < 0.4 * still


@pytest.mark.slow
def test_darkened_corners_darken_no_middle() -> None:
    """Half of the image is darker, by up to half; the middle stayed, so that next to no cast is left, where 20 were."""
    corners = 1 - 0.25 * ((2 * X - 1) ** 2 + (2 * Y - 1) ** 2)
    result, _ = kept(PHOTO, as_jpeg(lit(EDIT, corners), 92))
    change = some(result.analysis.change)
    assert change.light is not None
    assert change.tones.cast < 6


@pytest.mark.slow
def test_strongly_darkened_corners_leave_no_change() -> None:
    result, _ = kept(PHOTO, as_jpeg(lit(PHOTO, 1 - 0.45 * ((2 * X - 1) ** 2 + (2 * Y - 1) ** 2)), 92))
    assert result.verdict == "only the light changed"


@pytest.mark.slow
def test_a_large_change_in_other_light_is_found_alone() -> None:
    """A fifth of a meadow became a wall, where the light falls off."""
    noise = np.random.default_rng(1).normal(size=(SIDE, SIDE)).astype(np.float32)
    grass = sum((cv2.GaussianBlur(noise, (0, 0), size) * size for size in (1, 2, 4)), np.zeros_like(noise))
    meadow = np.repeat((110 + 35 * grass / grass.std()).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    apart, wall = np.hypot(X - 0.75, Y - 0.7), 90 + 10 * np.sign(np.sin(60 * X))
    edit = np.where((apart < 0.25)[..., None], wall[..., None], meadow).astype(np.uint8)
    result, differs = kept(meadow, as_jpeg(lit(edit, 1 - 0.25 * X**2), 92))
    assert result.found == "local change"
    assert (differs[apart > 0.28] > 0).mean() < 0.005
    assert (differs[apart < 0.24] > 0).mean() > 0.95


@pytest.mark.slow
def test_weak_light_is_named_next_to_a_large_change() -> None:
    """Light explains few of the cells that differ, and nearly all by which the others do."""
    photo, apart = scene(SIDE, seed=5), np.hypot(X - 0.375, Y - 0.625)
    weak = 1 - 0.12 * np.exp(-((X - 0.75) ** 2 + (Y - 0.3) ** 2) / 0.06)
    edit = as_jpeg(lit(with_object(photo, (150, 250), 120), weak), 60)
    result, differs = kept(photo, edit)
    assert any("the light changed" in one for one in result.doubts)
    assert (differs[apart > 0.36] > 0).mean() < 0.005
    assert (differs[apart < 0.28] > 0).mean() > 0.95


@pytest.mark.slow
def test_a_channel_that_other_light_cuts_off_is_no_change() -> None:
    plain = np.where((Y < 0.6)[..., None], np.array((178, 230, 160)), PHOTO).astype(np.uint8)
    result, _ = kept(plain, as_jpeg(lit(plain, 1 + 0.25 * X**2), 92))
    assert result.verdict == "only the light changed"


@pytest.mark.slow
def test_a_thing_in_other_light_has_the_originals_light() -> None:
    """The disc is as dark in the edit as all around it, and as light in the result as the original."""
    factor = 1 - 0.4 * np.exp(-((X - CENTER[0] / SIDE) ** 2 + (Y - CENTER[1] / SIDE) ** 2) / 0.15)
    result, _ = kept(PHOTO, as_jpeg(lit(EDIT, factor), 92))
    colors = np.asarray(result.image.convert("RGB"))[INSIDE].astype(float)
    given = lit(EDIT, factor)[INSIDE].astype(float)
    wanted = EDIT[INSIDE].astype(float)
    assert np.abs(colors - wanted).mean() < 0.4 * np.abs(given - wanted).mean()


@pytest.mark.slow
def test_light_alone_was_the_request() -> None:
    edited = as_jpeg(lit(PHOTO, LIGHTS["above"]), 92)
    result, apart = kept(PHOTO, edited)
    assert result.recolored
    assert result.verdict == "only the light changed"
    assert (apart == np.abs(edited.astype(int) - PHOTO).max(axis=2)).all()


@pytest.mark.slow
def test_a_shadow_under_a_thing_stays_with_it() -> None:
    levels = 12
    shadow = levels * np.exp(-(((X - CENTER[0] / SIDE) / 0.14) ** 2 + ((Y - 0.75) / 0.09) ** 2))
    edited = np.rint(EDIT - shadow[..., None]).clip(0, 255).astype(np.uint8)
    result, apart = kept(PHOTO, as_jpeg(edited, 92))
    assert (apart[(shadow > levels / 2) & AROUND] > 0).mean() > 0.9
    assert not any("light" in one for one in result.doubts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "down", "degrees", "fill"),
    [
        (-0.5, -0.5, 0, "black"),
        (-2.3, 1.6, 0, "white"),
        (0, 0, 0.8, "magenta"),
    ],
)
def test_no_line_of_a_filling_stays_along_the_borders(right: float, down: float, degrees: float, fill: str) -> None:
    result, apart = kept(PHOTO, as_jpeg(framed(EDIT, right, down, degrees, fill), 90))
    assert result.found == "local change"
    assert (apart[AROUND] > 24).sum() < 20
    assert (apart[INSIDE] > 20).mean() > 0.9


@pytest.mark.slow
def test_a_little_light_alone_is_left_out_and_named() -> None:
    edited = as_jpeg(lit(PHOTO, 1 - 0.24 * (1 - Y) ** 2), 92)
    result, apart = kept(PHOTO, edited)
    assert not result.recolored
    assert not apart.any()
    assert any("only the light changed" in one for one in result.doubts)
    assert apart_from(PHOTO, result.composed(only=[result.changes[0].number])).any()


@pytest.mark.slow
def test_what_has_an_outline_is_no_light() -> None:
    """A half of the image that became darker, with an edge of 10 px."""
    half = 30 * np.clip((0.5 - X) * SIDE / 10 + 0.5, 0, 1)
    result, apart = kept(PHOTO, as_jpeg(np.rint(PHOTO - half[..., None]).clip(0, 255).astype(np.uint8), 92))
    assert result.found == "local change"
    assert not any("light" in one for one in result.doubts)
    assert (apart > 0).mean() > 0.4


def test_images_are_aligned_by_what_is_above_strong_grain() -> None:
    """Grain is the only texture of a blurred image, and hides where it is; averages of both still show that."""
    right, down = 7.0, -4.0
    smooth = cv2.GaussianBlur(scene(240, seed=22), (0, 0), 6)
    shifted = moved(smooth, np.array([[1, 0, right], [0, 1, down]]), (240, 240))
    frame = register(smooth.astype(np.float32), grainy(shifted, 16, 5).astype(np.float32))
    assert frame.agreement > 0.5
    assert frame.shift_px == pytest.approx((right, down), abs=0.5)


def test_light_is_found_on_one_material_in_other_colors() -> None:
    """A line through so few levels can take the light for other colors, so that both are tried first."""
    grain = cv2.GaussianBlur(np.random.default_rng(3).normal(size=(300, 300)).astype(np.float32), (0, 0), 3)
    wall = np.repeat((110 + 5 * grain / grain.std())[..., None], 3, axis=2)
    factor = 1 + 0.3 * np.linspace(0, 1, 300)[None, :, None] ** 2
    edited = (wall * factor * np.array([0.97, 1.0, 0.9]) + np.array([6.0, -8.0, 9.0])).astype(np.float32)
    light = some(find_light(wall.astype(np.float32), edited, np.ones((300, 300), dtype=bool)))
    fall = light.field.mean(axis=0)
    assert fall[-2] - fall[1] == pytest.approx(np.log(1.3), abs=0.03)


def test_a_dark_ground_that_became_white_is_no_light() -> None:
    generator = np.random.default_rng(1)

    def cloth(level: float, depth: float) -> NDArray[np.float32]:
        noise = generator.normal(size=(2, SIDE, SIDE)).astype(np.float32)
        folds, weave = (
            cv2.GaussianBlur(plane, (0, 0), soft) for plane, soft in zip(noise, (SIDE / 12, 1), strict=True)
        )
        return np.clip(level + depth * (folds / folds.std() + 0.25 * weave / weave.std()), 0, 255)[..., None]

    figure = np.hypot(X - 0.4, Y - 0.5) < 0.25
    shadow = cv2.GaussianBlur(np.roll(figure.astype(np.float32), 16, axis=0), (0, 0), 20)[..., None]
    white = cloth(246, 2) * (1 - 0.35 * shadow)
    thing = scene(SIDE, seed=6)
    original, edited = (
        np.where(figure[..., None], thing, ground).astype(np.float32) for ground in (cloth(8, 3), white)
    )
    assert find_light(original, edited, np.ones((SIDE, SIDE), dtype=bool)) is None
