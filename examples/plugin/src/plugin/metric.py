"""A metric: one number for each edited image, in a column of its own."""

from jaxtyping import Float
from torch import Tensor

from latentedit_bench.metrics.metric import EditedBatch, Metric


def _mean_change(batch: EditedBatch) -> Float[Tensor, " b"]:
    return (batch.edited - batch.source).abs().flatten(1).mean(1) / 2


mean_change = Metric(
    name="mean change",
    title="mean change",
    better="",
    why="the mean absolute change of a channel, where white is 1.",
    function=_mean_change,
)
