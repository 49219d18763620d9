"""The analyses by name."""

import pkgutil
from collections.abc import Mapping
from typing import Any

from latentedit.core.errors import ConfigError, nearest
from latentedit_bench.analysis.base import Analysis

ANALYSES: Mapping[str, str] = {
    "spectrum": "latentedit_bench.analysis.spectrum:Spectrum",
    "frequency": "latentedit_bench.analysis.frequency:Frequency",
    "samples": "latentedit_bench.analysis.samples:Samples",
    "trajectory": "latentedit_bench.analysis.trajectory:Trajectory",
    "datasets": "latentedit_bench.analysis.datasets:DataSets",
    "prompts": "latentedit_bench.analysis.prompts:Prompts",
    "transport": "latentedit_bench.analysis.transport:Transport",
    "curvedness": "latentedit_bench.analysis.curvedness:Curvedness",
    "edits": "latentedit_bench.analysis.edits:Edits",
    "homogeneity": "latentedit_bench.analysis.homogeneity:Homogeneity",
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
