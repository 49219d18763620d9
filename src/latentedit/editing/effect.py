"""The effect of an edit on an image: what changed, and what did not."""

import dataclasses
import functools
import math
from collections.abc import Mapping

from PIL import Image, ImageChops

from latentedit.core.errors import Hinted, ShapeError
from latentedit.encoding.images import SourceImage

CHANGED_LEVELS = 8  # a pixel counts as changed when a channel moves by more than this many of 255 levels


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Effect(Hinted):
    """The effect of an edit on an image, measured on 8-bit pixels at its own size.

    Args:
        changed_share: share of pixels of which a color channel moved by more than 8/255, in [0, 1].
        change_rms: root mean square of the change of those pixels, where white is 1; 0 where there are none.
        rest_psnr_db: PSNR of the other pixels in dB; infinite where they are identical, or where none is left.
        read_before: attribute to value as the model's reader sees the source; None where there is no reader.
        read_after: the same for the edited image; None, too, where a strength lies between 0 and 1, or 0 and -1.
    """

    changed_share: float
    change_rms: float
    rest_psnr_db: float
    read_before: Mapping[str, str] | None = None
    read_after: Mapping[str, str] | None = None

    @property
    def size_text(self) -> str:
        """Share of the pixels that changed, and by how much."""
        share, rms = 100 * self.changed_share, 100 * self.change_rms
        return f"{share:.1f} % of pixels changed by more than {CHANGED_LEVELS} levels, RMS change {rms:.0f} %"

    @property
    def rest_text(self) -> str:
        """Agreement of the other pixels."""
        if math.isinf(self.rest_psnr_db):
            return "every other pixel is unchanged"
        return f"rest of the image: {self.rest_psnr_db:.0f} dB PSNR"


def measure_effect(source: Image.Image, edited: Image.Image) -> Effect:
    """Compare two images of one size in sRGB, as they are seen: transparent parts on white."""
    if source.size != edited.size:
        raise ShapeError(f"images of different sizes cannot be compared; got {source.size} and {edited.size}")
    before, after = (SourceImage(image=image).on_white() for image in (source, edited))
    difference = ImageChops.difference(before, after)
    largest = functools.reduce(ImageChops.lighter, difference.split())
    changed = largest.point([0] * (CHANGED_LEVELS + 1) + [255] * (255 - CHANGED_LEVELS))
    pixels, count, change = source.width * source.height, changed.histogram()[255], _squares(difference, changed)
    rest = _squares(difference) - change
    error = rest / (3 * (pixels - count)) / 255**2 if rest else 0.0
    return Effect(
        changed_share=count / pixels,
        change_rms=math.sqrt(change / (3 * count)) / 255 if count else 0.0,
        rest_psnr_db=-10 * math.log10(error) if error > 0 else math.inf,
    )


def _squares(difference: Image.Image, mask: Image.Image | None = None) -> int:
    """The sum of the squares of all channels of an RGB image, in levels, or of those of a part of its pixels."""
    return sum([count * (level % 256) ** 2 for level, count in enumerate(difference.histogram(mask))])
