"""Which files are images, and which form a result has: raw photographs, floats, AVIF, HEIC, gray, palettes, folders."""

import base64
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from latentedit.core.errors import ImageError
from latentedit.keeping.api import keep
from latentedit.photo.images import read_image, read_pixels
from latentedit.photo.saving import save_image
from tests.commands import Command
from tests.keep.color_files import Tags, chunks, gray_profile, tiff_of
from tests.keep.pairs import encoded, scene, with_object

# 64 x 64 pixels of 200, 513, 900 of 1023, Display P3 by nclx; written by an encoder that is not a dependency.
DEEP_HEIC = base64.b85decode(
    "0000SW^{RQXk}@500000ZE0pPXk}@5ZE0a<00042ZDn*}000000000XXk=`10000000000aA{+700000000000000000000B57=IV*mgE07O6l0R"
    "RC200001dH?|c000000015U001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002iX>f9I0002DX>en20001ZXm(>"
    "m0R#vD005jg000009`FGC|N8m>01pFT0096OKmiN^|NjIC00093oHzgg0{{RXx&lC90096iLID8;2mk;B0Gv1g00RI39*_hOAe$}Jl2csVFf<qt0"
    "0094kN^M!01$v;00969L;=Bah71BE0000JV{dG7ZewhC01N;P00w{n000zeb8uw<00000002M$002M$000nhX?SS>000033JMAU000+haBX1#000"
    "00000310R({p0|Wp7048l@VRQfh02(L(uLd|;{QWoN-v5#PdYk|MR1PY<LSyy#"
)


def plane(width: int, height: int, **more: int) -> Tags:
    """Gray of 8 bits, its pixels somewhere in the file; further tags by name."""
    names = {"reduced": 254, "photometric": 262, "version": 50706, "bits": 258, "samples": 277, "numbers": 339}
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: height, 279: width * height}
    return {tag: (4 if tag in (256, 257) else 3, [value]) for tag, value in tags.items()} | {
        names[name]: (1 if name == "version" else 3, [value]) for name, value in more.items()
    }


SMALL, LARGE = {"reduced": 1, "width": 24, "height": 16}, {"width": 120, "height": 80}


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])  # Pillow reads no others
@pytest.mark.parametrize(
    ("directories", "children", "word"),
    [
        ([SMALL, LARGE | {"photometric": 32803}], 1, "raw photograph"),
        ([SMALL, SMALL, LARGE | {"photometric": 34892}], 2, "raw photograph"),
        ([LARGE | {"photometric": 32803}], 0, "raw photograph"),  # without a preview
        ([LARGE | {"version": 1}], 0, "raw photograph"),  # linear
        ([SMALL, LARGE], 1, "preview"),
        ([SMALL, LARGE], 0, "preview"),
        ([LARGE, SMALL, SMALL], 2, ""),  # pyramids
        ([LARGE, SMALL], 0, ""),
        ([LARGE, LARGE], 0, ""),
    ],
)
def test_raw_photographs_and_previews_are_refused_and_pyramids_read(
    directories: list[dict[str, int]], children: int, word: str, order: str, big: bool
) -> None:
    made = [plane(**one) for one in directories]
    content = tiff_of(*made, children=children, order=order, big=big)
    for source in (content, content + b"more"):
        if word:
            with pytest.raises(ImageError, match=word):
                read_pixels(source)
        else:
            assert read_pixels(source).size == (120, 80)


def test_directories_that_lead_in_a_circle_end() -> None:
    content = bytearray(tiff_of(plane(24, 16, reduced=1)))
    count = struct.unpack_from("<H", content, 8)[0]
    struct.pack_into("<I", content, 8 + 2 + 12 * count, 8)
    assert read_pixels(bytes(content)).size == (24, 16)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.004), (-0.1, 1.0), (0.0, 718.0)])
def test_floats_outside_of_0_to_1_are_refused_by_their_range(low: float, high: float) -> None:
    values = np.full((20, 30), 0.5, dtype=np.float32)
    values[3, 3], values[4, 4] = low, high
    for source in (encoded(values, "TIFF"), Image.fromarray(values), values):
        with pytest.raises(ImageError, match=f"{low:g} to {high:g}, outside"):
            read_pixels(source)


