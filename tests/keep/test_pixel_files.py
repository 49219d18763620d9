"""Every bit that a picture came with."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from latentedit.core.errors import ImageError, OutputError
from latentedit_keep.api import _bounds
from latentedit_keep.pictures import PixelPicture, check_depth, read_chunks, read_pixels, save_image
from tests.keep.pairs import scene

PROFILE = b"not read by anyone, kept as it is" * 4


def deep(side: int = 24) -> np.ndarray:
    """16 bits of which the lower eight count."""
    return scene(side).astype(np.uint16) * 257 + np.arange(side * side * 3, dtype=np.uint16).reshape(side, side, 3) % 97


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_profile_exif_and_record_come_back(channels: int, tmp_path: Path) -> None:
    pixels = deep() if channels == 3 else np.concatenate([deep(), deep()[..., :1]], axis=2)
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    picture = PixelPicture(pixels=pixels, info={"icc_profile": PROFILE, "exif": exif.tobytes()})
    save_image(picture, tmp_path / "deep.png", record='{"a": 1}')
    again = read_pixels(tmp_path / "deep.png")
    np.testing.assert_array_equal(again.pixels, pixels)
    assert again.pixels.dtype == np.uint16
    assert again.info["icc_profile"] == PROFILE
    assert again.info["exif"] == picture.info["exif"]
    assert read_chunks(tmp_path / "deep.png")[0] == '{"a": 1}'
    with Image.open(tmp_path / "deep.png") as image:  # another reader takes it too
        image.load()
        assert image.getexif()[ExifTags.Base.Artist] == "somebody"


def test_a_tiff_has_its_sixteen_bits(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.tif"), deep()[..., ::-1])
    np.testing.assert_array_equal(read_pixels(tmp_path / "deep.tif").pixels, deep())


def test_sixteen_bit_grey_has_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(deep()[..., 0]).save(tmp_path / "grey.png", icc_profile=PROFILE)
    found = read_pixels(tmp_path / "grey.png")
    np.testing.assert_array_equal(found.pixels, np.repeat(deep()[..., :1], 3, axis=2))
    assert "icc_profile" not in found.info, "a grey profile says nothing about RGB"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 16])
def test_pictures_are_upright(orientation: int, bits: int, tmp_path: Path) -> None:
    """As Pillow turns them, at both depths."""
    pixels = scene(20, width=30)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    place = tmp_path / "turned.png"
    if bits == 8:
        Image.fromarray(pixels).save(place, exif=exif)
    else:
        save_image(PixelPicture(pixels=pixels.astype(np.uint16) * 257, info={"exif": exif.tobytes()}), place)
    with_pillow = Image.fromarray(pixels)
    with_pillow.getexif()[ExifTags.Base.Orientation] = orientation
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    upright = with_pillow if orientation == 1 else with_pillow.transpose(Image.Transpose(turns[orientation]))
    found = read_pixels(place)
    np.testing.assert_array_equal(found.pixels // (1 if bits == 8 else 257), np.asarray(upright))
    assert "exif" not in found.info  # nothing else was in it


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiffs_are_upright(orientation: int, tmp_path: Path) -> None:
    """As the same at eight bits is, which Pillow turns."""
    pixels = scene(20, width=30)[..., 0]
    for name, values in (("deep", pixels.astype(np.uint16) * 257), ("plain", pixels)):
        Image.fromarray(values).save(tmp_path / f"{name}.tif", tiffinfo={ExifTags.Base.Orientation: orientation})
    deep_pixels = read_pixels(tmp_path / "deep.tif").pixels
    assert deep_pixels.dtype == np.uint16
    np.testing.assert_array_equal(deep_pixels // 257, read_pixels(tmp_path / "plain.tif").pixels)


def test_exif_that_no_jpeg_holds_is_told_before(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70_000
    Image.fromarray(scene(20)).save(tmp_path / "long.png", exif=exif)
    with pytest.raises(OutputError, match=r"EXIF is too long for JPEG.*Use \.png"):
        check_depth(read_pixels(tmp_path / "long.png"), tmp_path / "kept.jpg")
    check_depth(read_pixels(tmp_path / "long.png"), tmp_path / "kept.png")


def test_sixteen_bits_go_to_png_only(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"16 bits.*Use \.png"):
        save_image(PixelPicture(pixels=deep()), tmp_path / "deep.jpg")


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(60)])
def test_what_is_no_picture_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"x\.png"):
        read_pixels(tmp_path / "x.png")


def test_a_deep_png_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    save_image(PixelPicture(pixels=deep()), tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[:60])
    with pytest.raises(ImageError, match=r"cut\.png"):
        read_pixels(tmp_path / "cut.png")


def test_bounds_soften_inwards_and_black_stays_black() -> None:
    drawn = np.zeros((100, 120), dtype=np.uint8)
    drawn[30:70, 30:90] = 255
    bounds = _bounds(read_pixels(Image.fromarray(drawn)), (120, 100))
    assert bounds[drawn == 0].max() == 0
    assert bounds[50, 60] == 1
    with pytest.raises(ImageError, match="120x100 pixels, the original 100x100"):
        _bounds(read_pixels(Image.fromarray(drawn)), (100, 100))
    with pytest.raises(ImageError, match="black everywhere"):
        _bounds(read_pixels(Image.fromarray(0 * drawn)), (120, 100))


def test_a_mask_of_thin_lines_is_refused() -> None:
    """Where the soft edges from both sides meet, nothing is let through."""
    drawn = np.zeros((500, 600), dtype=np.uint8)
    drawn[250:258, 100:500] = 255
    with pytest.raises(ImageError, match="only a few pixels wide"):
        _bounds(read_pixels(Image.fromarray(drawn)), (600, 500))
