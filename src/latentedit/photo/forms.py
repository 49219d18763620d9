"""Gray images, palettes and one-bit pages: the form that an original had, and a result that still fits in it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit.photo.color import Pixels
from latentedit.photo.images import PixelImage
from latentedit.photo.warp import spread

_MOST_CHROMA = 4  # levels of 255 between the channels of a pixel: what JPEG leaves in gray
_MOST_COLORS = 256
_FORMS = {  # forms that each format can hold
    "PNG": ("gray", "bilevel", "palette"), "TIFF": ("gray", "bilevel"), "JPEG": ("gray", "bilevel"), "JXL": ("gray",),
}  # fmt: skip


def in_its_form(image: PixelImage, kind: str) -> Image.Image | None:
    """The pixels as the original stored them, of mode 1, L, LA, I;16 or P; None if they do not fit, or it was color."""
    carried, pixels = image.carried, image.pixels
    form = carried.form
    if form not in _FORMS.get(kind, ()):
        return None
    if form == "palette":
        return _with_palette(pixels, carried.palette)
    # A file of one channel cannot hold a profile for colors.
    is_colored = carried.colors.icc_profile and not carried.gray_profile
    if is_colored or (plane := _gray(pixels)) is None:
        return None
    if pixels.shape[2] == 4:
        return Image.fromarray(np.dstack([plane, pixels[..., 3]])) if pixels.dtype == np.uint8 else None
    if form == "bilevel" and kind != "JPEG" and pixels.dtype == np.uint8 and ((plane == 0) | (plane == 255)).all():
        return Image.fromarray(plane == 255)
    return Image.fromarray(plane)


def _gray(pixels: Pixels) -> NDArray[np.uint8] | NDArray[np.uint16] | None:
    """The one channel of pixels without color."""
    colors = pixels[..., :3]
    apart = int(spread(colors).max(initial=0))
    if apart > _MOST_CHROMA * (np.iinfo(pixels.dtype).max // 255):
        return None
    if apart == 0:
        return np.ascontiguousarray(colors[..., 0])
    return np.rint(colors.mean(axis=2, dtype=np.float32)).astype(pixels.dtype)


def _with_palette(pixels: Pixels, palette: tuple[tuple[int, ...], ...]) -> Image.Image | None:
    """An image of at most 256 colors: those of the palette first, in its order, then the new ones."""
    if pixels.dtype != np.uint8:
        return None
    colors = pixels if pixels.shape[2] == 4 else np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    packed = np.ascontiguousarray(colors).view(np.uint32)[..., 0]
    used, places = np.unique(packed, return_inverse=True)
    own = np.array(palette, dtype=np.uint8).reshape(-1, 4).view(np.uint32)[:, 0]
    entries = np.concatenate([own, used[~np.isin(used, own)]])
    if len(entries) > _MOST_COLORS:  # unused entries give way
        entries = np.concatenate([own[np.isin(own, used)], used[~np.isin(used, own)]])
    if len(entries) > _MOST_COLORS or not len(entries):
        return None
    order = np.argsort(entries, kind="stable")
    numbers = order[np.searchsorted(entries[order], used)].astype(np.uint8)
    image = Image.fromarray(numbers[places.reshape(packed.shape)], "P")
    listed = entries.view(np.uint8).reshape(-1, 4)
    image.putpalette(listed[:, :3].tobytes())
    if (listed[:, 3] < 255).any():
        image.info["transparency"] = listed[:, 3].tobytes()
    return image
