"""The experiments by name."""

import pkgutil
from collections.abc import Mapping

from latentedit.core.errors import ConfigError, nearest
from latentedit_bench.analysis.registry import ANALYSES
from latentedit_bench.claims.base import Experiment

EXPERIMENTS: Mapping[str, str] = {
    "joint-latent": "latentedit_bench.claims.joint_latent:JointLatent",
    "network-kinds": "latentedit_bench.claims.network_kinds:NetworkKinds",
    "single-attribute": "latentedit_bench.claims.single_attribute:SingleAttribute",
    "hessian-preservation": "latentedit_bench.claims.hessian_preservation:HessianPreservation",
    "linear-strength": "latentedit_bench.claims.linear_strength:LinearStrength",
    "text-directions": "latentedit_bench.claims.text_directions:TextDirections",
    **{
        f"geometry-{name}": f"latentedit_bench.claims.geometry:{one.split(':')[1]}Claim"
        for name, one in ANALYSES.items()
    },
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
