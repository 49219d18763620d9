"""Edits of a JPEG by a program that decodes it by FFmpeg, as ComfyUI does; cv2 reads files by FFmpeg only as videos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from latentedit import check
from latentedit.photo.images import read_pixels
from latentedit.pixels.decoders import as_started_from

# The scene of the example workflows, whose PNG from a ComfyUI of August 2026 differs from Pillow's pixels by .82 levels
# on average, 55 at most and -.67 in the mean: those of this decoder.
SCENE = Path(__file__).parents[2] / "comfyui/example_workflows/input/scene.jpg"
BOX = (60, 60, 120, 110)


def by_ffmpeg(path: Path = SCENE) -> Any:
    _, frame = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).read()
    return frame[..., ::-1]


def saved(pixels: Any, folder: Path, name: str = "edited.png", **options: Any) -> Path:
    Image.fromarray(np.ascontiguousarray(pixels)).save(folder / name, **options)
    return folder / name


def painted(pixels: Any) -> Any:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.paste((200, 30, 40), BOX)
    return np.asarray(image)


def pillow() -> Any:
    return np.asarray(Image.open(SCENE))


def test_the_decoder_of_these_tests_is_that_of_the_server() -> None:
    apart = by_ffmpeg().astype(int) - pillow()
    assert abs(apart).mean() == pytest.approx(0.82, abs=0.01)
    assert abs(apart).max() == 55
    assert apart.mean() == pytest.approx(-0.67, abs=0.01)


def test_an_edit_of_another_decoding_is_compared_with_that(tmp_path: Path) -> None:
    report = check(SCENE, saved(painted(by_ffmpeg()), tmp_path), max_outside=0.02).report
    assert report.rest == "identical"
    assert report.passed
    assert [region.box for region in report.regions] == [BOX]
    assert any("FFmpeg" in doubt for doubt in report.doubts)
    assert report.original.fingerprint == read_pixels(SCENE).fingerprint


def test_so_is_a_photograph_that_its_exif_turns(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = tmp_path / "turned.jpg"
    Image.open(SCENE).crop((0, 0, 512, 400)).save(turned, quality=95, exif=exif)
    _, frame = cv2.VideoCapture(str(turned), cv2.CAP_FFMPEG).read()
    upright = np.rot90(frame[..., ::-1], -1) if frame.shape[0] == 400 else frame[..., ::-1]
    report = check(turned, saved(painted(upright), tmp_path), max_outside=0.02).report
    assert report.rest == "identical"
    assert report.passed


@pytest.mark.slow_except("noise", "painted")
@pytest.mark.parametrize(
    "edit",
    [
        lambda pixels: pixels + np.random.default_rng(0).normal(0, 3, pixels.shape),
        lambda pixels: pixels - 3.0,
        lambda pixels: Image.fromarray(pixels).filter(ImageFilter.UnsharpMask(1, 80, 0)),
        lambda pixels: Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.5)),
        lambda pixels: pixels[::-1],
        painted,
    ],
    ids=["noise", "darker", "sharper", "blurred", "flipped", "painted"],
)
def test_no_edit_of_pillows_pixels_is_taken_for_one(tmp_path: Path, edit: Callable[[Any], Any]) -> None:
    pixels = np.rint(np.asarray(edit(pillow()), dtype=float).clip(0, 255)).astype(np.uint8)
    original = read_pixels(SCENE)
    assert as_started_from(original, read_pixels(saved(pixels, tmp_path))) is original


def test_a_copy_without_a_file_and_a_png_are_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = read_pixels(saved(by_ffmpeg(), tmp_path))
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: pytest.fail("decoded"))
    for original in (read_pixels(Image.open(SCENE)), read_pixels(saved(pillow(), tmp_path, "scene.png"))):
        assert as_started_from(original, edited) is original


def test_opencv_without_ffmpeg_leaves_the_original_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, edited = read_pixels(SCENE), read_pixels(saved(by_ffmpeg(), tmp_path))
    assert as_started_from(original, edited) is not original
    monkeypatch.setattr(cv2, "CAP_FFMPEG", cv2.CAP_GSTREAMER)  # a kind that the wheels of OpenCV lack
    assert as_started_from(original, edited) is original


def test_a_file_that_was_replaced_is_not_decoded_for_its_image(tmp_path: Path) -> None:
    place = tmp_path / "scene.jpg"
    place.write_bytes(SCENE.read_bytes())
    original = read_pixels(place)
    Image.open(SCENE).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(place, quality=95)
    theirs = read_pixels(saved(by_ffmpeg(place), tmp_path))
    assert as_started_from(original, theirs) is original
    assert as_started_from(read_pixels(place), theirs) is not original
