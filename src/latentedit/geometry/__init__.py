"""Geometry of latent spaces (arXiv 2302.12469, 2307.12868): subspaces, means, global directions, transport, curves.

`LocalBasis` and `local_basis`, the basis of the pullback metric, are in `latentedit`, and so are `discover` and
`transport`.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.geometry.curves import curve_energy as curve_energy
    from latentedit.geometry.curves import curve_length as curve_length
    from latentedit.geometry.curves import lerp as lerp
    from latentedit.geometry.curves import semantic_lengths as semantic_lengths
    from latentedit.geometry.curves import shortest_curve as shortest_curve
    from latentedit.geometry.curves import slerp as slerp
    from latentedit.geometry.curves import speeds as speeds
    from latentedit.geometry.global_basis import GlobalDirections as GlobalDirections
    from latentedit.geometry.global_basis import agreement as agreement
    from latentedit.geometry.global_basis import global_directions as global_directions
    from latentedit.geometry.means import chordal_mean as chordal_mean
    from latentedit.geometry.means import karcher_mean as karcher_mean
    from latentedit.geometry.naming import LEAST_CHANGE as LEAST_CHANGE
    from latentedit.geometry.naming import ProbabilityReader as ProbabilityReader
    from latentedit.geometry.naming import meaning_of as meaning_of
    from latentedit.geometry.papers import PaperSettings as PaperSettings
    from latentedit.geometry.papers import paper_guidance as paper_guidance
    from latentedit.geometry.papers import settings_of as settings_of
    from latentedit.geometry.paths import LatentPath as LatentPath
    from latentedit.geometry.paths import PathsBetween as PathsBetween
    from latentedit.geometry.paths import TangentSpaces as TangentSpaces
    from latentedit.geometry.paths import paths_between as paths_between
    from latentedit.geometry.pca import feature_pca as feature_pca
    from latentedit.geometry.pullback import random_units as random_units
    from latentedit.geometry.shooting import geodesic_shooting as geodesic_shooting
    from latentedit.geometry.subspaces import exp_columns as exp_columns
    from latentedit.geometry.subspaces import geodesic_distance as geodesic_distance
    from latentedit.geometry.subspaces import log_columns as log_columns
    from latentedit.geometry.subspaces import principal_angles as principal_angles
    from latentedit.geometry.subspaces import random_level as random_level
    from latentedit.geometry.transport import TRANSPORT_DAMPING as TRANSPORT_DAMPING
    from latentedit.geometry.transport import pulled_back as pulled_back
    from latentedit.geometry.transport import transport_direction as transport_direction
    from latentedit.geometry.transport import transported as transported
    from latentedit.geometry.walks import TYPICAL_EFFECT as TYPICAL_EFFECT
    from latentedit.geometry.walks import LatentWalk as LatentWalk
    from latentedit.geometry.walks import Walk as Walk
    from latentedit.geometry.walks import effect_of as effect_of
    from latentedit.geometry.walks import step_lengths as step_lengths

__getattr__, __dir__, __all__ = exports(__name__)
