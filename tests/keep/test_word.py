"""The user's word: inside a mask or a box all that is seen is taken, whatever the noise elsewhere, outside nothing."""

import dataclasses
import functools
import json
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentedit import KeepResult, check, keep
from latentedit.core.errors import ConfigError, FileFormatError, LatentEditError
from latentedit.keeping.api import FORMAT, KeepRecord, keep_again
from latentedit.pixels.verdict import is_recolored
from tests.keep.pairs import as_jpeg, scene, some
from tests.keep.test_api import edited

WIDE = 320
STRONG, FAINT, SMALL = (265, 70), (265, 230), (225, 150)  # centers of three discs beside the foliage
BOX = (230, 195, 70, 70)  # around the faint disc


def smooth(plane: NDArray[Any], sigma: float) -> NDArray[np.float32]:
    return cv2.GaussianBlur(plane.astype(np.float32), (0, 0), sigma)


def noise(seed: int, sigma: float) -> NDArray[np.float32]:
    plane = smooth(np.random.default_rng(seed).normal(0, 1, (WIDE, WIDE, 3)), sigma)
    return plane / plane.std()


def disc(center: tuple[int, int], radius: int) -> NDArray[np.float32]:
    return cv2.circle(np.zeros((WIDE, WIDE), dtype=np.float32), center, radius, 1.0, -1, cv2.LINE_AA)


