"""Color spaces, and metadata on color, resolution and rights, which are preserved."""

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, JpegImagePlugin

from latentedit.core.errors import ImageError
from latentedit.encoding.images import SourceImage
from latentedit.keeping.api import keep
from latentedit.models.capabilities import Capabilities
from latentedit.photo import color
from latentedit.photo.carried import Carried
from latentedit.photo.containers import segment
from latentedit.photo.images import PixelImage, read_image, read_pixels
from latentedit.photo.saving import save_image
from latentedit.photo.warp import cv2
from tests.keep.color_files import (
    SIZE,
    chunks,
    edited,
    far,
    gray_png,
    gray_profile,
    in_space,
    in_srgb,
    inside,
    packet,
    patches,
    profile_of,
    rgb_profile,
    tiff,
    with_chunk,
    with_xmp,
)
from tests.keep.pairs import encoded, some

KEPT = "local change"
KINDS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF"}


def sixteen(image: Image.Image) -> NDArray[np.uint16]:
    return np.atleast_3d(np.asarray(image)).astype(np.uint16) * 257


@pytest.mark.slow_except("12 bits-<", "plain->", "unspecified->")
@pytest.mark.parametrize(
    ("case", "order"),
    [
        *((case, order) for case in ("plain", "premultiplied", "alpha", "unspecified") for order in "<>"),
        ("white is zero", "<"),  # Pillow opens none of the other order
        ("12 bits", "<"),
    ],
)
def test_deep_tiffs_are_read_according_to_their_tags(case: str, order: str, tmp_path: Path) -> None:
    shown, alpha = patches(), np.full((SIZE[1], SIZE[0], 1), 20000, dtype=np.uint16)
    gray = shown.convert("L")
    colors, premultiplied = sixteen(shown), np.rint(sixteen(shown) * (20000 / 65535)).astype(np.uint16)
    content, right = {
        "plain": (tiff(colors, photometric=2, order=order), shown),
        "premultiplied": (
            tiff(np.dstack([premultiplied, alpha]), photometric=2, more={338: (3, [1])}, order=order),
            shown,
        ),
        "alpha": (tiff(np.dstack([colors, alpha]), photometric=2, more={338: (3, [2])}, order=order), shown),
        "unspecified": (tiff(np.dstack([colors, alpha]), photometric=2, more={338: (3, [0])}, order=order), shown),
        "white is zero": (tiff(65535 - sixteen(gray), photometric=0, order=order), gray.convert("RGB")),
        "12 bits": (twelve_bits(np.asarray(gray), order), gray.convert("RGB")),
    }[case]
    (tmp_path / "me.tif").write_bytes(content)
    found, plain = read_pixels(tmp_path / "me.tif"), read_image(tmp_path / "me.tif")
    assert found.pixels.dtype == np.uint16
    assert np.abs(found.pixels[..., :3] / 257 - np.asarray(right)).max() < 0.51
    assert np.abs(np.asarray(plain, dtype=int)[..., :3] - np.asarray(right)).max() <= 1
    has_alpha = case in ("premultiplied", "alpha")
    assert (found.pixels.shape[2] == 4, plain.mode == "RGBA") == (has_alpha, has_alpha)
    assert not has_alpha or (found.pixels[..., 3] == 20000).all()


def test_premultiplied_colors_above_their_alpha_are_clipped(tmp_path: Path) -> None:
    pixels = np.tile(np.array([40000, 20000, 0, 20000], dtype=np.uint16), (8, 8, 1))
    (tmp_path / "me.tif").write_bytes(tiff(pixels, photometric=2, more={338: (3, [1])}))
    assert read_pixels(tmp_path / "me.tif").pixels[0, 0].tolist() == [65535, 65535, 0, 20000]


def twelve_bits(levels: NDArray[np.uint8], order: str) -> bytes:
    spread = np.rint(levels * (4095 / 255)).astype(np.uint16)[..., None] >> np.arange(11, -1, -1) & 1
    rows = np.packbits(spread.astype(np.uint8).reshape(len(levels), -1), axis=1)[..., None]
    content = tiff(rows, photometric=1, bits=12, order=order)
    width = struct.pack(order + "HHII", 256, 4, 1, rows.shape[1])
    return content.replace(width, struct.pack(order + "HHII", 256, 4, 1, levels.shape[1]))


