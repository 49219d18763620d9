"""The framer of `portraits`: a small CNN that sees where the standard crop lies, asked again until it lies still."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from latentedit.core.rng import seeded
from latentedit.latents.images import Box, Framer, cut
from latentedit.models.base import Backbone
from latentedit_portraits.worlds import ImageNetwork, StoredNetwork, to_pixels

VIEW_SIZE = 64
"""Side of a view in pixels: enough to see where a head is."""

_WORKING_SIDE_PX = 512  # larger images are shrunk before they are looked at
_LOOKS = 4  # at most
_FARTHEST = 2.0  # log zoom beyond which a look is not believed
_STANDARD = (0.04, 0.12)  # how far off, in sides of the image and in log zoom, a portrait is framed as in training


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Square:
    """A square of an image, in its pixels: the corner and the side."""

    left: float
    top: float
    side: float

    @property
    def box(self) -> Box:
        return round(self.left), round(self.top), max(1, round(self.side)), max(1, round(self.side))

    def times(self, scale: float) -> "_Square":
        """The same square of an image that is so many times as large."""
        return _Square(left=self.left * scale, top=self.top * scale, side=self.side * scale)

    def around(self, shift_x: float, shift_y: float, log_zoom: float) -> "_Square":
        """The standard square of a portrait that sits so in this one."""
        side = self.side * math.exp(log_zoom)
        left = self.left + (0.5 + shift_x) * self.side - side / 2
        top = self.top + (0.5 + shift_y) * self.side - side / 2
        return _Square(left=left, top=top, side=side)


class PortraitFramer(StoredNetwork, Framer):
    """Finds the square that shows a portrait as the model's training images do.

    It looks at the whole image, then at the square that it found, until a look says that the portrait sits as it
    should. Where one sees no portrait, or the last one still is not content, the whole image is taken.
    """

    kind = "framer"
    model = "portraits"

    @classmethod
    def build(cls, seed: int) -> ImageNetwork:
        """The untrained network: of a view's portrait two shifts, the log zoom, and the logit that there is one."""
        with seeded(seed):
            return ImageNetwork(4, side=VIEW_SIZE, widths=(24, 48, 72, 96), hidden=128)

    def boxes(self, images: Sequence[Image.Image]) -> list[Box | None]:
        """The standard square of each portrait that fills its image otherwise; see `Framer`."""
        return [self._framed(image)[0] for image in images]

    def sees(self, images: Sequence[Image.Image]) -> list[bool]:
        """Whether the last look at each image saw a portrait; see `Framer`."""
        return [self._framed(image)[1] for image in images]

    def _framed(self, image: Image.Image) -> tuple[Box | None, bool]:
        """The standard square, where there is one to be taken, and whether a portrait was seen."""
        scale = max(1.0, max(image.size) / _WORKING_SIDE_PX)
        small = image.resize(
            (math.ceil(image.width / scale), math.ceil(image.height / scale)), Image.Resampling.LANCZOS
        )
        side = float(max(small.size))
        square = _Square(left=(small.width - side) / 2, top=(small.height - side) / 2, side=side)
        for look in range(_LOOKS):
            shift_x, shift_y, log_zoom, portrait = self._look(small, square)
            if portrait < 0 or abs(log_zoom) > _FARTHEST:
                return None, portrait >= 0
            square = square.around(shift_x, shift_y, log_zoom)
            if max(abs(shift_x), abs(shift_y)) < _STANDARD[0] and abs(log_zoom) < _STANDARD[1]:
                return (square.times(scale).box if look else None), True
        return None, True

    @torch.no_grad()
    def _look(self, image: Image.Image, square: _Square) -> list[float]:
        """What the network sees in a square: shifts, log zoom, logit."""
        view = cut(image, square.box).resize((VIEW_SIZE, VIEW_SIZE), Image.Resampling.LANCZOS)
        device = next(self.network.parameters()).device
        return self.network(to_pixels(np.asarray(view)[None], device))[0].tolist()


def framer_for(backbone: Backbone) -> PortraitFramer:
    """The entry point ``portraits`` of ``latentedit.framers``: the framer that lies beside the bundled model."""
    del backbone
    return PortraitFramer.bundled()
