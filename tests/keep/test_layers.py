"""The change as a layer: it composes to the kept image, alone and in files of layers."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

from latentedit import keep
from latentedit.core import errors
from latentedit.keeping.api import KeepResult
from latentedit.photo.carried import Carried
from latentedit.photo.color import Colors
from latentedit.photo.containers import taken_apart
from latentedit.photo.images import PixelImage, read_pixels
from latentedit.photo.inventory import inventory
from latentedit.photo.layers import change_layer
from tests.commands import Refused
from tests.keep.color_files import packet
from tests.keep.pairs import cast, scene, with_object

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def resampled() -> NDArray[np.uint8]:
    """A disc, a cast and another size."""
    return np.asarray(Image.fromarray(cast(with_object(scene()))).resize((192, 192), Image.Resampling.LANCZOS))


def painted(pixels: NDArray[Any], opaque: int = 255) -> NDArray[Any]:
    """Two rectangles painted, one in a darker shade of what it covers."""
    edited = pixels.copy()
    edited[20:50, 20:60, :3] = edited[20:50, 20:60, :3] // 2
    edited[90:130, 80:130, :3] = np.array([255, 0, 20]) * (np.iinfo(pixels.dtype).max // 255)
    if pixels.shape[2] == 4:
        edited[90:130, 80:130, 3] = opaque
    return edited


def cut_out() -> NDArray[np.uint8]:
    """The scene with a soft border to a transparent lower third, under which is black."""
    alpha = np.zeros((160, 160), dtype=np.uint8)
    alpha[:110], alpha[110] = 255, 90
    return np.dstack([scene() * (alpha[..., None] > 0), alpha])


def deep() -> NDArray[np.uint16]:
    return (scene().astype(np.int32) * 257 + np.random.default_rng(1).integers(-128, 128, (160, 160, 3))).astype(
        np.uint16
    )


def kept(original: NDArray[Any], edited: NDArray[Any], **options: Any) -> KeepResult:
    return keep(PixelImage(pixels=original), PixelImage(pixels=edited), **options)


def layer_of(result: KeepResult, folder: Path) -> PixelImage:
    result.save_layers(folder / "change.png")
    return read_pixels(folder / "change.png")


CASES: dict[str, tuple[Callable[[], KeepResult], float]] = {
    "aligned": (lambda: kept(scene(), resampled()), 1),
    "half": (lambda: kept(scene(), resampled(), strength=0.5), 1),
    "exact": (lambda: kept(scene(), painted(scene())), 0),
    "one of two": (lambda: kept(scene(), painted(scene()), only=[2]), 0),
    "all colors": (lambda: kept(scene(), np.repeat(scene()[..., 1:2], 3, axis=2)), 0),
    "nothing": (lambda: kept(scene(), scene()), 0),
    "on transparent ground": (lambda: kept(cut_out(), painted(cut_out())), 0),
    "half-transparent paint": (lambda: kept(np.dstack([scene(), np.zeros((160, 160), np.uint8)]),
                                            painted(np.dstack([scene(), np.zeros((160, 160), np.uint8)]), 77)), 0),
}  # fmt: skip


@pytest.mark.slow_except("half-transparent paint", "nothing")
@pytest.mark.parametrize("case", CASES)
def test_the_layer_composes_over_the_original_to_the_kept_image(case: str, tmp_path: Path) -> None:
    make, most = CASES[case]
    result = make()
    layer = layer_of(result, tmp_path)
    ground = Image.fromarray(result.original.pixels).convert("RGBA")
    composed = np.asarray(Image.alpha_composite(ground, layer.image), dtype=int)
    wanted = np.asarray(Image.fromarray(result.kept.pixels).convert("RGBA"), dtype=int)
    seen = wanted[..., 3:] > 0
    assert np.abs((composed - wanted) * np.where(seen, 1, [0, 0, 0, 1])).max() <= most
    assert (layer.pixels[..., 3] > 0).any() == (case != "nothing")


@pytest.mark.slow
def test_sixteen_bits_are_kept_to_one_of_them(tmp_path: Path) -> None:
    original = deep()
    result = kept(original, resampled())
    layer = layer_of(result, tmp_path).pixels.astype(np.float64)
    alpha = layer[..., 3:] / 65535
    composed = layer[..., :3] * alpha + original * (1 - alpha)
    assert result.kept.pixels.dtype == np.uint16
    assert (result.kept.pixels != original).any()
    assert np.abs(composed - result.kept.pixels).max() <= 0.51


@pytest.mark.slow
def test_the_opacity_is_the_mask_where_the_colors_allow_it(tmp_path: Path) -> None:
    for strength in (1.0, 0.5):
        result = kept(scene(), resampled(), strength=strength)
        layer, mask = layer_of(result, tmp_path).pixels, strength * np.asarray(result.mask, dtype=float)
        soft = (mask > 0) & (mask < 255 * strength)
        assert soft.sum() > 50
        assert (layer[..., 3] >= np.rint(mask)).all()
        assert (layer[..., 3] == np.rint(mask)).mean() > 0.99


def test_alpha_is_raised_by_no_more_than_the_color_needs() -> None:
    original, wanted = (np.full((1, 2, 3), level, dtype=np.uint8) for level in (100, 100))
    wanted[0, 0], wanted[0, 1, 2] = 41, 162  # (100 - 41) / 100 is 150.45 / 255; (162 - 100) / (255 - 100) is 102 / 255
    layer = change_layer(original, wanted, np.full((1, 2), 0.1, dtype=np.float32))
    assert layer.tolist() == [[[0, 0, 0, 151], [100, 100, 255, 102]]]


def test_what_no_layer_can_do_is_refused_with_the_remedy(tmp_path: Path) -> None:
    erased, recolored = cut_out(), cut_out()
    erased[20:60, 20:60, 3] = 0
    recolored[110] = (250, 0, 0, 90)
    for edited in (erased, recolored):
        result = kept(cut_out(), edited)
        assert (result.kept.pixels != cut_out()).any()
        with pytest.raises(errors.OutputError, match=r"no layer on top can do\. Use `save_mask`"):
            result.save_layers(tmp_path / "change.ora")
    assert not list(tmp_path.iterdir())


def test_colors_under_a_mask_in_alpha_are_not_hidden(tmp_path: Path) -> None:
    alpha = np.full((160, 160), 255, dtype=np.uint8)
    alpha[80:150, 70:140] = 0
    original, edited = np.dstack([scene(), alpha]), painted(scene())
    result = kept(original, edited)
    ground = Image.fromarray(scene()).convert("RGBA")
    composed = np.asarray(Image.alpha_composite(ground, layer_of(result, tmp_path).image))
    np.testing.assert_array_equal(composed[..., :3], edited)


@pytest.mark.slow
def test_open_raster_has_both_layers_and_the_result(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png", icc_profile=PROFILE, dpi=(300, 300))
    result = keep(tmp_path / "a.png", resampled())
    result.save_layers(tmp_path / "change.ora")
    assert (tmp_path / "change.ora").read_bytes()[30:54] == b"mimetypeimage/openraster"  # first and not compressed
    with zipfile.ZipFile(tmp_path / "change.ora") as packed:
        stack = packed.read("stack.xml").decode()
        images = {name: Image.open(io.BytesIO(packed.read(name))) for name in packed.namelist() if name.endswith("png")}
    assert 'w="160" h="160" xres="300" yres="300"' in stack
    assert stack.index('name="change" src="data/change.png"') < stack.index('name="original" src="data/original.png"')
    layers = [images[f"data/{name}.png"] for name in ("original", "change")]
    merged, small = images["mergedimage.png"], images["Thumbnails/thumbnail.png"]
    composed = Image.alpha_composite(*(layer.convert("RGBA") for layer in layers))
    assert np.abs(np.asarray(composed)[..., :3].astype(int) - np.asarray(merged)).max() <= 1
    np.testing.assert_array_equal(np.asarray(merged), result.kept.pixels)
    assert {one.info["icc_profile"] for one in (*layers, merged)} == {PROFILE}
    assert max(small.size) <= 256
    first = (tmp_path / "change.ora").read_bytes()
    result.save_layers(tmp_path / "change.ora")
    assert (tmp_path / "change.ora").read_bytes() == first


def inside(path: Path) -> bytes:
    """The image that other programs show of a file of layers."""
    if path.suffix == ".tif":
        return path.read_bytes()
    with zipfile.ZipFile(path) as packed:
        return packed.read("mergedimage.png")


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["ora", "tif"])
def test_layers_carry_what_the_flat_file_does(ending: str, tmp_path: Path) -> None:
    if ending == "tif":
        pytest.importorskip("psdtags")
    exif = Image.Exif()
    exif.update({271: "Acme", 315: "Ann"})
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 4.0, 12.0)})
    about = packet('xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"')
    Image.fromarray(scene()).save(tmp_path / "a.jpg", exif=exif, xmp=about, icc_profile=PROFILE, quality=95)
    result = keep(tmp_path / "a.jpg", painted(read_pixels(tmp_path / "a.jpg").pixels), ai=True)
    result.save_layers(tmp_path / f"change.{ending}")
    result.save(tmp_path / "flat.tif")
    contents = inside(tmp_path / f"change.{ending}"), (tmp_path / "flat.tif").read_bytes()
    layered, flat = (inventory(taken_apart(content)) for content in contents)
    assert {"EXIF Make", "EXIF GPSLatitude", "XMP xmp:Rating", "XMP Iptc4xmpExt:DigitalSourceType"} <= flat.keys()
    assert all(layered[name] == value for name, value in flat.items() if name.startswith(("EXIF", "XMP")))


@pytest.mark.slow_except("cut_out")
@pytest.mark.parametrize("make", [scene, deep, cut_out])
def test_layered_tiff_shows_the_result_to_other_readers(make: Callable[[], NDArray[Any]], tmp_path: Path) -> None:
    psdtags, tifffile = pytest.importorskip("psdtags"), pytest.importorskip("tifffile")
    carried = Carried(colors=Colors(icc_profile=PROFILE), dpi=(300.0, 300.0))
    result = keep(PixelImage(pixels=make(), carried=carried), PixelImage(pixels=painted(make())))
    result.save_layers(tmp_path / "change.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "change.tif"), result.kept.pixels)
    with Image.open(tmp_path / "change.tif") as image:
        assert (image.size, image.info["icc_profile"], image.info["dpi"]) == ((160, 160), PROFILE, (300, 300))
        assert isinstance(image, TiffImageFile)
        assert image.tag_v2.get(338) == (None if make is not cut_out else (2,))  # straight alpha
    layers = psdtags.TiffImageSourceData.fromtiff(tmp_path / "change.tif").layers.layers
    assert [layer.name for layer in layers] == ["original", "change"]
    original, change = (np.dstack([channel.data for channel in layer.channels]) for layer in layers)
    np.testing.assert_array_equal(original, make())
    np.testing.assert_array_equal(change, layer_of(result, tmp_path).pixels)


def test_layered_tiff_without_its_packages_states_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(errors.MissingDependencyError, match=r"\[layers\]"):
        kept(scene(), painted(scene())).save_layers(tmp_path / "change.TIFF")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    places = tmp_path / "a.png", tmp_path / "b.png"
    for place, pixels in zip(places, (scene(), painted(scene())), strict=True):
        Image.fromarray(pixels).save(place)
    return places


def test_a_saved_mask_is_the_opacity_of_the_change(pair: tuple[Path, Path], tmp_path: Path) -> None:
    keep(*pair).save_mask(tmp_path / "mask.png")
    mask = Image.open(tmp_path / "mask.png")
    assert (mask.mode, mask.size) == ("L", (160, 160))
    np.testing.assert_array_equal(np.asarray(mask) > 0, (scene() != painted(scene())).any(axis=2))


@pytest.mark.slow_except(
    "options3---save-layer c.ora", "options4-Use .png", "options5-is named twice", "options9-does not exist"
)
@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--save-layer", "{t}/c.jpg"], "Use .png"),
        (["--save-layer", "{t}/c.psd"], "Use .tif"),
        (["-o", "{t}/c.psd"], "--save-layer c.tif"),
        (["-o", "{t}/c.ora"], "--save-layer c.ora"),
        (["--save-mask", "{t}/m.jpg"], "Use .png"),
        (["--save-layer", "{t}/b.png"], "is named twice"),
        (["--save-mask", "{t}/a.png"], "is named twice"),
        (["--save-mask", "{t}/k.png"], "is named twice"),
        (["--save-mask", "{t}/m.png", "--save-layer", "{t}/m.png"], "is named twice"),
        (["--save-layer", "{t}/none/c.png"], "does not exist"),
    ],
)
def test_unusable_names_are_rejected_before_any_work(
    options: list[str], why: str, pair: tuple[Path, Path], tmp_path: Path, refused: Refused, monkeypatch: Any
) -> None:
    before = {place: place.read_bytes() for place in tmp_path.iterdir()}
    monkeypatch.setattr("latentedit.keeping.api.analyze", None)
    line = refused("keep", *pair, "-o", tmp_path / "k.png", *(one.format(t=tmp_path) for one in options))
    assert why in line
    assert {place: place.read_bytes() for place in tmp_path.iterdir()} == before


def test_a_layer_that_cannot_be_is_refused_with_the_option(tmp_path: Path, refused: Refused) -> None:
    erased = np.dstack([scene(), np.full((160, 160), 255, np.uint8)])
    Image.fromarray(erased).save(tmp_path / "a.png")
    erased[20:60, 20:60, 3] = 0
    Image.fromarray(erased).save(tmp_path / "b.png")
    line = refused(
        "keep", tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "k.png", "--save-layer", tmp_path / "c.png"
    )
    assert "Use --save-mask" in line
    assert len(list(tmp_path.iterdir())) == 2


def test_inputs_are_not_replaced_in_python(pair: tuple[Path, Path]) -> None:
    result = keep(*pair)
    for save in (result.save_mask, result.save_layers):
        with pytest.raises(errors.OutputError, match="was made from"):
            save(pair[0])
