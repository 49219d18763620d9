"""Two images, pixel by pixel: registration, tones, the detected change, masks, and the composite.

Belongs here: the steps of `keep` and `check`, for those that measure or show them one by one.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.pixels.analysis import SeparateChange as SeparateChange
    from latentedit.pixels.change import LOCAL as LOCAL
    from latentedit.pixels.change import Found as Found
    from latentedit.pixels.composite import composited as composited
    from latentedit.pixels.differing import difference as difference
    from latentedit.pixels.masks import around as around
    from latentedit.pixels.masks import faded_at_cuts as faded_at_cuts
    from latentedit.pixels.masks import mask_of as mask_of
    from latentedit.pixels.masks import opaque_bounds as opaque_bounds
    from latentedit.pixels.masks import read_boxes as read_boxes
    from latentedit.pixels.registration import Registration as Registration
    from latentedit.pixels.registration import distance_px as distance_px
    from latentedit.pixels.tones import PATCHES as PATCHES
    from latentedit.pixels.tones import fit_sharpening as fit_sharpening
    from latentedit.pixels.tones import fit_tones as fit_tones

__getattr__, __dir__, __all__ = exports(__name__)
