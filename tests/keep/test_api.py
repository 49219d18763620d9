"""The guarantees of ``keep`` to its callers."""

import dataclasses
import functools
import io
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw

from latentedit.core.errors import ConfigError, ImageError, OutputError
from latentedit.keeping.api import KeepRecord, KeepResult, keep, keep_again, wrap_pipeline
from latentedit.keeping.checking import check
from latentedit.photo.carried import Carried
from latentedit.photo.color import Colors
from latentedit.photo.images import PixelImage, read_pixels
from latentedit.photo.saving import read_chunks, save_image
from latentedit.photo.warp import smoothed, translation
from latentedit.pixels.differing import agreement_db
from tests.keep.pairs import SIDE, as_jpeg, cast, moved, scene, similarity, some, with_object

Y, X = np.mgrid[:SIDE, :SIDE]
FAR = np.hypot(X - 90, Y - 70) > 18 + 12


def edited(image: np.ndarray | None = None) -> Image.Image:
    """Shifted, tinted, and with a disc."""
    image = with_object(scene()) if image is None else image
    return Image.fromarray(cast(moved(image, similarity((2.4, -1.3), 1.01), (SIDE, SIDE))))


@pytest.fixture(scope="module")
def result() -> KeepResult:
    return keep(Image.fromarray(scene()), edited())


@pytest.mark.slow
def test_only_the_change_is_kept(result: KeepResult) -> None:
    pixels, truth = np.asarray(result.image).astype(int), with_object(scene()).astype(int)
    assert result.found == "local change"
    np.testing.assert_array_equal(pixels[FAR], scene()[FAR])
    assert np.abs(pixels - truth)[~FAR].mean() < 4
    assert np.abs(np.asarray(edited()).astype(int) - truth).mean() > 8
    error = (np.asarray(edited()).astype(float) - scene())[np.asarray(result.mask) == 0]
    assert result.outside_db_before == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)), abs=0.05)
    assert result.outside_db_after == np.inf
    np.testing.assert_allclose(result.shift_px, (2.4, -1.3), atol=0.1)
    assert (result.zoom, result.measures["rotation_degrees"]) == (
        pytest.approx(1.01, abs=2e-3),
        pytest.approx(0, abs=0.05),
    )
    assert result.measures["uncertainty_px"] < 0.5
    assert len(result.changes) == 1
    left, top, right, bottom = result.changes[0].box
    assert max(abs(left - 72), abs(top - 52), abs(right - 109), abs(bottom - 89)) <= 3


TURNS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "transposed": lambda plane: plane.swapaxes(0, 1),
    "mirrored": lambda plane: plane[:, ::-1],
    "upside down": lambda plane: plane[::-1],
}


@functools.cache
def upright() -> tuple[NDArray[np.uint8], NDArray[np.uint8], KeepResult]:
    """An image wider than high, its edit and the result."""
    image = scene(120, width=180)
    second = cast(moved(with_object(image, (120, 50)), similarity((2.4, -1.3), 1.01), (180, 120)))
    return image, second, keep(Image.fromarray(image), Image.fromarray(second))


