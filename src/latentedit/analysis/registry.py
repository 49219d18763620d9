"""The analyses by name."""

import pkgutil
from collections.abc import Mapping
from typing import Any

from latentedit.analysis.base import Analysis
from latentedit.errors import ConfigError, nearest

ANALYSES: Mapping[str, str] = {
    "spectrum": "latentedit.analysis.spectrum:Spectrum",
    "frequency": "latentedit.analysis.frequency:Frequency",
    "samples": "latentedit.analysis.samples:Samples",
    "trajectory": "latentedit.analysis.trajectory:Trajectory",
    "datasets": "latentedit.analysis.datasets:DataSets",
    "prompts": "latentedit.analysis.prompts:Prompts",
    "transport": "latentedit.analysis.transport:Transport",
    "curvedness": "latentedit.analysis.curvedness:Curvedness",
    "edits": "latentedit.analysis.edits:Edits",
    "homogeneity": "latentedit.analysis.homogeneity:Homogeneity",
}
"""Name to class; a module is imported when it is asked for."""


def make_analysis(name: str, **settings: Any) -> Analysis:
    """An analysis with its settings, or with the defaults.

    Raises:
        ConfigError: an unknown name, with the nearest.
    """
    if name not in ANALYSES:
        raise ConfigError(f"expected the name of an analysis; got {name!r}: {nearest(name, ANALYSES)}")
    found: type[Analysis] = pkgutil.resolve_name(ANALYSES[name])
    return found(**settings)
