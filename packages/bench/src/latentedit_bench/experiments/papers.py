"""The claims of arXiv 2302.12469 and 2307.12868 on fresh images, with the papers' own feature and with the full one.

The papers' feature is the bottleneck summed over space, at the rank whose squared singular values make half of the sum;
the curves of 2302.12469 have 30 segments. Everything else is as in the experiment of that name.
"""

from typing import Any

from latentedit_bench.experiments.curvedness import curvedness
from latentedit_bench.experiments.distances import samples
from latentedit_bench.experiments.experiment import MODELS
from latentedit_bench.experiments.spectrum import homogeneity, spectrum

_FRESH: dict[str, Any] = {"models": (*MODELS, "pixels-portraits"), "seed": 51, "pictures": 8}
_ENDS: dict[str, Any] = {**_FRESH, "levels": (0.95, 0.3)}  # the levels at which claims are decided
_POOLED: dict[str, Any] = {"feature": "pooled", "ranks": "energy"}
_WORDS, _AGAIN = "pooled feature", "full feature, the same images"

samples_pooled = samples.variant("geometry-samples-pooled", _WORDS, **_ENDS, **_POOLED)
samples_fresh = samples.variant("geometry-samples-fresh", _AGAIN, **_ENDS)
homogeneity_pooled = homogeneity.variant("geometry-homogeneity-pooled", _WORDS, **_ENDS, **_POOLED)
homogeneity_fresh = homogeneity.variant("geometry-homogeneity-fresh", _AGAIN, **_ENDS)
spectrum_pooled = spectrum.variant("geometry-spectrum-pooled", _WORDS, **_ENDS, **_POOLED)
spectrum_fresh = spectrum.variant("geometry-spectrum-fresh", _AGAIN, **_ENDS)
curvedness_pooled = curvedness.variant(
    "geometry-curvedness-pooled", _WORDS, **_FRESH, **_POOLED, segments=30, tangents=7
)
