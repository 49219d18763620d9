"""Photographs: what a file holds, its colors, and geometry on pixels.

Belongs here: what reads, writes and resamples one image, and knows nothing of a second.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.photo.color import Colors as Colors
    from latentedit.photo.color import GrayValues as GrayValues
    from latentedit.photo.color import Pixels as Pixels
    from latentedit.photo.color import levels as levels
    from latentedit.photo.images import MAX_IMAGE_BYTES as MAX_IMAGE_BYTES
    from latentedit.photo.images import PixelImage as PixelImage
    from latentedit.photo.images import content_of as content_of
    from latentedit.photo.images import read_image as read_image
    from latentedit.photo.saving import save_image as save_image
    from latentedit.photo.warp import Array as Array
    from latentedit.photo.warp import Mask as Mask
    from latentedit.photo.warp import Matrix as Matrix
    from latentedit.photo.warp import depth_inside as depth_inside
    from latentedit.photo.warp import largest as largest
    from latentedit.photo.warp import resized as resized
    from latentedit.photo.warp import scaling as scaling
    from latentedit.photo.warp import smoothed as smoothed
    from latentedit.photo.warp import translation as translation
    from latentedit.photo.warp import warped as warped

__getattr__, __dir__, __all__ = exports(__name__)
