"""Identify, the second step of EIM: a direction that changes one attribute, from texts.

The search is in `hsds`, with its `residuals`, its `filters` by curvature and the `locality` of a change. `HSDS`,
`Direction` and `identify` are in `latentedit`.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.identification.composition import compose as compose
    from latentedit.identification.composition import cross_talk as cross_talk
    from latentedit.identification.composition import transferred as transferred
    from latentedit.identification.description import describe as describe
    from latentedit.identification.direction import EffectCalibration as EffectCalibration
    from latentedit.identification.direction import clean_share as clean_share
    from latentedit.identification.hsds import find_direction as find_direction
    from latentedit.identification.locality import change_share as change_share
    from latentedit.identification.locality import composed_change as composed_change
    from latentedit.identification.locality import dropped_residual as dropped_residual
    from latentedit.identification.locality import local_change as local_change

__getattr__, __dir__, __all__ = exports(__name__)
