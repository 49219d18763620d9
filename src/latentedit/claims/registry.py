"""The experiments by name."""

import pkgutil
from collections.abc import Mapping

from latentedit.analysis.registry import ANALYSES
from latentedit.claims.base import Experiment
from latentedit.errors import ConfigError, nearest

EXPERIMENTS: Mapping[str, str] = {
    "joint-latent": "latentedit.claims.joint_latent:JointLatent",
    "network-kinds": "latentedit.claims.network_kinds:NetworkKinds",
    "single-attribute": "latentedit.claims.single_attribute:SingleAttribute",
    "hessian-preservation": "latentedit.claims.hessian_preservation:HessianPreservation",
    "linear-strength": "latentedit.claims.linear_strength:LinearStrength",
    "text-directions": "latentedit.claims.text_directions:TextDirections",
    **{f"geometry-{name}": f"latentedit.claims.geometry:{one.split(':')[1]}Claim" for name, one in ANALYSES.items()},
}
"""Name to class; a module is imported when it is asked for."""


def make_experiment(name: str) -> Experiment:
    """An experiment with its full plan.

    Raises:
        ConfigError: an unknown name, with the nearest.
    """
    if name not in EXPERIMENTS:
        raise ConfigError(f"expected the name of an experiment; got {name!r}: {nearest(name, EXPERIMENTS)}")
    found: type[Experiment] = pkgutil.resolve_name(EXPERIMENTS[name])
    return found()
