"""Images as a model sees them: framed as in training, at its size, with masks; and how changes return to them."""

import abc
import dataclasses
import functools
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from latentedit.core.errors import ShapeError
from latentedit.core.plugins import FRAMERS
from latentedit.models.base import Backbone
from latentedit.models.capabilities import Capabilities
from latentedit.photo.carried import Carried
from latentedit.photo.color import Colors, put_on, shown
from latentedit.photo.images import ImageInput, fingerprint_of, read_image, read_pixels
from latentedit.photo.saving import check_output, save_image
from latentedit.pixels.masks import bounds_of

# Left, top, width and height in an image's own pixels; it may reach beyond the image.
Box = tuple[int, int, int, int]
MaskLike = ImageInput

__all__ = ["Frame", "MaskLike", "SourceImage", "check_output", "open_mask", "preview_of", "save_image"]

_PREVIEW_PX = 128  # longest side of each image in a preview
_STRIP_PIXELS = 1_000_000  # pixels of a strip, for steps that take many bytes a pixel
_FADE = 1 / 16  # width of the cross-fade at a box's border, as a share of the box's side: narrow, yet no seam
_RIM = 1 / 8  # width of the border strip whose change is extended beyond the box, as a share of the box's side
_ALIKE = 0.04  # standard deviation of colors that count as equal, of a range of 1: about 10 of 255 levels
_REACH = 0.25  # standard deviation of the distance of the extension, as a share of the box's side
_FINER = 2  # pixels of an image for each that the model sees, from which detail is visibly lost
_STRIDE = 4  # only every fourth pixel of the strip is used, for speed


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SourceImage:
    """The user's image."""

    image: Image.Image  # upright, first frame, 8-bit RGB or RGBA, at its own size and in its own color space
    path: Path | None = None

    @classmethod
    def open(cls, path: str | Path, *, content: bytes | None = None) -> "SourceImage":
        """Read a file (or its content) of any usual kind: EXIF-rotated, transparent, gray, CMYK, 16-bit, animated."""
        return cls(image=read_image(path, content=content), path=Path(path))

    @classmethod
    def from_image(cls, image: ImageInput) -> "SourceImage":
        """Take an image of any kind and mode, turned upright by its EXIF tag; it is not changed."""
        return cls(image=read_image(image, "the image"))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    @property
    def notes(self) -> tuple[str, ...]:
        """Parts of its file that the image lacks, one clause each."""
        return Carried.of(self.image.info).notes

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the pixels, their size and mode, whatever the file format."""
        return fingerprint_of(self.image)

    def on_white(self) -> Image.Image:
        """The image in sRGB, transparent parts on white."""
        image = shown(self.image)
        if image.mode == "RGB":
            return image
        made = Image.new("RGB", self.size)
        for strip in strips(self.size):
            above = image.crop(strip)
            white = Image.new("RGBA", above.size, (255, 255, 255, 255))
            made.paste(Image.alpha_composite(white, above).convert("RGB"), strip)
        return made

    def fit(self, capabilities: Capabilities, *, region: Box | None = None, mask: MaskLike | None = None) -> "Frame":
        """Scale the image, or a region chosen by a `Framer`, to the model's size, with its edges repeated outwards.

        A model of one size gets that square; any other gets about its preferred area in the image's proportions,
        sides rounded to ``size_multiple`` and kept within the model's range. Transparent parts are shown on white.
        """
        allowed = None if mask is None else open_mask(mask, self.size)
        scaled = self.on_white() if region is None else cut(self.on_white(), region)
        canvas = _canvas(scaled.size, capabilities)
        scale = min(canvas[0] / scaled.width, canvas[1] / scaled.height)
        width, height = (max(1, min(side, round(own * scale))) for side, own in zip(canvas, scaled.size, strict=True))
        left, top = (canvas[0] - width) // 2, (canvas[1] - height) // 2
        if scaled.size != (width, height):
            scaled = scaled.resize((width, height), Image.Resampling.LANCZOS)
        margins = ((top, canvas[1] - height - top), (left, canvas[0] - width - left), (0, 0))
        padded = np.pad(np.asarray(scaled), margins, mode="edge")
        pixels = torch.from_numpy(padded).permute(2, 0, 1).to(torch.float32) / 127.5 - 1
        return Frame(image=self, pixels=pixels, box=(left, top, width, height), region=region, allowed=allowed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """An image at a model's size, with the position from which changes are restored.

    Laws:
        1. ``restore`` of a zero change gives back the image, bit for bit, whatever its size and mode.
        2. ``restore`` keeps size and alpha, and changes no pixel that is fully transparent or not allowed to change.
    """

    image: SourceImage
    pixels: Float[Tensor, "3 h w"]  # for the model, in [-1, 1]
    box: Box  # position of the image in ``pixels``; around it are repeated edges
    region: Box | None = None  # the part of the image in that box, in the image's pixels; None is all of it
    allowed: NDArray[np.uint8] | None = None  # share of a change that each pixel takes, of 255; None is all of it

    @property
    def notes(self) -> tuple[str, ...]:
        """Parts of its file that the image lacks, and detail that the model does not see, one clause each."""
        _, _, width, height = self.box
        own_width, own_height = self.image.size if self.region is None else self.region[2:]
        if own_width * own_height < _FINER * width * height:
            return self.image.notes
        size = f"edited at {width} x {height} px, {own_width / width:.1f} times smaller than the image"
        return (*self.image.notes, f"{size}: what changes has no finer detail, all else keeps its own")

    def restore(self, change: Float[Tensor, "3 h w"]) -> Image.Image:
        """The image plus a change (edited minus source as the model decodes them, in sRGB), at its own size.

        Only the change is resized and brought into the image's own color space, so that every pixel that the model
        did not change stays: a change below half a level (1/255 of [-1, 1]) leaves the image bit for bit.
        """
        assert change.shape == self.pixels.shape
        if not bool(torch.isfinite(change).all()):
            raise ShapeError("the change has values that are not finite. Use a smaller strength, or float32")
        left, top, width, height = self.box
        inner = change[:, top : top + height, left : left + width].detach().to("cpu", torch.float32)
        restored = np.array(shown(self.image.image))
        transparent = restored.shape[2] == 4
        if self.region is None:
            planes: Iterator[Tensor] = (resize(plane, self.image.size) for plane in inner)
        else:
            planes = put_back(inner, self.image.on_white(), self.region)
        for channel, plane in enumerate(planes):  # one at a time: a large photograph is a gigabyte
            for _, top, _, bottom in strips(self.image.size):
                rows = restored[top:bottom]
                levels = 127.5 * plane[top:bottom].numpy()
                # Pixels hidden by transparency stay, even if the model changed them.
                if transparent:
                    levels = levels * (rows[..., 3] > 0)
                if self.allowed is not None:
                    levels = levels * (self.allowed[top:bottom] / np.float32(255))
                rows[..., channel] = np.rint(rows[..., channel] + levels).clip(0, 255)
        image = Image.fromarray(self._in_own_colors(restored))
        image.info = dict(self.image.image.info)
        return image

    def _in_own_colors(self, edited: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An edited sRGB image in the original's color space; unchanged pixels are those of the original."""
        space = Colors.of(self.image.image.info).space
        if space is None:
            return edited
        own, seen = np.array(self.image.image), np.asarray(shown(self.image.image))
        for _, top, _, bottom in strips(self.image.size):
            rows, changed = own[top:bottom, :, :3], edited[top:bottom, :, :3]
            blended = np.rint(rows + put_on(rows, changed.astype(np.float32), space)).clip(0, 255)
            # Only every pixel that the edit changed: the way through sRGB and back would round all others.
            rows[:] = np.where((changed != seen[top:bottom, :, :3]).any(axis=2, keepdims=True), blended, rows)
        return own


