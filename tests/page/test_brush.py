"""The restore brush without a page: what strokes cover, what is kept, and the record of it."""

import io
import json
import threading
import zipfile

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit.keeping.api import INVERTED, KeepRecord, KeepResult, keep, keep_again
from latentedit.page import brush
from latentedit.page.downloads import kept_files
from latentedit.page.fragments import brush as shown
from latentedit.page.visit import Visit
from latentedit.photo.images import read_pixels
from tests.keep.pairs import scene, with_object
from tests.keep.test_word import repainted

ONE, TWO = (40, 70), (130, 70)  # centers of the two changes


def pair() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return scene(), with_object(with_object(scene(), ONE), TWO, 14)


@pytest.fixture(scope="module")
def result() -> KeepResult:
    return keep(*pair())


@pytest.fixture
def visit(result: KeepResult) -> Visit:
    visit = Visit(threading.Lock())
    visit.kept = result
    return visit


def painted(result: KeepResult, *strokes: list[float], mask: NDArray[np.uint8] | None = None) -> NDArray[np.bool_]:
    """Where nothing may be kept."""
    limits = brush.limits(result, None if mask is None else read_pixels(mask), json.dumps(strokes))
    assert limits is not None
    return limits.pixels[..., 0] == 0


def saved(visit: Visit, strength: float = 1.0) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(visit.kept_files(strength)[0].content)))


@pytest.mark.parametrize(
    ("start", "end", "radius"), [((50.5, 40.5), (50.5, 40.5), 9.0), ((20.5, 30), (120, 95.2), 6.0)]
)
def test_a_stroke_covers_all_pixels_within_its_radius(
    result: KeepResult, start: tuple[float, float], end: tuple[float, float], radius: float
) -> None:
    """0, 0 is the corner of the image, and the center of its first pixel is 0.5, 0.5."""
    rows, columns = np.indices((160, 160)) + 0.5
    along, from_start = np.subtract(end, start), np.stack([columns - start[0], rows - start[1]])
    share = np.tensordot(along, from_start, 1) / max(along @ along, 1)
    distance = np.hypot(*(from_start - along[:, None, None] * share.clip(0, 1)))
    covered = painted(result, [radius, *start, *end])
    assert covered[distance < radius - 1].all()
    assert not covered[distance > radius + 1].any()
    middle = [float(one[covered].mean()) for one in (columns, rows)]
    assert middle == pytest.approx(np.add(start, end) / 2, abs=0.2)
    assert covered.sum() == pytest.approx((distance <= radius).sum(), rel=0.1)


def test_a_stroke_is_taken_out_of_an_uploaded_mask(result: KeepResult) -> None:
    red = np.full((160, 160, 3), 255, np.uint8)
    red[:, 100:] = (255, 0, 0)
    covered = painted(result, [10, 130, 70], mask=red)
    assert covered[:, :100].all()
    assert np.array_equal(covered[:, 100:], painted(result, [10, 130, 70])[:, 100:])


def test_what_is_painted_is_the_original_bit_for_bit(visit: Visit) -> None:
    original, edited = pair()
    stroke = json.dumps([[5, 40, 60, 40, 80]])
    visit.limit(mask=None, only=[1, 2], strokes=stroke)
    pixels = saved(visit)
    covered = painted(visit._kept(), *json.loads(stroke))
    assert np.array_equal(pixels[covered], original[covered])
    assert np.array_equal(pixels[:, 90:], edited[:, 90:]), "the other change is as it was"
    assert (pixels != original)[:, :90].any(), "beside the stroke the change remains"
    half = np.abs(saved(visit, 0.5).astype(int) - original)
    assert half.max() == pytest.approx(np.abs(pixels.astype(int) - original).max() / 2, abs=1)
    visit.limit(mask=None, only=[1], strokes=stroke)
    assert np.array_equal(saved(visit)[:, :90], pixels[:, :90])
    assert np.array_equal(saved(visit)[:, 90:], original[:, 90:])
    assert np.array_equal(visit.unpainted().image, keep(original, edited, only=[1]).image)
    visit.limit(mask=None, only=[1, 2], strokes="")
    assert np.array_equal(saved(visit), edited)


def test_of_an_image_that_is_kept_whole_a_change_is_chosen_alone() -> None:
    """Even where it is the only one; none chosen is the whole image."""
    gray = np.asarray(Image.fromarray(scene()).convert("L").convert("RGB"))
    whole = keep(scene(), with_object(gray))
    visit = Visit(threading.Lock())
    visit.kept = whole
    assert (whole.recolored, len(whole.changes)) == (True, 1)
    visit.limit(mask=None, only=[1], strokes="")
    assert np.array_equal(saved(visit)[:, :40], scene()[:, :40])
    visit.limit(mask=None, only=[], strokes="")
    assert np.array_equal(saved(visit), whole.image)


@pytest.mark.slow
def test_a_stroke_takes_nothing_more() -> None:
    """A mask that is white but for the strokes would, as an uploaded one, take all that is seen."""
    visit, (original, edited) = Visit(threading.Lock()), repainted(40, 14)
    visit.kept = keep(original, edited)
    before = saved(visit)
    visit.limit(mask=None, only=[1], strokes="[[5, 20, 20]]")
    np.testing.assert_array_equal(saved(visit), before)
    assert visit.unpainted().changed_share == visit._kept().changed_share
    visit.limit(mask=None, only=[1, 2], strokes="")
    assert (saved(visit) != before).any(), "the faint change can be switched on"


