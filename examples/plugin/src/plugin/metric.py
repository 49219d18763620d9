"""A metric: one number for each edited image, in a column of its own."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor


def mean_change(
    edited: Float[Tensor, "b 3 h w"],
    source: Float[Tensor, "b 3 h w"],
    truth: Float[Tensor, "b 3 h w"] | None,
    captions: Sequence[str],
) -> Float[Tensor, " b"]:
    """The mean absolute change of a channel; images in [-1, 1], no truth where there is none, target captions."""
    del truth, captions
    return (edited - source).abs().flatten(1).mean(1) / 2
