"""The change as a transparent layer that composes over the original to the kept result, and files of layers."""

import dataclasses
import importlib
import importlib.util
import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentedit.core.errors import MissingDependencyError, OutputError, to_install
from latentedit.core.files import atomic_file, check_place, user_path
from latentedit.photo.carried import Carried
from latentedit.photo.color import Pixels, opacity_of
from latentedit.photo.images import PixelImage
from latentedit.photo.saving import encoded_png
from latentedit.photo.tiff import encoded_tiff
from latentedit.photo.warp import Array, largest

MASKS = (".png", ".tif", ".tiff", ".bmp")  # lossless
LAYERS = (".png", ".ora", ".tif", ".tiff")
_NAMES = ("original", "change")  # names of the layers, the lowest first
_STRIP_ROWS = 256  # computed together, which bounds the memory
_TINY = np.float32(1e-6)
_THUMBNAIL_PX = 256  # longest side by the specification of OpenRaster
_RASTER = "image/openraster"
_LAYERS_TAG = 37724  # Photoshop's ImageSourceData


def check_extras(mask: Path | None, layers: Path | None, *others: Path) -> None:
    """Raise an error if a mask or layers cannot be written, or would overwrite another file of the same call."""
    used = {user_path(other).resolve() for other in others}
    for path, endings in ((mask, MASKS), (layers, LAYERS)):
        if path is not None:
            check_ending(path, endings)
            if (place := user_path(path, error=OutputError).resolve()) in used:
                raise OutputError(f"{path} is named twice. Choose another name for the mask or the layer")
            check_place(path)
            used.add(place)


def check_ending(path: str | Path, endings: tuple[str, ...]) -> str:
    """The ending in lower case, or an error if it is another one or needs a package that is missing."""
    ending = Path(path).suffix.lower()
    if ending not in endings:
        use = ".tif, which has layers for Photoshop" if ending in (".psd", ".psb") and endings is LAYERS else endings[0]
        raise OutputError(f"{Path(path).name!r} has none of the endings {', '.join(endings)}. Use {use}")
    if endings is LAYERS and ending.startswith(".tif") and importlib.util.find_spec("psdtags") is None:
        remedy = to_install("latentedit[layers]")
        raise MissingDependencyError(f"layered TIFF needs the package psdtags. {remedy}")
    return ending


def change_layer(original: Pixels, kept: Pixels, opacity: Array) -> Pixels:
    """The layer with straight alpha that composes over the original to the kept image, blended normally."""
    # Its alpha is the opacity, raised where the color would have to leave the range. Where the original is not opaque,
    # the result's alpha determines it.
    layer, missed = np.zeros((*original.shape[:2], 4), dtype=original.dtype), 0
    for start in range(0, len(layer), _STRIP_ROWS):
        rows = np.s_[start : start + _STRIP_ROWS]
        if opacity[rows].any() or original.shape != kept.shape or (original[rows] != kept[rows]).any():
            layer[rows], misses = _strip(original[rows], kept[rows], opacity[rows])
            missed += int(misses.sum())
    if missed:
        what = f"{missed} pixels became more transparent, or changed where they are partly so"
        raise OutputError(f"{what}, which no layer on top can do. Use `save_mask`, or the kept image itself")
    return layer


def _strip(original: Pixels, kept: Pixels, opacity: Array) -> tuple[Pixels, NDArray[np.bool_]]:
    """The layer of some rows, and where it does not compose to the kept image within one level of 255."""
    top, one = np.float32(np.iinfo(original.dtype).max), np.float32(1)
    old, new = (pixels[..., :3].astype(np.float32) for pixels in (original, kept))
    under, total = (one if alpha is None else alpha for alpha in map(opacity_of, (original, kept)))
    under, total = (np.broadcast_to(alpha, opacity.shape) for alpha in (under, total))
    step = np.abs(new - old) * under[..., None]
    room = np.where(new > old, top - new, new)
    least = largest(step / np.maximum(room + step, _TINY))
    steps = np.maximum(np.rint(top * opacity), np.ceil(top * least))
    soft = np.maximum(1 - under, _TINY)
    low, high = (np.rint(top * (total - under)) + half for half in (-0.5, 0.5))  # the result's alpha is rounded
    held = np.clip(steps, np.ceil(low / soft), np.floor(high / soft)).clip(0, top)
    steps = np.where(under < 1, held, steps)
    alpha = (steps / top)[..., None]
    colors = new + (new - old) * under[..., None] * (1 - alpha) / np.maximum(alpha, _TINY)
    colors = np.rint(np.where(alpha > 0, colors, 0)).clip(0, top)
    under, total = under[..., None], total[..., None]
    shown = np.abs(colors * alpha + old * under * (1 - alpha) - new * total)
    misses = largest(np.maximum(shown, top * np.abs(alpha + under * (1 - alpha) - total))) > top / 255 * (1 + _TINY)
    return np.dstack([colors, steps]).astype(original.dtype), misses