@functools.cache
def repainted(
    strong: float, faint: float, small: float = 0.0, coarse: float = 12, same: float = 0.9
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Foliage at the left, painted anew by the editor; plain ground with discs of so many levels at the right."""
    at = np.arange(WIDE, dtype=np.float32)
    ground = 120 + (30 * np.sin(at / 37))[None, :, None] + (25 * np.cos(at / 51))[:, None, None]
    part = smooth(np.broadcast_to(at < 2 * WIDE / 3, (WIDE, WIDE)), 2)[..., None]
    leaves = [35 * noise(seed, 1.2) + coarse * noise(seed + 9, 8) for seed in (1, 2)]
    new = sum(
        levels * disc(center, radius)[..., None] * np.float32([1, -0.4, -0.6])
        for levels, center, radius in ((strong, STRONG, 20), (faint, FAINT, 20), (small, SMALL, 5))
    )
    before = ground + part * leaves[0]
    after = ground + part * (same * leaves[0] + (1 - same**2) ** 0.5 * leaves[1]) + 3 * noise(7, 0.8) + new
    first, second = (np.rint(one).clip(0, 255).astype(np.uint8) for one in (before, after))
    return first, as_jpeg(second, 92)


@functools.cache
def found(strong: float, faint: float, small: float = 0.0) -> KeepResult:
    return keep(*repainted(strong, faint, small))


def white(*boxes: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    mask = np.zeros((WIDE, WIDE), dtype=np.uint8)
    for x, y, width, height in boxes:
        mask[y : y + height, x : x + width] = 255
    return mask


@pytest.mark.slow
@pytest.mark.parametrize(
    ("levels", "center", "radius", "unmasked"),
    [
        ((40, 14), FAINT, 20, "local change"),
        ((0, 14), FAINT, 20, "faint change"),
        ((0, 0, 16), SMALL, 5, "nothing"),
    ],
)
def test_inside_a_mask_all_that_is_seen_is_taken_and_outside_nothing(
    levels: tuple[float, ...], center: tuple[int, int], radius: int, unmasked: str
) -> None:
    whole, (original, edited) = found(*levels), repainted(*levels)
    assert whole.found == unmasked
    x, y = center
    mask = white((x - radius - 12, y - radius - 12, 2 * radius + 24, 2 * radius + 24))
    kept = whole.composed(mask=mask)
    opacity, core = np.asarray(kept.mask), disc(center, radius - 2) > 0
    assert (opacity[core] > 250).mean() > 0.98
    moved = kept.kept.pixels.astype(int) - original
    wanted = smooth(edited.astype(int) - original, 2)[y, x]
    assert smooth(moved, 2)[y, x] == pytest.approx(wanted, abs=2.5), "the change is not weakened by what is around it"
    np.testing.assert_array_equal(kept.kept.pixels[mask == 0], original[mask == 0])
    assert not [doubt for doubt in kept.doubts if "inverted" in doubt]
    assert (kept.found, kept.record.found) == (kept.measures["found"],) * 2
    assert kept.found in ("local change", "faint change")
    again = keep_again(KeepRecord.from_json(kept.record.to_json(), ""), original, edited, mask=mask)
    assert (again.record, again.changed_share) == (kept.record, kept.changed_share)
    report = check(kept=whole, mask=mask).report
    assert report.found == kept.found
    assert "no edit" not in report.reasons
    assert some(report.inside).value == pytest.approx(kept.changed_share, abs=0.004)


@pytest.mark.slow
@pytest.mark.parametrize("gap", [2, 4, 12])
def test_a_thing_that_ends_near_the_edge_of_a_box_is_whole(gap: int) -> None:
    """The fade of an edge, 7 pixels wide here, would leave a ghost of it."""
    radius, (x, y), side = 20, STRONG, 2 * (20 + gap) + 1
    kept = found(60, 0).composed(box=(x - radius - gap, y - radius - gap, side, side))
    assert np.asarray(kept.mask)[disc(STRONG, radius - 1) > 0].min() > 240


@pytest.mark.slow
def test_a_saved_mask_and_one_that_fits_exactly_keep_the_whole_change() -> None:
    whole, exact = found(60, 0), disc(STRONG, 20) > 0.5
    saved = np.asarray(whole.composed(box=(220, 25, 90, 90)).mask)
    for mask in (saved, exact.astype(np.uint8) * 255):
        kept = np.asarray(whole.composed(mask=mask).mask)
        assert kept[disc(STRONG, 17) > 0].min() > 240
        assert kept[exact].mean() > 240


@pytest.mark.slow
def test_a_change_that_crosses_the_edge_of_a_box_fades_there() -> None:
    x, y = STRONG
    kept = found(60, 0).composed(box=(x, y - 30, 40, 60))
    row = np.asarray(kept.mask)[y, x : x + 8].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[0] < 120
    assert row[-1] > 250


@pytest.mark.slow
def test_boxes_are_the_mask_that_is_white_in_them() -> None:
    boxes, whole, pair = (BOX, (235, 40, 50, 60)), found(40, 14), repainted(40, 14)
    kept, masked = whole.composed(box=boxes), whole.composed(mask=white(*boxes))
    np.testing.assert_array_equal(kept.kept.pixels, masked.kept.pixels)
    assert kept.mask.tobytes() == masked.mask.tobytes()
    assert (kept.doubts, kept.measures | {"declares": 0}) == (masked.doubts, masked.measures | {"declares": 0})
    assert (kept.record.mask, kept.record.box) == (None, boxes)
    again = keep_again(KeepRecord.from_json(kept.record.to_json(), ""), *pair)
    np.testing.assert_array_equal(again.kept.pixels, kept.kept.pixels)
    reports = [check(kept=whole, **limits).report.values for limits in ({"box": boxes}, {"mask": white(*boxes)})]
    assert {name for name in reports[0] if reports[0][name] != reports[1][name]} <= {"mask", "next_step"}
    report = check(kept=whole, box=boxes, max_outside=0)
    assert report.mask == dataclasses.replace(
        some(report.mask), name=" ".join(f"--box {','.join(map(str, one))}" for one in boxes)
    )


@pytest.mark.slow_cases("box0")
@pytest.mark.parametrize(
    "box",
    [
        (1, 2, 3),
        (0, 0, 0, 5),
        "10,20,30",
        [(1, 2, 3, 4), 5],
        (400, 0, 9, 9),
        (),
        "a,b,c,d",
        (230, 195, 200, 300),
        (-1, 0, 9, 9),
    ],
)
def test_what_is_no_box_in_the_image_is_refused(box: Any) -> None:
    with pytest.raises(ConfigError, match="box"):
        found(40, 14).composed(box=box)
    with pytest.raises(LatentEditError, match="Pass one of the two"):
        found(40, 14).composed(box=BOX, mask=white(BOX))


def test_a_record_without_boxes_is_read_again() -> None:
    record = found(40, 14).record
    assert KeepRecord.from_json(record.to_json(), "") == record


def test_faint_changes_have_the_last_numbers_and_are_taken_by_them() -> None:
    whole, (original, _) = found(40, 14), repainted(40, 14)
    assert [(one.number, one.faint) for one in whole.changes] == [(1, False), (2, True)]
    assert (whole.changes_left_out, some(whole.detected).count) == ((2,), 1)
    assert [doubt for doubt in whole.doubts if doubt.startswith("change 2 is faint")]
    strong, faint = (disc(center, 18) > 0 for center in (STRONG, FAINT))
    for only, taken in ((None, (1, 0)), ([2], (0, 1)), ([1, 2], (1, 1)), ([1], (1, 0))):
        kept = whole.composed(only=only)
        differs = (kept.kept.pixels != original).any(axis=-1)
        assert (differs[strong].mean() > 0.9, differs[faint].mean() > 0.8) == taken
        assert (differs[strong].any(), differs[faint].any()) == taken
    np.testing.assert_allclose(whole.changes[1].box, (245, 210, 286, 251), atol=4)


@pytest.mark.slow
def test_a_thing_with_an_outline_of_its_own_counts_among_repaints() -> None:
    """It is weaker than the leaves, and, unlike them, ends with an edge where there was none."""
    original, edited = repainted(30, 0, coarse=30, same=0.95)
    assert keep(original, edited).found == "local change"
    soft = original + 60 * smooth(disc(STRONG, 24), 9)[..., None] * np.float32([1, -0.4, -0.6])
    soft = np.where(np.indices((WIDE, WIDE))[1][..., None] < 220, edited, soft.clip(0, 255))
    assert keep(original, as_jpeg(soft, 92)).found != "local change", "light that fades has no outline"


def test_the_halo_of_a_change_is_not_taken_with_it() -> None:
    whole = keep(Image.fromarray(scene()), edited().resize((200, 200)))
    assert 1 <= whole.composed(box=(58, 38, 64, 64)).changed_share / whole.changed_share < 1.1


@pytest.mark.slow
@pytest.mark.parametrize(("part", "global_"), [(1.0, True), (0.35, False)])
def test_color_on_gray_is_a_change_of_all_colors(part: float, global_: bool) -> None:
    colored = scene(WIDE)
    gray = np.asarray(Image.fromarray(colored).convert("L").convert("RGB"))
    edited, rows = gray.copy(), round(part * WIDE)
    edited[:rows] = (0.7 * gray[:rows] + 0.3 * colored[:rows]).astype(np.uint8)
    result = keep(gray, as_jpeg(edited, 92))
    assert result.recolored == global_
    assert (result.changed_share > 0.9) == global_
    change = some(result.detected)
    assert is_recolored(change) == global_


@pytest.mark.slow
def test_a_large_colored_part_of_a_gray_image_is_a_local_change_under_a_tint() -> None:
    gray = np.asarray(Image.fromarray(scene(WIDE)).convert("L").convert("RGB"))
    edited = gray * np.float32([1.01, 0.98, 1.02])
    edited[: round(0.45 * WIDE)] *= np.float32([1.1, 1.1, 0.4])
    result = keep(gray, as_jpeg(edited.clip(0, 255).astype(np.uint8), 92))
    assert (result.found, result.recolored) == ("local change", False)
    assert (np.asarray(result.image)[round(0.6 * WIDE) :] == gray[round(0.6 * WIDE) :]).all()


@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1])
def test_a_record_of_another_format_is_refused(number: int) -> None:
    fields = json.loads(found(40, 14).record.to_json()) | {"format": number}
    with pytest.raises(FileFormatError, match=f"k.png was written by another version .* the format {number},"):
        KeepRecord.from_json(json.dumps(fields), "k.png")


@pytest.mark.slow
def test_a_colored_object_in_most_of_a_gray_image_is_a_local_change() -> None:
    gray = np.asarray(Image.fromarray(scene(WIDE)).convert("L").convert("RGB"))
    edited = gray.copy()
    edited[: round(0.6 * WIDE)] = (128 + 40 * noise(5, 6)).clip(0, 255)[: round(0.6 * WIDE)]
    assert keep(gray, as_jpeg(edited, 92)).found == "local change"
