"""Are text directions of different attributes at right angles, and of one length? More so than random vectors?"""

import math

from jaxtyping import Float
from torch import Tensor

from latentedit_bench.experiments.declare import EIM_PAPER, Dots, Measure, Rows, Texts, experiment
from latentedit_bench.metrics.vectors import effective_dimension, mean_cosines

Changes = Float[Tensor, "n attributes width"]

_COSINE = Measure(
    name="mean |cosine| of random vectors in the effective dimension minus that of attributes' text differences",
    column="below random",
)


@experiment(
    "text-directions",
    paper=EIM_PAPER,
    claim="text directions of different attributes are nearly orthogonal and of nearly equal length",
    source=Texts(),
    primary=_COSINE,
    secondary=(
        _COSINE.variant("mean |cosine| of random caption changes minus attributes'", column="below captions"),
        _COSINE.variant("mean |cosine| between attributes", column="cosine"),
    ),
    plots=(Dots(x="cosine", y="text", by="model", label="mean |cosine|"),),
    minutes=3,
)
def text_directions(ours: Changes, null: Changes) -> Rows:
    """Words at different places in a caption are nearly orthogonal by construction, so tokens decide nothing.

    What decides has no places: the pooled embedding of a text or, if a model has none, the sum of its tokens. In many
    dimensions vectors are nearly orthogonal anyway: isotropic random vectors in d dimensions have the mean |cosine|
    ``sqrt(2 / (pi d))``. Here d is ``(tr C)^2 / tr C^2`` of the differences of random captions, which change as many
    words, at places of their own.
    """
    level = math.sqrt(2 / (math.pi * effective_dimension(null.flatten(0, 1))))
    for portrait, (own, drawn) in enumerate(zip(mean_cosines(ours), mean_cosines(null), strict=True)):
        below = {"below random": level - own, "below captions": drawn - own}
        yield {"portrait": portrait, "cosine": own, **below}