@pytest.mark.parametrize(("bits", "samples"), [(16, 1), (16, 3), (32, 3)])
def test_half_floats_and_colored_floats_are_called_what_they_are(bits: int, samples: int) -> None:
    content = tiff_of(plane(24, 16, bits=bits, samples=samples, numbers=3))
    with pytest.raises(ImageError, match=f"{bits}-bit floats"):
        read_pixels(content)


def test_integers_up_to_65535_are_16_bits_and_others_refused() -> None:
    values = np.arange(600, dtype=np.int32).reshape(20, 30) * 100
    np.testing.assert_array_equal(read_pixels(Image.fromarray(values)).pixels[..., 1], values)
    for wrong in (-1, 65536):
        values[0, 0] = wrong
        with pytest.raises(ImageError, match="65535"):
            read_pixels(Image.fromarray(values))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(scene(64, width=96))
    image.getexif()[ExifTags.Base.Orientation] = orientation
    right = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    found = read_pixels(encoded(image, "AVIF", exif=exif, quality=100, subsampling="4:4:4")).pixels
    assert found.shape == right.shape
    assert np.abs(found - right).max() <= 6


def test_heic_keeps_10_bits_and_the_colors_that_it_names(tmp_path: Path) -> None:
    read = read_pixels(DEEP_HEIC)
    assert np.abs(read.pixels / 65535 - np.array([200, 513, 900]) / 1023).max() < 4 / 1023
    save_image(read, tmp_path / "k.png")
    assert chunks((tmp_path / "k.png").read_bytes())[b"cICP"] == bytes([12, 13, 0, 1])


@pytest.mark.parametrize("ending", ["avif", "jfif", "jpe"])
def test_further_endings_are_written_and_what_they_change_is_measured(ending: str, tmp_path: Path) -> None:
    found = keep(Image.fromarray(scene()), Image.fromarray(with_object(scene())))
    found.save(tmp_path / f"k.{ending}")
    written = found.as_written(tmp_path / f"k.{ending}")
    assert 35 < written.outside_db_after < 70
    assert any(("AVIF" if ending == "avif" else "JPEG") in line for line in written.lines)
    read = read_pixels(tmp_path / f"k.{ending}").pixels.astype(int)
    assert np.abs(read - found.kept.pixels).mean() < 1.5


