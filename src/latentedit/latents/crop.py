"""Crops: boxes in which a model sees its subject framed as in training, and how changes return to the picture."""

import abc
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from latentedit.core.plugins import FRAMERS
from latentedit.models.base import Backbone

# Left, top, width and height in a picture's own pixels; it may reach beyond the picture.
Box = tuple[int, int, int, int]

_FADE = 1 / 16  # width of the cross-fade at a box's border, as a share of the box's side: narrow, yet no seam
_RIM = 1 / 8  # width of the border strip whose change is extended beyond the box, as a share of the box's side
_ALIKE = 0.04  # standard deviation of colours that count as equal, of a range of 1: about 10 of 255 levels
_REACH = 0.25  # standard deviation of the distance of the extension, as a share of the box's side
_STRIDE = 4  # only every fourth pixel of the strip is used, for speed


class Framer(abc.ABC):
    """Finds the subject of a picture that is framed differently from the model's training pictures.

    Laws:
        1. ``boxes(images)[i]`` equals ``boxes(images[i : i + 1])[0]``.
        2. ``boxes`` is deterministic.
        3. A picture that is framed as in training has no box.
    """

    @abc.abstractmethod
    def boxes(self, images: Sequence[Image.Image]) -> list[Box | None]:
        """The box of each RGB picture in which its subject is framed as in training; None for the entire picture."""

    def sees(self, images: Sequence[Image.Image]) -> list[bool]:
        """Whether each RGB picture shows a subject of the model's kind; true for all by default."""
        return [True] * len(images)


def framer_for(backbone: Backbone) -> Framer | None:
    """The framer named in the model's folder (``"framer": NAME`` in ``latentedit.json``), or None."""
    name: str | None = backbone.defaults.get("framer")
    return None if name is None else FRAMERS.make(name, Framer, backbone)


def cut(image: Image.Image, box: Box) -> Image.Image:
    """The part of a picture in a box, at its own size; beyond the picture, its edges are repeated."""
    left, top, width, height = box
    columns = np.arange(left, left + width).clip(0, image.width - 1)
    rows = np.arange(top, top + height).clip(0, image.height - 1)
    return Image.fromarray(np.asarray(image)[rows[:, None], columns])


def put_back(
    change: Float[Tensor, "c h w"], image: Image.Image, box: Box
) -> Iterator[Float[Tensor, "picture_h picture_w"]]:
    """A change of the content of a box, at any size, as a change of the RGB picture, one channel after the other.

    Where the picture continues beyond the box, the change fades over the last sixteenth of the box into that of
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
    """Extend a change beyond its border along equal colours: a garment that turned red is red outside the box, too.

    A joint bilateral filter: with p a pixel outside, q some of the pixels of the change's rim, g colours, x positions,

        change(p) = sum_q w(p, q) change(q) / (1 + sum_q w(p, q))
        w(p, q) = exp(-|g(p) - g(q)|^2 / 2 a^2 - |x(p) - x(q)|^2 / 2 b^2)

    so that a colour that the rim does not have gets no change (Petschnigg et al. 2004). ``guide`` has the colours in
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
        rows.append(weights @ rim_change / (1 + weights.sum(1, keepdim=True)))
    carried = torch.zeros(len(change), *guide.shape[1:])
    carried[:, extended] = torch.cat(rows).T
    return carried


def _beyond(start: int, length: int, side: int) -> tuple[int, int]:
    """How far the picture continues before and after a box, at most half of the box."""
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
    """The part of a box inside the picture, with zeros around it."""
    left, top, width, height = box
    canvas = torch.zeros(size[1], size[0], dtype=plane.dtype)
    rows = slice(max(top, 0), min(top + height, size[1]))
    columns = slice(max(left, 0), min(left + width, size[0]))
    canvas[rows, columns] = plane[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return canvas


def _faded(box: Box, size: tuple[int, int]) -> Float[Tensor, "bh bw"]:
    """Weights of a box: 1, and falling to 0 over the last sixteenth where the picture continues."""
    return _fade(box[1], box[3], size[1])[:, None] * _fade(box[0], box[2], size[0])


def _fade(start: int, length: int, side: int) -> Float[Tensor, "length"]:
    position = torch.arange(length, dtype=torch.float32) + 0.5
    weight = torch.ones(length)
    if start > 0:
        weight = torch.minimum(weight, position / (_FADE * length))
    if start + length < side:
        weight = torch.minimum(weight, (length - position) / (_FADE * length))
    return weight
