"""Geometry of latent spaces: subspaces, means, curves, local bases, PCA of features, transport and paths."""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.geometry.curves import curve_length as curve_length
    from latentedit.geometry.curves import lerp as lerp
    from latentedit.geometry.curves import shortest_curve as shortest_curve
    from latentedit.geometry.curves import slerp as slerp
    from latentedit.geometry.local_basis import LocalBasis as LocalBasis
    from latentedit.geometry.means import chordal_mean as chordal_mean
    from latentedit.geometry.means import karcher_mean as karcher_mean
    from latentedit.geometry.paths import paths_between as paths_between
    from latentedit.geometry.pca import feature_pca as feature_pca
    from latentedit.geometry.subspaces import exp_columns as exp_columns
    from latentedit.geometry.subspaces import geodesic_distance as geodesic_distance
    from latentedit.geometry.subspaces import log_columns as log_columns
    from latentedit.geometry.subspaces import principal_angles as principal_angles
    from latentedit.geometry.subspaces import random_level as random_level
    from latentedit.geometry.transport import transported as transported

__getattr__, __dir__, __all__ = exports(__name__)