@pytest.mark.slow
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_a_turned_pair_has_the_turned_result(turn: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Neither direction is special: width and height, or left and right, are never taken for each other."""
    *pair, first = upright()
    second = keep(*(Image.fromarray(np.ascontiguousarray(turn(one))) for one in pair))
    assert (first.found, len(first.changes)) == (second.found, len(second.changes)) == ("local change", 1)
    masks = turn(np.asarray(first.mask, dtype=float)), np.asarray(second.mask, dtype=float)
    assert np.abs(masks[0] - masks[1]).sum() < 0.03 * masks[0].sum()
    y, x = np.nonzero(masks[1] > 100)
    np.testing.assert_allclose(second.changes[0].box, (x.min(), y.min(), x.max() + 1, y.max() + 1), atol=4)
    pixels = turn(np.asarray(first.image, dtype=float)), np.asarray(second.image, dtype=float)
    assert np.abs(pixels[0] - pixels[1]).mean() < 0.05


@pytest.mark.parametrize(("right", "off", "stated"), [(0.04, 0.0, False), (0.06, 0.0, True), (0.4, 0.5, False)])
def test_a_shift_below_its_uncertainty_is_not_stated(
    result: KeepResult, right: float, off: float, stated: bool
) -> None:
    """Which is a twentieth of a pixel at least."""
    place = {"matrix": translation(right, 0), "uncertainty_px": off}
    registration = dataclasses.replace(result.analysis.registration, **place)
    analysis = dataclasses.replace(result.analysis, registration=registration)
    undone = dataclasses.replace(result, analysis=analysis).undone
    assert any("moved" in line for line in undone) == stated


@pytest.mark.parametrize(("off", "right", "doubts"), [(0.4, 3, ()), (0.6, 3, ("0.6 px",)), (0.4, 16, ("10 % of",))])
def test_an_uncertain_alignment_and_a_cut_image_are_doubts(
    result: KeepResult, off: float, right: float, doubts: tuple[str, ...]
) -> None:
    change = some(result.detected)
    frame = dataclasses.replace(change.registration, uncertainty_px=off, matrix=translation(right, 0))
    analysis = dataclasses.replace(result.analysis, change=dataclasses.replace(change, registration=frame))
    found = dataclasses.replace(result, analysis=analysis).composed().doubts
    stated = [one for one in found if "uncertain by" in one or "outside the edited" in one]
    assert len(stated) == len(doubts)
    assert all(part in line for part, line in zip(doubts, stated, strict=True))


@pytest.mark.parametrize(
    ("unchanged", "residual", "starts"),
    [(0.5, 0.0, ""), (0.3, 0.0, "less than half"), (0.5, 50.0, "the rest was redrawn"), (0.3, 50.0, "the rest was")],
)
def test_one_doubt_names_the_first_original_where_much_was_redrawn(
    result: KeepResult, unchanged: float, residual: float, starts: str
) -> None:
    change = dataclasses.replace(some(result.detected), unchanged_share=unchanged, residual=residual)
    analysis = dataclasses.replace(result.analysis, change=change)
    doubts = dataclasses.replace(result, analysis=analysis).composed().doubts
    named = [one for one in doubts if one.endswith("; after several edits in a row, give the first original")]
    assert len(named) == bool(starts)
    assert all(one.startswith(starts) for one in named)


def test_a_difference_between_the_pixels_that_are_measured_is_not_called_identical() -> None:
    """An image of more than 2 megapixels is measured at every second pixel."""
    plain = np.full((1500, 1500, 3), 90, dtype=np.uint8)
    other = plain.copy()
    other[701, 701] = 100
    whole = np.ones(plain.shape[:2], dtype=bool)
    first, second = PixelImage(pixels=plain), PixelImage(pixels=other)
    assert 80 < agreement_db(second, first, whole) < agreement_db(first, first, whole) == np.inf


def test_at_half_strength_an_exact_change_is_half_way() -> None:
    made = keep(Image.fromarray(scene()), Image.fromarray(with_object(scene())), strength=0.5)
    assert some(made.detected).exact
    middle = (scene().astype(float) + with_object(scene())) / 2
    assert np.abs(np.asarray(made.image) - middle).max() <= 1


def test_a_result_is_repeated_from_its_record_with_its_own_images_only() -> None:
    two = with_object(with_object(scene(), (40, 40), 12), (115, 115), 20)
    original, second, mask = Image.fromarray(scene()), Image.fromarray(two), Image.new("L", (SIDE, SIDE), 255)
    made = keep(original, second, only=[2], strength=0.5, ai=True)
    again = keep_again(made.record, original, second)
    assert again.record == made.record
    np.testing.assert_array_equal(again.kept.pixels, made.kept.pixels)
    assert made.composed().record.ai
    for first, other, limit in ((second, second, None), (original, original, None), (original, second, mask)):
        with pytest.raises(ConfigError, match="differs from the recorded one"):
            keep_again(made.record, first, other, mask=limit)


@pytest.mark.slow
def test_what_is_saved_of_strangers_is_the_original_with_a_warning(tmp_path: Path) -> None:
    strangers = keep(Image.fromarray(scene(64)), Image.fromarray(scene(64, seed=8)))
    assert strangers.found == "different images"
    with pytest.warns(UserWarning, match="kept.png is the original"):
        strangers.save(tmp_path / "kept.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "kept.png")), scene(64))


def test_changes_are_kept_one_by_one() -> None:
    two = with_object(with_object(scene(), (40, 40), 12), (115, 115), 20)
    original, second = Image.fromarray(scene()), Image.fromarray(two)
    small = np.asarray(keep(original, second, only=[2]).image)
    np.testing.assert_array_equal(small[80:], scene()[80:])
    np.testing.assert_array_equal(small[36:44, 36:44], two[36:44, 36:44])
    assert "<iframe" in keep(original, second, only=[1])._repr_html_()
    with pytest.raises(ConfigError):
        keep(original, second, only=[3])


def test_kept_changes_have_their_numbers_in_the_view() -> None:
    pixels = scene()
    both = with_object(with_object(pixels, (40, 70), 18), (130, 70), 10)
    result = keep(Image.fromarray(pixels), Image.fromarray(both))
    numbers, boxes = zip(*result.view().marks, strict=True)
    assert numbers == (1, 2)
    for x, (left, top, right, bottom) in zip((40, 130), boxes, strict=True):
        assert left < x < right
        assert top < 70 < bottom
    assert [number for number, _ in result.composed(only=(2,)).view().marks] == [2]
    assert result.view().data()["cut"] == pytest.approx(40 / 160, abs=0.02)
    one = keep(Image.fromarray(pixels), Image.fromarray(with_object(pixels)))
    assert one.view().marks == [], "there is nothing to choose"


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 2.5], ids=["exact", "enlarged"])
def test_an_edited_crop_is_put_back(scale: float) -> None:
    """A quarter of the width, as it is or enlarged by the editor, with a disc."""
    original = scene(320, width=420, seed=5)
    left, top, width, height = 200, 80, 105, 140
    part = with_object(original[top : top + height, left : left + width], (55, 65), 15)
    size = (round(width * scale), round(height * scale))
    crop = Image.fromarray(part) if scale == 1 else Image.fromarray(cast(part)).resize(size, Image.Resampling.LANCZOS)
    found = keep(Image.fromarray(original), crop)
    truth = original.copy()
    truth[top : top + height, left : left + width] = part
    assert found.analysis.box is not None
    assert np.abs(np.subtract(found.analysis.box, (left, top, left + width, top + height))).max() <= (
        0 if scale == 1 else 1
    )
    y, x = np.mgrid[:320, :420]
    far = np.hypot(x - left - 55, y - top - 65) > 15 + 4
    np.testing.assert_array_equal(np.asarray(found.image)[far], original[far])
    error = np.abs(np.asarray(found.image).astype(int) - truth)
    assert error.max() == 0 if scale == 1 else error[~far].mean() < 4
    middle = found.matrix @ (left + (width - 1) / 2, top + (height - 1) / 2, 1)
    np.testing.assert_allclose(middle[:2], ((size[0] - 1) / 2, (size[1] - 1) / 2), atol=0.5 * scale)
    report = check(kept=found).report
    assert [region.box for region in report.regions] == [change.box for change in found.changes]


def test_progress_is_reported_often_and_an_exception_in_it_ends_the_work() -> None:
    steps: list[int] = []

    def report(what: str, done: int, total: int) -> None:
        steps.append(done)
        if len(steps) == 6:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        keep(Image.fromarray(scene()), edited(), progress=report)
    assert steps == sorted(steps)
    steps.clear()
    keep(Image.fromarray(scene()), edited(), progress=lambda what, done, total: steps.append(total - done))
    assert (len(steps) > 10, steps[-1]) == (True, 0)


def lit() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.rint(scene() * (0.45 + 0.4 * np.sin(x / 23) * np.cos(y / 19))[..., None]).astype(np.uint8)


@pytest.mark.slow
def test_a_global_change_is_aligned_and_keeps_its_own_colors() -> None:
    found = keep(Image.fromarray(scene()), Image.fromarray(moved(lit(), similarity((3.0, 2.0)), (SIDE, SIDE))))
    assert found.found == "redrawn"
    inner = np.s_[10:-10, 10:-10]
    assert np.abs(np.asarray(found.image)[inner].astype(int) - lit()[inner]).mean() < 3
    boxed, part = found.composed(box=(40, 50, 60, 60)), np.zeros((SIDE, SIDE), dtype=bool)
    part[50:110, 40:100] = True
    np.testing.assert_array_equal(np.asarray(boxed.image)[~part], scene()[~part])
    np.testing.assert_array_equal(np.asarray(boxed.image)[60:100, 50:90], np.asarray(found.image)[60:100, 50:90])
    assert set(boxed.doubts) < set(found.doubts), "of the original, all but the box is left"


@pytest.mark.slow_except("shift0-True")
@pytest.mark.parametrize(("shift", "stays"), [((0.2, 0.1), True), ((3.0, 2.0), False)])
def test_a_global_change_is_not_aligned_where_the_uncertainty_exceeds_the_shift(
    shift: tuple[float, float], stays: bool
) -> None:
    noise = np.random.default_rng(1).normal(0, 20, (SIDE, SIDE, 3))
    second = (moved(lit(), similarity(shift), (SIDE, SIDE)) + noise).clip(0, 255).astype(np.uint8)
    found = keep(Image.fromarray(scene()), Image.fromarray(second))
    assert found.found == "redrawn"
    assert (np.asarray(found.image) == second).all() == stays


@pytest.mark.slow
@pytest.mark.parametrize(("repaint", "recolored"), [(0.0, True), (12.0, False)])
def test_a_change_of_an_image_that_is_kept_whole_is_kept_alone_by_its_number(repaint: float, recolored: bool) -> None:
    """In the frame where it was found, though the whole image is kept as it came."""
    y, x = np.indices((SIDE, SIDE))
    texture = smoothed(np.random.default_rng(1).normal(0, 1, (SIDE, SIDE)).astype(np.float32), 2.0)
    repainted = scene() * (0.6 + 0.15 * np.sin(x / 23) * np.cos(y / 19))[..., None]
    repainted += repaint * (texture / texture.std() * (x > SIDE / 3))[..., None]  # repaint everywhere would be grain
    drawn = Image.fromarray(np.rint(repainted).clip(0, 255).astype(np.uint8))
    ImageDraw.Draw(drawn).rectangle((50, 45, 110, 105), fill=(250, 30, 200))
    edited = moved(np.asarray(drawn), similarity((9.0, 0.0)), (SIDE, SIDE))
    result = keep(Image.fromarray(scene()), Image.fromarray(edited))
    assert (result.recolored, result.found == "redrawn") == (recolored, not recolored)
    assert result.verdict == ("all colors changed; faint change" if recolored else "redrawn")
    assert result.analysis.kept_by_default == ()
    np.testing.assert_array_equal(np.asarray(result.image), edited)
    alone = result.composed(only=[1])
    inner, outer = (np.maximum(np.abs(x - 80), np.abs(y - 75)) < size for size in (28, 45))
    pixels = np.asarray(alone.image)
    assert np.abs(pixels[inner].astype(int) - pixels[75, 80]).max() < 8, "nothing but the square"
    np.testing.assert_array_equal(pixels[~outer], scene()[~outer])
    np.testing.assert_array_equal(np.asarray(alone.composed().image), edited)


def test_depth_alpha_profile_and_exif_are_the_originals(tmp_path: Path) -> None:
    alpha = np.full((SIDE, SIDE, 1), 65535, dtype=np.uint16)
    alpha[:30] = 1234
    deep = np.concatenate([scene().astype(np.uint16) * 257 + 3, alpha], axis=2)
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    save_image(
        PixelImage(pixels=deep, carried=Carried(colors=Colors(icc_profile=b"a profile"), exif=exif.tobytes())),
        tmp_path / "deep.png",
    )
    shown = np.asarray(read_pixels(tmp_path / "deep.png").image.convert("RGBA"))
    flat = np.rint(shown[..., :3] * (shown[..., 3:] / 255) + 255 - shown[..., 3:]).astype(np.uint8)
    found = keep(tmp_path / "deep.png", Image.fromarray(with_object(flat)))
    found.save(tmp_path / "kept.png")
    record = KeepRecord.from_json(str(read_chunks(tmp_path / "kept.png")[0]), "kept.png")
    assert (record.original.name, record.strength) == ("deep.png", 1)
    assert record.original.fingerprint == read_pixels(tmp_path / "deep.png").fingerprint
    assert str(tmp_path) not in record.to_json()
    again = read_pixels(tmp_path / "kept.png")
    assert (again.carried.colors.icc_profile, again.carried.exif) == (b"a profile", exif.tobytes())
    np.testing.assert_array_equal(again.pixels[FAR], deep[FAR])
    np.testing.assert_array_equal(again.pixels[..., 3], deep[..., 3])
    assert int(again.pixels[70, 90, 0]) == pytest.approx(230 * 257, abs=400)


WHITE = np.full((32, 48, 3), 255, np.uint8)
AS_FILE = io.BytesIO()
Image.fromarray(WHITE).save(AS_FILE, "PNG")
RETURNED = {  # return values of pipelines and other functions, and the number of images in each
    "output": (SimpleNamespace(images=[WHITE]), 1),
    "tuple of diffusers": (([Image.fromarray(WHITE)], [False]), 1),
    "tuple with an array": ((np.stack([WHITE, WHITE]), None), 2),
    "list": ([WHITE, WHITE], 2),
    "image": (Image.fromarray(WHITE), 1),
    "images is one": (SimpleNamespace(images=Image.fromarray(WHITE)), 1),
    "dict": ({"images": [WHITE], "seed": 3}, 1),
    "lists of lists": (SimpleNamespace(images=[[WHITE], [WHITE]]), 2),
    "tensor": (SimpleNamespace(images=torch.ones(2, 3, 32, 48)), 2),
    "one tensor": (torch.ones(3, 32, 48), 1),
    "image with its seed and text": ((WHITE, 12345, "a white image"), 1),
    "bytes": ([AS_FILE.getvalue()], 1),
    "open file": (SimpleNamespace(read=AS_FILE.getvalue), 1),
}


@pytest.mark.slow_except("dict", "one tensor", "open file")
@pytest.mark.parametrize("name", RETURNED)
def test_the_images_of_a_wrapped_pipeline_are_found_in_what_it_returns(name: str) -> None:
    (output, count), given = RETURNED[name], dict[str, Any]()
    found = wrap_pipeline(lambda **some: given.update(some) or output)(WHITE // 2, "white", return_dict=False)
    assert np.array_equal(given.pop("image"), WHITE // 2)
    assert given == {"prompt": "white", "return_dict": False}
    results = found if isinstance(found, list) else [found]
    assert (isinstance(found, list), len(results)) == (count > 1, count)
    assert all(one.record.ai and (one.given.pixels == 255).all() for one in results)


@pytest.mark.parametrize("output", [None, ([], [True]), {"url": 3}, SimpleNamespace(images=[None]), 7])
def test_a_wrapped_pipeline_without_images_is_rejected(output: object) -> None:
    with pytest.raises(ConfigError, match="no image"):
        wrap_pipeline(lambda **_: output)(WHITE, "white")


def test_a_wrapped_pipeline_is_not_called_in_vain() -> None:
    calls = list[object]()
    wrapped = wrap_pipeline(lambda **given: calls.append(given))
    for image in ([WHITE, WHITE], [WHITE], np.stack([WHITE, WHITE]), "none.png"):
        with pytest.raises(ImageError):
            wrapped(image, "white")
    with pytest.raises(ConfigError, match="latent"):
        wrapped(WHITE, "white", output_type="latent")
    with pytest.raises(ConfigError):
        wrap_pipeline(lambda **given: calls.append(given), strength=70)
    assert calls == []


@pytest.mark.parametrize("which", ["original", "edited", "mask"])
@pytest.mark.parametrize("given", [[WHITE], (WHITE, WHITE)])
def test_a_list_is_not_one_image(which: str, given: Any) -> None:
    images: dict[str, Any] = {"original": WHITE, "edited": WHITE, which: given}
    with pytest.raises(ImageError, match=f"{which}.* one image; got a (list|tuple) of"):
        keep(**images)


@pytest.mark.parametrize("progress", [True, "steps", lambda: None, lambda task: None])
def test_a_progress_that_cannot_be_called_is_refused_before_the_work(progress: Any) -> None:
    for verb in (keep, check):
        with pytest.raises(ConfigError, match="task, step and number"):
            verb(WHITE, WHITE, progress=progress)


def test_invalid_strengths_are_rejected() -> None:
    for strength in (-0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError):
            keep(Image.fromarray(scene()), edited(), strength=strength)


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "names_levels"), [(0.02, True), (300.0, False)])
def test_no_change_is_measured_in_more_levels_than_there_are(noise: float, names_levels: bool) -> None:
    analysis = keep(scene(), as_jpeg(scene(), 90)).analysis
    analysis = dataclasses.replace(analysis, change=dataclasses.replace(some(analysis.change), noise=noise))
    assert bool(re.search(r"\d+ levels", analysis.nothing_line)) == names_levels


@pytest.mark.slow
def test_another_mask_and_strength_need_no_second_analysis() -> None:
    mask = Image.new("L", (160, 160), 255)
    mask.paste(0, (0, 0, 80, 160))
    before, after = Image.fromarray(scene()), edited()
    again = keep(before, after).composed(mask=mask, strength=0.5)
    wanted = keep(before, after, mask=mask, strength=0.5)
    assert (again.kept.pixels == wanted.kept.pixels).all()
    assert (again.record, again.lines) == (wanted.record, wanted.lines)
    with pytest.raises(ConfigError, match="strength"):
        again.composed(strength=2)


def test_the_images_of_a_result_are_replaced_only_on_request(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "me.png")
    edited().save(tmp_path / "edited.png")
    found, before = keep(tmp_path / "me.png", tmp_path / "edited.png"), (tmp_path / "me.png").read_bytes()
    for name in ("me.png", "edited.png"):
        with pytest.raises(OutputError, match="overwrite"):
            found.save(tmp_path / name)
    assert (tmp_path / "me.png").read_bytes() == before
    found.save(tmp_path / "me.png", overwrite=True)
    assert (read_pixels(tmp_path / "me.png").pixels == found.kept.pixels).all()


@pytest.mark.slow
@pytest.mark.parametrize(("crop", "light", "warned"), [((0, 0, 240, 240), 8, False), ((70, 50, 230, 210), 18, True)])
def test_a_rest_that_differs_is_reported_with_the_strongest_place_in_the_original(
    crop: tuple[int, int, int, int], light: float, warned: bool
) -> None:
    """The editor lit each part in another way, the lower right part most."""
    original = Image.fromarray(scene(240, seed=5))
    part = np.asarray(original.crop(crop))
    side = len(part)
    y, x = np.mgrid[:side, :side] / side
    strength = light * np.where((x > 0.5) & (y > 0.5), 2.5 if warned else 1, 1)
    lit = (
        with_object(part, (side // 4, side // 4), side // 10)
        + (strength * np.sin(12.57 * x) * np.sin(12.57 * y))[..., None]
    )
    found = keep(original, Image.fromarray(np.rint(lit).clip(0, 255).astype(np.uint8)))
    boxes = [[int(one) for one in match] for match in re.findall(r"(\d+),(\d+),(\d+),(\d+)", " ".join(found.doubts))]
    assert found.found == "local change"
    assert len(boxes) == warned
    for left, top, right, bottom in boxes:
        middle = (crop[0] + crop[2]) / 2, (crop[1] + crop[3]) / 2
        assert middle[0] <= left < right <= crop[2]
        assert middle[1] <= top < bottom <= crop[3]
