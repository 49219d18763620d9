"""Directions: found from text or by geometry, composed, transferred to other images, saved in files."""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.directions.composition import compose as compose
    from latentedit.directions.composition import cross_talk as cross_talk
    from latentedit.directions.composition import transferred as transferred
    from latentedit.directions.description import describe as describe
    from latentedit.directions.direction import Direction as Direction
    from latentedit.directions.direction import EffectCalibration as EffectCalibration
    from latentedit.directions.hsds import HSDS as HSDS
    from latentedit.directions.identification import find_direction as find_direction
    from latentedit.geometry.local_basis import LocalBasis as LocalBasis
    from latentedit.latents.encode import text_direction as text_direction

__getattr__, __dir__, __all__ = exports(__name__)
