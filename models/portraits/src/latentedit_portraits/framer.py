"""The framer of `portraits`: a small CNN that locates the standard crop, applied until the crop no longer moves."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from latentedit import Backbone
from latentedit.encoding import Box, Framer, cut
from latentedit.numerics import seeded
from latentedit_portraits.classifiers import ImageNetwork, StoredNetwork, to_pixels

VIEW_SIZE = 64
"""Side of the CNN's input in pixels: enough to locate a head."""

_WORKING_SIDE_PX = 512  # larger images are downscaled first
_MAX_PASSES = 4
_MAX_LOG_ZOOM = 2.0  # larger predictions are implausible and count as no portrait
_STANDARD = (0.04, 0.12)  # largest shift (in image sides) and log zoom at which a portrait is framed as in training


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Square:
    """A square region of an image, in pixels: its corner and side."""

    left: float
    top: float
    side: float

    @property
    def box(self) -> Box:
        return round(self.left), round(self.top), max(1, round(self.side)), max(1, round(self.side))

    def scaled(self, scale: float) -> "_Square":
        """The same region of an image that is ``scale`` times as large."""
        return _Square(left=self.left * scale, top=self.top * scale, side=self.side * scale)

    def standard_crop(self, shift_x: float, shift_y: float, log_zoom: float) -> "_Square":
        """The standard crop of a portrait with this shift and zoom in the region."""
        side = self.side * math.exp(log_zoom)
        left = self.left + (0.5 + shift_x) * self.side - side / 2
        top = self.top + (0.5 + shift_y) * self.side - side / 2
        return _Square(left=left, top=top, side=side)


class PortraitFramer(StoredNetwork, Framer):
    """Finds the crop in which a portrait is framed as in the model's training images.

    The network sees the full image, then the crop that it predicted, until that is the standard crop. If it sees no
    portrait, or has not converged after `_MAX_PASSES`, the full image is used.
    """

    kind = "framer"
    model = "portraits"

    @classmethod
    def build(cls, seed: int) -> ImageNetwork:
        with seeded(seed):  # outputs: two shifts, log zoom, logit that the image shows a portrait
            return ImageNetwork(4, side=VIEW_SIZE, widths=(24, 48, 72, 96), hidden=128)

    def boxes(self, images: Sequence[Image.Image]) -> list[Box | None]:
        return [self._framed(image)[0] for image in images]

    def sees(self, images: Sequence[Image.Image]) -> list[bool]:
        return [self._framed(image)[1] for image in images]

    def _framed(self, image: Image.Image) -> tuple[Box | None, bool]:
        """The crop, or None for the full image, and whether it shows a portrait."""
        scale = max(1.0, max(image.size) / _WORKING_SIDE_PX)
        small = image.resize(
            (math.ceil(image.width / scale), math.ceil(image.height / scale)), Image.Resampling.LANCZOS
        )
        side = float(max(small.size))
        square = _Square(left=(small.width - side) / 2, top=(small.height - side) / 2, side=side)
        for index in range(_MAX_PASSES):
            shift_x, shift_y, log_zoom, portrait = self._predict(small, square)
            if portrait < 0 or abs(log_zoom) > _MAX_LOG_ZOOM:
                return None, portrait >= 0
            square = square.standard_crop(shift_x, shift_y, log_zoom)
            if max(abs(shift_x), abs(shift_y)) < _STANDARD[0] and abs(log_zoom) < _STANDARD[1]:
                return (square.scaled(scale).box if index else None), True
        return None, True

    @torch.no_grad()
    def _predict(self, image: Image.Image, square: _Square) -> list[float]:
        """The network's outputs for a region: two shifts, log zoom, logit."""
        view = cut(image, square.box).resize((VIEW_SIZE, VIEW_SIZE), Image.Resampling.LANCZOS)
        device = next(self.network.parameters()).device
        return self.network(to_pixels(np.asarray(view)[None], device))[0].tolist()


def framer_for(backbone: Backbone) -> PortraitFramer:
    """The entry point ``portraits`` of ``latentedit.framers``: the framer of the bundled model."""
    del backbone
    return PortraitFramer.bundled()
