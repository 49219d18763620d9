"""Two images, pixel by pixel: registration, tones, the detected change, masks, and the composite.

Belongs here: the steps of `keep` and `check`, for those that measure or show them one by one.
"""

from typing import TYPE_CHECKING

from latentedit_keep.base.names import exports

if TYPE_CHECKING:
    from latentedit_keep.pixels.analysis import SeparateChange as SeparateChange
    from latentedit_keep.pixels.change import LOCAL as LOCAL
    from latentedit_keep.pixels.change import Found as Found
    from latentedit_keep.pixels.composite import composited as composited
    from latentedit_keep.pixels.differing import difference as difference
    from latentedit_keep.pixels.masks import around as around
    from latentedit_keep.pixels.masks import faded_at_cuts as faded_at_cuts
    from latentedit_keep.pixels.masks import mask_of as mask_of
    from latentedit_keep.pixels.masks import opaque_bounds as opaque_bounds
    from latentedit_keep.pixels.masks import read_boxes as read_boxes
    from latentedit_keep.pixels.registration import Registration as Registration
    from latentedit_keep.pixels.registration import distance_px as distance_px
    from latentedit_keep.pixels.tones import PATCHES as PATCHES
    from latentedit_keep.pixels.tones import fit_sharpening as fit_sharpening
    from latentedit_keep.pixels.tones import fit_tones as fit_tones

__getattr__, __dir__, __all__ = exports(__name__)