@pytest.mark.parametrize(
    ("depth", "options"),
    [
        (np.uint16, {"photometric": 2, "planar": True}),
        (np.uint16, {"photometric": 2, "kind": 2}),
        (np.uint8, {"photometric": 2, "kind": 2}),
        (np.uint16, {"photometric": 8}),
        (np.uint32, {"photometric": 1}),
        (np.int32, {"photometric": 0, "kind": 2}),
    ],
)
def test_unsupported_tiffs_are_rejected(depth: type, options: dict[str, Any], tmp_path: Path) -> None:
    channels = 1 if options["photometric"] < 2 else 3
    (tmp_path / "me.tif").write_bytes(tiff(np.full((20, 30, channels), 100, dtype=depth), **options))
    for read in (read_image,) if channels == 1 else (read_pixels, read_image):
        with pytest.raises(ImageError):
            read(tmp_path / "me.tif")


@pytest.mark.nightly
@pytest.mark.parametrize("which", ["original", "edited", "both"])
def test_keep_compares_displayed_colors(which: str, tmp_path: Path) -> None:
    first, second, wide = patches(), edited(patches()), rgb_profile("adobe")
    pair = []
    for name, image in (("original", first), ("edited", second)):
        own = which in (name, "both")
        (in_space(image, wide) if own else image).save(tmp_path / f"{name}.png", icc_profile=wide if own else None)
        pair.append(tmp_path / f"{name}.png")
    found = keep(*pair)
    found.save(tmp_path / "kept.png")
    kept, original = Image.open(tmp_path / "kept.png"), Image.open(pair[0])
    assert found.found == KEPT
    assert kept.info.get("icc_profile") == original.info.get("icc_profile")
    np.testing.assert_array_equal(np.asarray(kept)[far()], np.asarray(original)[far()])
    right = np.asarray(second if which == "edited" else in_space(second, wide), dtype=int)
    assert np.abs(np.asarray(kept, dtype=int) - right)[inside()].max() <= 2
    assert any("color space" in doubt for doubt in found.doubts) == (which != "both")
    assert found.outside_db_before > 40


@pytest.mark.nightly
def test_colors_outside_srgb_are_preserved_outside_the_change() -> None:
    """The editor works in sRGB and clips them."""
    wide = rgb_profile("adobe")
    own = np.asarray(in_space(patches(), wide)).copy()
    own[110:130, 155:165] = (20, 250, 30)  # within the disc's surroundings
    own[20:60, 20:60] = (10, 240, 10)
    original = Image.fromarray(own)
    original.info["icc_profile"] = wide
    second = edited(in_space(original, wide, back=True))
    found = keep(original, second)
    assert found.found == KEPT
    np.testing.assert_array_equal(found.kept.pixels[far()], own[far()])
    assert np.abs(in_srgb(found.image) - np.asarray(second))[inside()].max() <= 2


def other_profiles() -> dict[str, bytes]:
    grayish = some(color.of_gray(gray_profile(1.8)))
    chunked = {"gamma": {"gamma": 1 / 1.8}, "p3 by cICP": {"cicp": bytes([12, 13, 0, 1])}}
    made = {name: color.Colors.of(info).profile or b"" for name, info in chunked.items()}
    return {name: rgb_profile(name) for name in ("adobe", "linear", "p3")} | {"gray": grayish} | made


@pytest.mark.slow_except("linear")
@pytest.mark.parametrize("name", ["adobe", "linear", "p3", "gray", "gamma", "p3 by cICP"])
def test_conversions_agree_with_littlecms(name: str) -> None:
    profile = other_profiles()[name]
    space = some(color.Colors.of({"icc_profile": profile}).space)
    pixels = np.asarray(patches())
    there = space.to_srgb(pixels)
    assert np.abs(there.clip(0, 255) - np.asarray(in_space(patches(), profile, back=True))).max() < 1
    assert np.abs(space.from_srgb(pixels.astype(np.float32)) - np.asarray(in_space(patches(), profile))).max() < 1
    assert np.abs(space.from_srgb(there) - pixels).max() < 0.01
    assert np.abs(space.to_srgb(pixels.astype(np.uint16) * 257) - there).max() < 0.01