def save_layers(path: str | Path, original: PixelImage, kept: PixelImage, opacity: Array) -> None:
    """Write the layer alone as PNG, or both layers with the kept image as OpenRaster or layered TIFF."""
    ending = check_ending(path, LAYERS)
    shows = Carried(colors=original.carried.colors, dpi=original.carried.dpi)  # without it, pixels look different
    layer = PixelImage(pixels=change_layer(original.pixels, kept.pixels, opacity), carried=shows)
    original = PixelImage(pixels=original.pixels, carried=shows)
    kept = dataclasses.replace(kept, carried=dataclasses.replace(kept.carried, form=None))  # in color, like the layers
    if ending == ".png":
        content = encoded_png(layer)
    else:
        content = (_open_raster if ending == ".ora" else _layered_tiff)(original, layer, kept)
    with atomic_file(path) as file:
        file.write(content)


def _open_raster(original: PixelImage, layer: PixelImage, kept: PixelImage) -> bytes:
    (width, height), dpi = kept.size, kept.carried.dpi
    resolution = "" if dpi is None else ' xres="{:.0f}" yres="{:.0f}"'.format(*dpi)
    look = 'x="0" y="0" opacity="1.0" visibility="visible" composite-op="svg:src-over"'
    rows = (f'<layer name="{name}" src="data/{name}.png" {look}/>' for name in reversed(_NAMES))  # the highest first
    whole = f'<image version="0.0.3" w="{width}" h="{height}"{resolution}><stack>{"".join(rows)}</stack></image>'
    small, thumbnail = kept.image, io.BytesIO()
    small.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    small.save(thumbnail, format="PNG")
    parts = {
        "mimetype": _RASTER.encode(),  # first and stored, by which programs know the format
        "stack.xml": f'<?xml version="1.0" encoding="UTF-8"?>{whole}'.encode(),
        **{f"data/{name}.png": encoded_png(one) for name, one in zip(_NAMES, (original, layer), strict=True)},
        "mergedimage.png": encoded_png(kept),
        "Thumbnails/thumbnail.png": thumbnail.getvalue(),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, content in parts.items():
            packed.writestr(zipfile.ZipInfo(name), content)  # without a date: equal results give equal files
    return file.getvalue()


def _layered_tiff(original: PixelImage, layer: PixelImage, kept: PixelImage) -> bytes:
    """A TIFF of the kept image with the layers as Photoshop stores them."""
    psd = importlib.import_module("psdtags")
    width, height = kept.size
    layers = [
        psd.PsdLayer(
            name=name,
            channels=[
                psd.PsdChannel(psd.PsdChannelId(-1 if at == 3 else at), psd.PsdCompressionType.ZIP, one.pixels[..., at])
                for at in range(one.pixels.shape[2])
            ],
            rectangle=psd.PsdRectangle(0, 0, height, width),
            mask=psd.PsdLayerMask(),
            flags=psd.PsdLayerFlag.PHOTOSHOP5,
            info=[psd.PsdString(psd.PsdKey.UNICODE_LAYER_NAME, name)],
        )
        for name, one in zip(_NAMES, (original, layer), strict=True)
    ]
    key = psd.PsdKey.LAYER_16 if kept.pixels.dtype == np.uint16 else psd.PsdKey.LAYER
    source = psd.TiffImageSourceData(
        psdformat=psd.PsdFormat.LE32BIT,
        layers=psd.PsdLayers(key, layers, has_transparency=kept.pixels.shape[2] == 4),
        usermask=psd.PsdUserMask(psd.PsdColorSpaceType.RGB, (65535, 0, 0, 0), 50),
    )
    return encoded_tiff(kept.pixels, kept.carried.into("TIFF"), {_LAYERS_TAG: source.tobytes()})