def gray_pair(depth: type) -> tuple[np.ndarray, np.ndarray]:
    """A gray image and one with a brighter disc."""
    before, after = (
        np.asarray(Image.fromarray(one).convert("L")).astype(depth) for one in (scene(), with_object(scene()))
    )
    return before * depth(np.iinfo(depth).max // 255), after * depth(np.iinfo(depth).max // 255)


@pytest.mark.slow_except("uint16-png")
@pytest.mark.parametrize(
    ("depth", "ending"), [(np.uint8, "png"), (np.uint16, "png"), (np.uint8, "tif"), (np.uint8, "jpg")]
)
def test_gray_stays_gray(depth: type, ending: str, tmp_path: Path) -> None:
    before, after = gray_pair(depth)
    Image.fromarray(before).save(
        tmp_path / f"o.{ending if depth == np.uint8 else 'png'}", icc_profile=gray_profile(1.8)
    )
    original = read_pixels(tmp_path / f"o.{ending}")
    found = keep(original, Image.fromarray(after))
    found.save(tmp_path / f"k.{ending}")
    with Image.open(tmp_path / f"k.{ending}") as image:
        assert image.mode == ("L" if depth == np.uint8 else "I;16")
        assert image.info["icc_profile"] == gray_profile(1.8)
        levels = np.asarray(image).astype(int)
    off = np.abs(levels - found.kept.pixels[..., 0])
    assert off.max() == 0 if ending != "jpg" else off.mean() < 3


def test_gray_becomes_color_where_color_was_added(tmp_path: Path) -> None:
    before = Image.fromarray(scene()).convert("L")
    before.save(tmp_path / "o.png")
    edited = np.array(before.convert("RGB"))
    edited[60:100, 60:100] = (250, 30, 30)
    found = keep(tmp_path / "o.png", Image.fromarray(edited))
    found.save(tmp_path / "k.png")
    with Image.open(tmp_path / "k.png") as image:
        assert image.mode == "RGB"
    assert found.kept.carried.form == "gray"


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_one_bit_pages_stay_so(ending: str, tmp_path: Path) -> None:
    page = np.zeros((60, 90), dtype=bool)
    page[10:20, 10:80] = page[30:40, 20:60] = True
    Image.fromarray(page).save(tmp_path / f"o.{ending}")
    read = read_pixels(tmp_path / f"o.{ending}")
    pixels = read.pixels.copy()
    pixels[45:50, 5:9] = 255
    save_image(type(read)(pixels=pixels, carried=read.carried), tmp_path / f"k.{ending}")
    page[45:50, 5:9] = True
    with Image.open(tmp_path / f"k.{ending}") as image:
        assert image.mode == "1"
        np.testing.assert_array_equal(np.asarray(image), page)


@pytest.mark.parametrize("clear", [None, 2, b"\xff\x80\0"])
def test_palettes_keep_their_order_and_get_the_new_colors(clear: Any, tmp_path: Path) -> None:
    numbers = (np.arange(48, dtype=np.uint8).reshape(6, 8) // 4) % 4
    palette = [200, 10, 10, 10, 200, 10, 10, 10, 200, 90, 90, 90]
    image = Image.fromarray(numbers, "P")
    image.putpalette(palette)
    image.save(tmp_path / "o.png", **({} if clear is None else {"transparency": clear}))
    read = read_pixels(tmp_path / "o.png")
    pixels = read.pixels.copy()
    pixels[0, 0, :3] = 1, 2, 3
    save_image(type(read)(pixels=pixels, carried=read.carried), tmp_path / "k.png")
    stored = chunks((tmp_path / "k.png").read_bytes())
    assert stored[b"PLTE"][:15] == bytes([*palette, 1, 2, 3])
    assert (b"tRNS" in stored) == (clear is not None)
    with Image.open(tmp_path / "k.png") as again:
        np.testing.assert_array_equal(np.asarray(again.convert("RGBA" if clear is not None else "RGB")), pixels)


def test_palettes_end_with_the_257th_color(tmp_path: Path) -> None:
    colors = np.zeros((16, 17, 3), dtype=np.uint8)
    colors[..., 0], colors[..., 1] = np.arange(16)[:, None], np.arange(17)
    Image.fromarray(colors).quantize(8).save(tmp_path / "o.png")
    carried = read_pixels(tmp_path / "o.png").carried
    for count, mode in ((16, "P"), (17, "RGB")):
        save_image(type(read_pixels(tmp_path / "o.png"))(pixels=colors[:, :count], carried=carried), tmp_path / "k.png")
        with Image.open(tmp_path / "k.png") as image:
            assert image.mode == mode
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colors[:, :count])


def test_folders_name_what_they_pass_over_and_twins_fail_alone(tmp_path: Path, command: Command) -> None:
    first, second = tmp_path / "originals", tmp_path / "edits"
    for folder, pixels in ((first, scene()), (second, with_object(scene()))):
        folder.mkdir()
        for name in ("a.jfif", "b.jpe", "twin.png"):
            Image.fromarray(pixels).save(folder / name, format="PNG" if name == "twin.png" else "JPEG")
    Image.fromarray(scene()).save(first / "twin.jpg")
    for folder in (first, second):
        Image.fromarray(scene()).save(folder / f"only {folder.name}.png")
    for name in ("a.xmp", "film.mov", ".hidden"):
        (first / name).write_bytes(b"-")
    with pytest.warns(UserWarning, match=r": a\.xmp, film\.mov$"):
        done = command("keep", first, second, "-o", tmp_path / "kept")
    assert sorted(one.name for one in (tmp_path / "kept").iterdir()) == ["a.png", "b.png"]
    assert done.code == 1
    assert "twin: twin.jpg and twin.png in" in done.err
    assert {"only originals", "only edits"} < {line.partition(":")[0] for line in done.err.splitlines()}


def test_jpeg_xl_is_read_and_written_with_its_plug_in(tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl")
    Image.fromarray(scene()).save(tmp_path / "me.jpg", quality=90)
    with Image.open(tmp_path / "me.jpg") as image:
        painted = read_image(image)
    painted.paste((250, 30, 30), (20, 20, 60, 60))
    save_image(painted, tmp_path / "k.jxl")
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "k.jxl")), np.asarray(painted))
