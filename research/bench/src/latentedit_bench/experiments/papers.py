"""The claims of arXiv 2302.12469 and 2307.12868 on fresh images, with the papers' own feature and with the full one.

The papers' feature is the bottleneck summed over space, at the rank whose squared singular values make half of the sum;
the curves of 2302.12469 have 30 segments. 2307.12868 inverts to the top and comes back to the level, and looks under no
text or under that of the edit. Everything else is as in the experiment of that name.
"""

from typing import Any

from latentedit_bench.experiments.curvedness import curvedness
from latentedit_bench.experiments.distances import samples
from latentedit_bench.experiments.experiment import MODELS
from latentedit_bench.experiments.spectrum import frequency, homogeneity, spectrum

_FRESH: dict[str, Any] = {"models": (*MODELS, "pixels-portraits"), "seed": 51, "images": 8}
_ENDS: dict[str, Any] = {**_FRESH, "levels": (0.95, 0.3)}  # the levels at which claims are decided
_CURVES: dict[str, Any] = {**_FRESH, "images": 12, "segments": 30}  # six pairs: fewer give no interval
_POOLED: dict[str, Any] = {"feature": "pooled", "ranks": "energy"}
_TEXTS: dict[str, Any] = {**_ENDS, "models": MODELS}  # options of experiments with text
_WORDS, _AGAIN = "pooled feature", "new images, a third network"
_TOP, _OWN, _EDIT = "inverted to the top and back", "under the image's own caption", "under the caption of an edit"

samples_pooled = samples.variant("geometry-samples-pooled", _WORDS, **_ENDS, **_POOLED, minutes=10)
samples_fresh = samples.variant("geometry-samples-fresh", _AGAIN, **_ENDS, minutes=15)
homogeneity_pooled = homogeneity.variant("geometry-homogeneity-pooled", _WORDS, **_ENDS, **_POOLED, minutes=10)
homogeneity_fresh = homogeneity.variant("geometry-homogeneity-fresh", _AGAIN, **_ENDS, minutes=15)
spectrum_pooled = spectrum.variant("geometry-spectrum-pooled", _WORDS, **_ENDS, **_POOLED, minutes=10)
spectrum_fresh = spectrum.variant("geometry-spectrum-fresh", _AGAIN, **_ENDS, minutes=15)
curvedness_pooled = curvedness.variant(
    "geometry-curvedness-pooled", _WORDS, **_CURVES, **_POOLED, tangents=None, minutes=30
)
curvedness_fresh = curvedness.variant("geometry-curvedness-fresh", _AGAIN, **_CURVES, minutes=35)

samples_top = samples.variant("geometry-samples-top", _TOP, **_TEXTS, inversion="top", minutes=14)
samples_own = samples.variant("geometry-samples-own", _OWN, **_TEXTS, prompt="own", minutes=14)
samples_edit = samples.variant("geometry-samples-edit", _EDIT, **_TEXTS, prompt="edit", minutes=14)
frequency_fresh = frequency.variant("geometry-frequency-fresh", _AGAIN, **_ENDS, minutes=15)
frequency_top = frequency.variant("geometry-frequency-top", _TOP, **_TEXTS, inversion="top", minutes=14)
frequency_own = frequency.variant("geometry-frequency-own", _OWN, **_TEXTS, prompt="own", minutes=14)
frequency_edit = frequency.variant("geometry-frequency-edit", _EDIT, **_TEXTS, prompt="edit", minutes=14)