def _canvas(size: tuple[int, int], capabilities: Capabilities) -> tuple[int, int]:
    """Width and height for the model of an image of this size."""
    smallest, preferred, largest = capabilities.sizes
    if smallest == largest:
        return preferred, preferred
    multiple = capabilities.size_multiple
    scale = preferred / math.sqrt(size[0] * size[1])
    low, high = math.ceil(smallest / multiple), max(1, largest // multiple)
    width, height = (multiple * min(max(round(side * scale / multiple), low), high) for side in size)
    return width, height


def strips(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Boxes of complete rows (left, top, right, bottom) of an image, for steps that take many bytes a pixel."""
    width, height = size
    rows = max(1, _STRIP_PIXELS // width)
    return [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]


def preview_of(images: Sequence[Image.Image]) -> bytes:
    """Small copies of images of one size, side by side on white, as a PNG file."""
    small = [SourceImage(image=image).on_white().copy() for image in images]
    for image in small:
        image.thumbnail((_PREVIEW_PX, _PREVIEW_PX), Image.Resampling.LANCZOS)
    width, height = small[0].size
    strip = Image.new("RGB", (width * len(small), height))
    for index, image in enumerate(small):
        strip.paste(image, (index * width, 0))
    file = io.BytesIO()
    strip.save(file, format="PNG", optimize=True)
    return file.getvalue()


def open_mask(mask: MaskLike, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """A mask as levels ``[height, width]``, 255 where the image may change and 0 where not; softened inwards.

    No pixel outside the mask ever changes; inside, the change grows to its full size within about a fiftieth of the
    image's shorter side from the edge, and narrower parts let nothing through. Gray lets a part of the change
    through. The border of the image is not an edge. Masks are those of `keep`: a warning names what counts where that
    is not white. None if all of the image may change.
    """
    allowed, convention = bounds_of(read_pixels(mask, "the mask"), size)
    if convention:
        warnings.warn(convention, stacklevel=2)
    return None if allowed.min() == 1 else np.rint(255 * allowed).astype(np.uint8)


class Framer(abc.ABC):
    """Finds the subject of an image that is framed differently from the model's training images.

    Laws:
        1. ``boxes(images)[i]`` equals ``boxes(images[i : i + 1])[0]``.
        2. ``boxes`` is deterministic.
        3. An image that is framed as in training has no box.
    """

    @abc.abstractmethod
    def boxes(self, images: Sequence[Image.Image]) -> list[Box | None]:
        """The box of each RGB image in which its subject is framed as in training; None for the entire image."""

    def sees(self, images: Sequence[Image.Image]) -> list[bool]:
        """Whether each RGB image shows a subject of the model's kind; true for all by default."""
        return [True] * len(images)


def framer_for(backbone: Backbone) -> Framer | None:
    """The framer named in the model's folder (``"framer": NAME`` in ``latentedit.json``), or None."""
    name: str | None = backbone.defaults.get("framer")
    return None if name is None else FRAMERS.make(name, Framer, backbone)


def cut(image: Image.Image, box: Box) -> Image.Image:
    """The part of an image in a box, at its own size; beyond the image, its edges are repeated."""
    left, top, width, height = box
    columns = np.arange(left, left + width).clip(0, image.width - 1)
    rows = np.arange(top, top + height).clip(0, image.height - 1)
    return Image.fromarray(np.asarray(image)[rows[:, None], columns])


def put_back(
    change: Float[Tensor, "c h w"], image: Image.Image, box: Box
) -> Iterator[Float[Tensor, "image_h image_w"]]:
    """A change of the content of a box, at any size, as a change of the RGB image, one channel after the other.

    Where the image continues beyond the box, the change fades over the last sixteenth of the box into that of
    `carry_on`, so that there is no seam; half a box further out it has faded to zero. A change of zero stays zero.
    """
    width, height = change.shape[2], change.shape[1]
    left, right = _beyond(box[0], box[2], image.width)
    top, bottom = _beyond(box[1], box[3], image.height)
    wide = (box[0] - left, box[1] - top, left + box[2] + right, top + box[3] + bottom)
    before, after = (round(side * width / box[2]) for side in (left, right))
    above, below = (round(side * height / box[3]) for side in (top, bottom))
    around_it = cut(image, wide).resize((before + width + after, above + height + below), Image.Resampling.BOX)
    guide = torch.from_numpy(np.asarray(around_it).transpose(2, 0, 1) / np.float32(255))
    carried = carry_on(change, guide, (above, before))
    inside = _placed(_faded(box, image.size), box, image.size)
    around = (1 - inside) * _placed(_faded(wide, image.size), wide, image.size)
    for plane, beyond in zip(change, carried, strict=True):
        within = _placed(resize(plane, box[2:]), box, image.size)
        yield inside * within + around * _placed(resize(beyond, wide[2:]), wide, image.size)


def carry_on(
    change: Float[Tensor, "c h w"], guide: Float[Tensor, "3 h2 w2"], corner: tuple[int, int]
) -> Float[Tensor, "c h2 w2"]:
    """Extend a change beyond its border along equal colors: a garment that turned red is red outside the box, too.

    A joint bilateral filter: with p a pixel outside, q some of the pixels of the change's rim, g colors, x positions,

        change(p) = sum_q w(p, q) change(q) / (1 + sum_q w(p, q))
        w(p, q) = exp(-|g(p) - g(q)|^2 / 2 a^2 - |x(p) - x(q)|^2 / 2 b^2)

    so that a color that the rim does not have gets no change (Petschnigg et al. 2004). ``guide`` has the colors in
    [0, 1] of the box and its surroundings, and ``change`` begins at its row and column ``corner``. The extension has
    the size of the guide, and is zero inside the box except for its rim.
    """
    height, width = change.shape[1:]
    y, x = torch.meshgrid(
        torch.arange(guide.shape[1]) - corner[0], torch.arange(guide.shape[2]) - corner[1], indexing="ij"
    )
    positions = torch.stack([y / height, x / width]).to(guide) / _REACH
    features = torch.cat([guide / _ALIKE, positions])
    depth = torch.minimum(_depth(y, height), _depth(x, width))
    rim = (depth >= 0) & (depth < _RIM) & (y % _STRIDE == 0) & (x % _STRIDE == 0)
    extended = depth < _FADE
    rim_change = change[:, y[rim], x[rim]].T
    rows: list[Tensor] = []
    for chunk in features[:, extended].T.split(4096):
        weights = torch.cdist(chunk, features[:, rim].T).square().mul(-0.5).exp()
        # The sum begins at 1, so that a color that the rim does not have gets no change.
        rows.append(weights @ rim_change / (1 + weights.sum(1, keepdim=True)))
    carried = torch.zeros(len(change), *guide.shape[1:])
    carried[:, extended] = torch.cat(rows).T
    return carried


def _beyond(start: int, length: int, side: int) -> tuple[int, int]:
    """How far the image continues before and after a box, at most half of the box."""
    return min(max(start, 0), length // 2), min(max(side - start - length, 0), length // 2)


def _depth(position: Tensor, length: int) -> Tensor:
    """The distance of a position from the ends of a length, in lengths; negative outside."""
    return torch.minimum(position, length - 1 - position) / length


def resize(plane: Float[Tensor, "h w"], size: tuple[int, int]) -> Float[Tensor, "h2 w2"]:
    """A plane at another width and height: bicubic, with a wider kernel where it shrinks."""
    if (plane.shape[1], plane.shape[0]) == size:
        return plane
    return functional.interpolate(plane[None, None], size=(size[1], size[0]), mode="bicubic", antialias=True)[0, 0]


def _placed(plane: Float[Tensor, "bh bw"], box: Box, size: tuple[int, int]) -> Float[Tensor, "h w"]:
    """The part of a box inside the image, with zeros around it."""
    left, top, width, height = box
    canvas = torch.zeros(size[1], size[0], dtype=plane.dtype)
    rows = slice(max(top, 0), min(top + height, size[1]))
    columns = slice(max(left, 0), min(left + width, size[0]))
    canvas[rows, columns] = plane[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return canvas


def _faded(box: Box, size: tuple[int, int]) -> Float[Tensor, "bh bw"]:
    """Weights of a box: 1, and falling to 0 over the last sixteenth where the image continues."""
    return _fade(box[1], box[3], size[1])[:, None] * _fade(box[0], box[2], size[0])


def _fade(start: int, length: int, side: int) -> Float[Tensor, "length"]:
    position = torch.arange(length, dtype=torch.float32) + 0.5
    weight = torch.ones(length)
    if start > 0:
        weight = torch.minimum(weight, position / (_FADE * length))
    if start + length < side:
        weight = torch.minimum(weight, (length - position) / (_FADE * length))
    return weight