def test_table_profiles_are_converted_by_littlecms() -> None:
    """Tables cycle the channels instead of a matrix."""
    table = table_profile()
    space = some(color.Colors.of({"icc_profile": table}).space)
    pixels = np.asarray(patches())
    there, back = (np.asarray(in_space(patches(), table, back=back), dtype=float) for back in (True, False))
    for depth in (pixels, pixels.astype(np.uint16) * 257):
        assert np.abs(space.to_srgb(depth) - there).max() <= 1
    assert np.abs(space.from_srgb(pixels.astype(np.float32)) - back).max() <= 1
    assert np.abs(there - back).mean() > 5, "else the test would see nothing"
    beyond = np.array([[[-40, 300, 128]]], dtype=np.float32)
    np.testing.assert_array_equal(space.from_srgb(beyond), space.from_srgb(beyond.clip(0, 255)))


def table_profile() -> bytes:
    """XYZ in another order, by tables of two nodes, and by the same cycle back."""
    corners = np.array([[y, z, x] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    ends = struct.pack(">4H", 0, 65535, 0, 65535) + struct.pack(">2H", 0, 65535)

    def table(rows: NDArray[np.float64]) -> bytes:
        head = b"mft2\0\0\0\0" + bytes([3, 3, 2, 0]) + struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
        values = np.rint(rows * 32768).clip(0, 65535).astype(">u2").tobytes()
        return head + struct.pack(">HH", 2, 2) + ends + values + ends

    return profile_of(b"RGB ", [(b"A2B0", table(corners)), (b"B2A0", table(2 * corners))])


def power_curve(share: float, power: float) -> float:
    """The sRGB level of a gray of this share of the range, in a space of this gamma."""
    linear = share**power
    return 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(
    ("info", "primaries", "power"),
    [
        ({"gamma": 1 / 1.8}, "linear", 1.8),
        ({"gamma": 1 / 1.8, "chromaticity": (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)}, "adobe", 1.8),
        ({"cicp": bytes([12, 4, 0, 1])}, "p3", 2.2),
        ({"cicp": bytes([12, 5, 0, 1])}, "p3", 2.8),
        ({"cicp": bytes([1, 8, 0, 1])}, "linear", 1.0),
    ],
)
def test_png_color_chunks_name_primaries_and_gamma(info: dict[str, Any], primaries: str, power: float) -> None:
    """Against profiles with the same primaries, and the closed form for grays."""
    space, same = (
        some(color.Colors.of(info).space),
        some(color.Colors.of({"icc_profile": rgb_profile(primaries)}).space),
    )
    np.testing.assert_allclose(space.matrix, same.matrix, atol=1e-3)
    grays = np.array([[[20] * 3, [128] * 3, [230] * 3]], dtype=np.uint8)
    right = [power_curve(gray / 255, power) for gray in (20, 128, 230)]
    np.testing.assert_allclose(space.to_srgb(grays)[0, :, 1], right, atol=0.05)


@pytest.mark.parametrize("transfer", [1, 6, 14, 15])
def test_grays_with_the_curve_of_video_are_read_by_it(transfer: int) -> None:
    """The inverse of the transfer function of ITU-R BT.709, item 1.2."""
    space, levels = some(color.Colors.of({"cicp": bytes([1, transfer, 0, 1])}).space), (10, 40, 128, 230)
    shares = [level / 255 for level in levels]
    linear = [share / 4.5 if share < 0.081 else ((share + 0.099) / 1.099) ** (1 / 0.45) for share in shares]
    shown = space.to_srgb(np.array([[[level] * 3 for level in levels]], dtype=np.uint8))
    np.testing.assert_allclose(shown[0, :, 1], [power_curve(one, 1.0) for one in linear], atol=0.05)


def with_curve(curve: bytes, kind: bytes = b"RGB ") -> bytes:
    """A profile with this curve for all channels."""
    if kind == b"GRAY":
        return profile_of(kind, [(b"kTRC", curve)])
    colorants = [
        b"XYZ \0\0\0\0" + struct.pack(">3i", *(int(60000 * (at == one)) for at in range(3))) for one in range(3)
    ]
    tags = zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)
    return profile_of(b"RGB ", [*tags, *((key, curve) for key in (b"rTRC", b"gTRC", b"bTRC"))])


def parametric(kind: int, *values: float) -> bytes:
    fixed = struct.pack(f">{len(values)}i", *(round(65536 * value) for value in values))
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + fixed


@pytest.mark.parametrize(
    ("curve", "formula"),
    [
        (parametric(0, 1.5), lambda x: x**1.5),
        (parametric(1, 2, 0.9, 0.1), lambda x: (0.9 * x + 0.1) ** 2),
        (parametric(1, 2, 1.25, -0.25), lambda x: max(0, 1.25 * x - 0.25) ** 2),
        (parametric(2, 2, 0.7, 0.2, 0.1), lambda x: (0.7 * x + 0.2) ** 2 + 0.1),
        (parametric(2, 2, 1.25, -0.25, 0.1), lambda x: min(1, max(0, 1.25 * x - 0.25) ** 2 + 0.1)),
        (parametric(3, 2, 0.9, 0.1, 0.3, 0.4), lambda x: (0.9 * x + 0.1) ** 2 if x >= 0.4 else 0.3 * x),
        (
            parametric(4, 2, 0.7, 0.2, 0.3, 0.4, 0.1, 0.05),
            lambda x: (0.7 * x + 0.2) ** 2 + 0.1 if x >= 0.4 else 0.3 * x + 0.05,
        ),
    ],
)
def test_parametric_curves_are_those_of_the_specification(curve: bytes, formula: Any) -> None:
    """ICC.1:2022, table 68."""
    curves = some(color.Colors.of({"icc_profile": with_curve(curve)}).space).curves
    places = [0, 6553, 26213, 26215, 45000, 65535]
    np.testing.assert_allclose(curves[1][places], [formula(place / 65535) for place in places], atol=1e-4)


def test_a_curve_of_an_unknown_type_damages_a_profile() -> None:
    unknown = b"some\0\0\0\0" + bytes(8)
    assert color.Colors.of({"icc_profile": with_curve(unknown)}).is_damaged
    assert color.of_gray(with_curve(unknown, b"GRAY")) is None


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_transparent_parts_are_seen_on_the_ground(depth: type) -> None:
    top = np.iinfo(depth).max
    pixels = np.array([[[top, 0, 0, top], [top, 0, 0, 0], [top, 0, 0, top // 5]]], dtype=depth)
    np.testing.assert_allclose(some(color.opacity_of(pixels))[0], [1, 0, 0.2], atol=1e-6)
    for ground in (255.0, 40.0):
        right = [[255, 0, 0], [ground] * 3, [51 + 0.8 * ground, 0.8 * ground, 0.8 * ground]]
        np.testing.assert_allclose(color.levels(pixels, ground=ground)[0], right, atol=1e-3)


def test_colors_beyond_srgb_are_shown_at_its_border() -> None:
    own = np.array([[[0, 255, 0], [255, 0, 0], [60, 70, 80]]], dtype=np.uint8)
    image = Image.fromarray(own)
    image.info["icc_profile"] = rgb_profile("p3")
    right = np.asarray(in_space(image, rgb_profile("p3"), back=True), dtype=int)
    assert np.abs(np.asarray(color.shown(image), dtype=int) - right).max() <= 1


def test_what_lies_beyond_srgb_is_put_on_only_where_nothing_changed() -> None:
    """The first color is beyond sRGB; the second is not."""
    space = some(color.Colors.of({"icc_profile": rgb_profile("adobe")}).space)
    own = np.array([[[10, 240, 10], [120, 110, 130]]], dtype=np.uint8)
    seen = space.to_srgb(own).clip(0, 255)
    assert np.abs(seen - space.to_srgb(own)).max() > 5
    np.testing.assert_allclose(color.put_on(own, seen, space), 0, atol=1e-3)
    for change in (8, -60):
        moved = (seen + np.float32(change)).clip(0, 255)
        np.testing.assert_allclose(own + color.put_on(own, moved, space), space.from_srgb(moved), atol=1e-3)


def test_every_description_of_srgb_is_recognized() -> None:
    named = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for info in (
        {},
        {"icc_profile": named},
        {"gamma": 0.45455},
        {"srgb": 0, "gamma": 1.0},
        {"cicp": bytes([1, 13, 0, 1])},
    ):
        assert color.Colors.of(info).space is None
        assert not color.Colors.of(info).is_damaged


SMALL = Capabilities(size_multiple=16, sizes=(128, 128, 128))


@pytest.mark.slow_except("False-linear")
@pytest.mark.parametrize("name", ["adobe", "linear", "p3"])
@pytest.mark.parametrize("clear", [False, True])
def test_models_see_srgb_and_edits_return_to_the_color_space_of_the_image(
    name: str, clear: bool, tmp_path: Path
) -> None:
    profile, plain = rgb_profile(name), patches()
    own = in_space(plain, profile)
    if clear:
        for image in (plain, own):
            image.putalpha(Image.linear_gradient("L").resize(SIZE))
    own.save(tmp_path / "own.png", icc_profile=profile)
    frames = [SourceImage.from_image(plain).fit(SMALL), SourceImage.open(tmp_path / "own.png").fit(SMALL)]
    seen = [np.asarray(frame.image.on_white(), dtype=int) for frame in frames]
    assert np.sqrt(np.mean((seen[1] - seen[0]) ** 2)) <= (2 if name == "linear" else 1)
    assert np.abs(seen[1] - seen[0]).max() <= (14 if name == "linear" else 5), "by rounding to 8 bits of another space"
    assert (frames[0].pixels - frames[1].pixels).square().mean().sqrt() * 127.5 <= 2
    change = torch.zeros(3, 128, 128)
    change[0, 40:80, 40:80] = 0.5
    right, found = (frame.restore(change) for frame in frames)
    assert found.info["icc_profile"] == profile
    place = np.abs(np.asarray(right, dtype=int) - np.asarray(plain)).max(axis=2) > 0
    np.testing.assert_array_equal(np.asarray(found)[~place], np.asarray(own)[~place])
    rms = np.sqrt(np.mean((in_srgb(found) - np.asarray(right.convert("RGB")))[place] ** 2))
    assert rms < 2
    assert np.array_equal(frames[1].restore(torch.zeros_like(change)), own)


STATED = {
    b"gAMA": struct.pack(">I", 100_000),
    b"cHRM": struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
    b"cICP": bytes([12, 13, 0, 1]),
    b"sRGB": b"\1",
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", STATED)
def test_png_color_chunks_are_preserved(kind: bytes, bits: int, tmp_path: Path) -> None:
    save_image(PixelImage(pixels=np.asarray(patches()).astype(f"uint{bits}")), tmp_path / "plain.png")
    (tmp_path / "me.png").write_bytes(with_chunk((tmp_path / "plain.png").read_bytes(), kind, STATED[kind]))
    save_image(read_pixels(tmp_path / "me.png"), tmp_path / "again.png")
    assert chunks((tmp_path / "again.png").read_bytes())[kind] == STATED[kind]


@pytest.mark.parametrize("ending", ["jpg", "webp", "tif"])
def test_other_formats_get_a_profile_instead_of_png_chunks(ending: str, tmp_path: Path) -> None:
    (tmp_path / "me.png").write_bytes(with_chunk(encoded(patches(), "PNG"), b"gAMA", STATED[b"gAMA"]))
    save_image(read_image(tmp_path / "me.png"), tmp_path / f"me.{ending}")
    with Image.open(tmp_path / f"me.{ending}") as image:
        shown = in_srgb(image)
    right = in_srgb(in_space(patches(), rgb_profile("linear"), back=True))
    assert np.abs(shown - right).mean() < 2


@pytest.mark.parametrize("bits", [8, 16])
def test_gray_images_with_a_profile_keep_their_appearance(bits: int, tmp_path: Path) -> None:
    gray = patches().convert("L")
    stored = gray if bits == 8 else Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    stored.save(tmp_path / "gray.png", icc_profile=gray_profile(1.8))
    save_image(read_pixels(tmp_path / "gray.png"), tmp_path / "again.png")
    with Image.open(tmp_path / "again.png") as again:
        assert again.info["icc_profile"] == gray_profile(1.8)
        np.testing.assert_array_equal(np.asarray(again), np.asarray(stored))
        own = ImageCms.ImageCmsProfile(io.BytesIO(gray_profile(1.8)))
        right = ImageCms.profileToProfile(gray, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    found = color.levels(read_pixels(tmp_path / "again.png").pixels, read_pixels(tmp_path / "again.png").space)
    assert np.abs(found - np.asarray(right)).max() <= 2


@pytest.mark.parametrize(("ending", "lost"), [("bmp", "color profile, EXIF"), ("webp", "resolution"), ("png", "")])
def test_metadata_that_a_format_cannot_store_is_reported(ending: str, lost: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "me"
    patches().save(tmp_path / "me.png", icc_profile=rgb_profile("adobe"), exif=exif, dpi=(300, 300))
    with warnings.catch_warnings(record=True) as report:
        warnings.simplefilter("always")
        save_image(read_image(tmp_path / "me.png"), tmp_path / f"k.{ending}")
    stated = " ".join(str(one.message) for one in report)
    assert all(part in stated for part in lost.split(", "))
    assert bool(report) == bool(lost)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_gray_level_is_read_at_any_bit_depth(bits: int, tmp_path: Path) -> None:
    wide = np.asarray(patches().convert("L")).astype(np.uint32) * 257
    plane = wide >> (16 - bits)
    (tmp_path / "key.png").write_bytes(gray_png(plane, bits, int(plane[10, 10])))
    clear = plane == plane[10, 10]
    top = 2**bits - 1
    for pixels in (read_pixels(tmp_path / "key.png").pixels, np.asarray(read_image(tmp_path / "key.png"))):
        np.testing.assert_array_equal(pixels[..., 3] == 0, clear)
        whole = np.iinfo(pixels.dtype).max
        assert np.abs(pixels[..., 0] / whole - plane / top).max() <= 0.5 / 255


def test_cmyk_and_unknown_color_spaces_are_reported(tmp_path: Path) -> None:
    patches().convert("CMYK").save(tmp_path / "me.tif")
    (tmp_path / "me.png").write_bytes(with_chunk(encoded(patches(), "PNG"), b"cICP", bytes([9, 16, 0, 1])))
    found = read_image(tmp_path / "me.tif")
    assert Carried.of(found.info).notes
    patches().save(tmp_path / "damaged.png", icc_profile=rgb_profile("adobe")[:200])
    for name in ("me.png", "damaged.png"):
        assert Carried.of(read_image(tmp_path / name).info).notes
    assert np.abs(np.asarray(found, dtype=int) - np.asarray(patches())).max() <= 2


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_skipped_frames_are_reported(ending: str, tmp_path: Path) -> None:
    first, second = (patches(seed, (48, 48)) for seed in (1, 2))
    first.save(tmp_path / f"a.{ending}", save_all=True, append_images=[second, first])
    (note,) = SourceImage.open(tmp_path / f"a.{ending}").notes
    assert note.startswith(f"a.{ending} has 3 ")
    first.save(tmp_path / "camera.jpg", format="MPO", save_all=True, append_images=[second])
    assert SourceImage.open(tmp_path / "camera.jpg").notes == (), "the preview of a camera"


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
def test_exif_has_the_size_of_the_upright_image(ending: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Copyright] = 6, "me"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner[ExifTags.Base.ExifImageWidth], inner[ExifTags.Base.ExifImageHeight] = SIZE
    patches().save(tmp_path / "me.jpg", exif=exif, dpi=(300, 150))
    save_image(read_image(tmp_path / "me.jpg"), tmp_path / f"k.{ending}")
    with Image.open(tmp_path / f"k.{ending}") as image:
        assert image.size == SIZE[::-1]
        found = image.getexif()
        inner = found.get_ifd(ExifTags.IFD.Exif)
        assert found.get(ExifTags.Base.Orientation, 1) == 1
        assert found[ExifTags.Base.Copyright] == "me"
        assert (inner[ExifTags.Base.ExifImageWidth], inner[ExifTags.Base.ExifImageHeight]) == SIZE[::-1]
        if ending != "webp":
            np.testing.assert_allclose([float(one) for one in image.info["dpi"]], (150, 300), atol=0.02)


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("ending", KINDS)
def test_xmp_is_preserved_without_its_orientation(source: str, ending: str, tmp_path: Path) -> None:
    stated = packet('tiff:Orientation="6" dc:rights="me"')
    (tmp_path / f"me.{source}").write_bytes(with_xmp(patches(), KINDS[source], stated))
    save_image(read_image(tmp_path / f"me.{source}"), tmp_path / f"k.{ending}")
    with Image.open(tmp_path / f"k.{ending}") as image:
        found = image.info["xmp"]
        assert b'dc:rights="me"' in found
        assert b'Orientation="6"' not in found


@pytest.mark.parametrize(("quality", "subsampling"), [(60, 2), (85, 1), (97, 0)])
def test_jpegs_keep_quality_and_subsampling_of_their_source(quality: int, subsampling: int, tmp_path: Path) -> None:
    patches().save(tmp_path / "me.jpg", quality=quality, subsampling=subsampling)
    save_image(read_image(tmp_path / "me.jpg"), tmp_path / "k.jpg")
    with Image.open(tmp_path / "me.jpg") as first, Image.open(tmp_path / "k.jpg") as second:
        assert isinstance(first, JpegImagePlugin.JpegImageFile)
        assert isinstance(second, JpegImagePlugin.JpegImageFile)
        assert first.quantization == second.quantization
        assert JpegImagePlugin.get_sampling(second) == subsampling


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", ["411", "440", "422", "420", "444"])
def test_other_subsampling_is_named_and_costs_no_pixels(kind: str, turned: bool, tmp_path: Path) -> None:
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{kind}")
    content = cv2.imencode(".jpg", np.asarray(patches(size=(240, 192))), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])[
        1
    ].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x06\0\0\0\0\0\0"  # turned by a quarter
    found = read_pixels(content[:20] + segment(0xE1, exif) * turned + content[20:])
    lines = {ending: save_image(found, tmp_path / f"k.{ending}").line for ending in ("png", "jpg")}
    is_kept = kind in (("444", "440", "420") if turned else ("444", "422", "420"))
    assert ("subsampling" in lines["jpg"], lines["png"]) == (not is_kept, "")
    assert np.abs(read_pixels(tmp_path / "k.jpg").pixels.astype(int) - found.pixels).mean() < (
        0.2 if kind == "444" else 2
    )


@pytest.mark.nightly
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_mask_in_the_alpha_channel_is_preserved_and_the_colors_under_it_are_edited(
    depth: type, tmp_path: Path
) -> None:
    top = np.iinfo(depth).max // 255
    first, second = np.asarray(patches()).astype(depth) * depth(top), edited(patches())
    alpha = np.full((SIZE[1], SIZE[0], 1), 255 * top, dtype=depth)
    alpha[90:150, 140:200] = 0
    save_image(PixelImage(pixels=np.dstack([first, alpha])), tmp_path / "original.png")
    found = keep(tmp_path / "original.png", second)
    assert found.found == KEPT
    np.testing.assert_array_equal(found.kept.pixels[..., 3:], alpha)
    np.testing.assert_array_equal(found.kept.pixels[far()][:, :3], first[far()])
    assert np.abs(found.kept.pixels[inside()][:, :3] / top - (225, 40, 50)).max() <= 1
    assert any("mask" in doubt for doubt in found.doubts)