def test_the_record_and_the_mask_with_it_repeat_the_file(visit: Visit) -> None:
    right = np.zeros((160, 160), np.uint8)
    right[:, 80:] = 255
    visit.limit(mask=read_pixels(right), only=[1, 2], strokes="[[8, 130, 62, 140, 62]]")
    file, mask = visit.kept_files(0.7)
    image = Image.open(io.BytesIO(file.content))
    record = KeepRecord.from_json(image.text["latentedit"], file.name)
    assert record.mask is not None
    assert (record.mask.name, record.strength, record.only) == (mask.name, 0.7, None)
    again = keep_again(record, *pair(), mask=Image.open(io.BytesIO(mask.content)))
    assert np.array_equal(again.image, image)
    visit.limit(mask=None, only=[1, 2], strokes="")
    assert len(visit.kept_files(1.0)) == 1


def test_layers_compose_to_the_result_that_is_shown(visit: Visit) -> None:
    visit.limit(mask=None, only=[1, 2], strokes="[[20, 130, 70]]")
    file, _ = visit.kept_files(1.0)
    (layers,) = visit.kept_files(1.0, layers=".ora")
    with zipfile.ZipFile(io.BytesIO(layers.content)) as packed:
        below, above = (Image.open(packed.open(f"data/{name}.png")).convert("RGBA") for name in ("original", "change"))
    composed = np.asarray(Image.alpha_composite(below, above).convert("RGB"), dtype=int)
    assert np.abs(composed - np.asarray(Image.open(io.BytesIO(file.content)))).max() <= 1


@pytest.mark.slow
def test_a_note_says_what_the_file_has_no_place_for() -> None:
    file = io.BytesIO()
    original, edited = pair()
    Image.fromarray(np.asarray(original)).save(file, "JPEG", quality=100)
    result = keep(file.getvalue() + b"\0\0\0\x10ftypmp42" + bytes(4) + b"\0\0\0\x08mdat", edited)
    assert "motion clip" in kept_files(result, None)[0].note


def test_everything_may_be_painted(visit: Visit) -> None:
    rows = [[16, 0, y, 160, y] for y in range(0, 170, 20)]
    visit.limit(mask=None, only=[2], strokes=json.dumps(rows))
    (file,) = visit.kept_files(0.5)
    assert np.array_equal(Image.open(io.BytesIO(file.content)), scene())
    assert visit._kept().record.only == (2,)
    visit.limit(mask=None, only=[1, 2], strokes="[[15, 40, 70], [15, 40, 60], [15, 40, 80], [16, 130, 70]]")
    assert INVERTED not in visit._kept().doubts, "who paints over both changes means it"
    visit.limit(mask=None, only=[1, 2], strokes="")
    assert np.array_equal(saved(visit), pair()[1])


@pytest.mark.parametrize(
    "strokes",
    ["{", "1", "[1]", "[[1, 2]]", "[[1, 2, 3, 4]]", "[[1, NaN, 2]]", '[["a", 1, 2]]', "[" * 5000, "[[[1], 1, 1]]"],
)
def test_damaged_strokes_are_refused(visit: Visit, strokes: str) -> None:
    before = visit.kept
    with pytest.raises(ConfigError, match="cannot be read"):
        visit.limit(mask=None, only=[1, 2], strokes=strokes)
    assert visit.kept is before


@pytest.mark.parametrize(
    "strokes", [json.dumps([[1, *[0] * brush.MAX_NUMBERS]]), "[[1, 2, 3" + " " * 10 * brush.MAX_NUMBERS + "]]"]
)
def test_strokes_have_a_limit(visit: Visit, strokes: str) -> None:
    with pytest.raises(ConfigError, match="too many"):
        visit.limit(mask=None, only=[1, 2], strokes=strokes)


def test_strokes_far_outside_and_very_wide_ones_are_cut(result: KeepResult) -> None:
    assert not painted(result, [3, 1e300, -1e300]).any()
    assert painted(result, [1e300, 80, 80]).sum() == pytest.approx(np.pi * 16**2, rel=0.05)


def test_several_changes_are_numbered_where_they_are(result: KeepResult) -> None:
    marks = shown(result, [2]).split('<span class="le-mark ')[1:]
    assert ["le-off" in mark for mark in marks] == [True, False]
    for mark, (x, y) in zip(marks, (ONE, TWO), strict=True):
        places = dict(part.split(": ") for part in mark.split('style="')[1].split('"')[0].split("; "))
        left, top, width, height = (float(places[name][:-1]) * 1.6 for name in ("left", "top", "width", "height"))
        assert (left + width / 2, top + height / 2) == pytest.approx((x, y), abs=3)
    single = keep(scene(), with_object(scene()))
    assert "le-mark" not in shown(single, [1])
    assert "latentedit-brush" in shown(single, [1])
    assert "latentedit-brush" not in shown(keep(scene(), scene()), [])
