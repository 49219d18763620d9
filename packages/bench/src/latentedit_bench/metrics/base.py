"""What every metric over pictures shares: it keeps one number a picture, and tells their mean."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


def geometric_mean(values: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """``exp(mean(log values))``: a ratio and its inverse cancel."""
    return values.log().mean().exp()


class PerPicture(Metric):
    """Collects one number a picture in float64; `compute` is their mean.

    A picture whose number is undefined (nan) is left out of the mean, and counted by `undefined`. Report both: an
    editor that does nothing on most pictures would else be told by the few on which it did something. nan where no
    picture is left.

    Laws:
        1. The mean does not depend on how pictures are split over updates, merged metrics or processes.
        2. `forward` gives the mean of its own pictures, and adds them.
        3. ``reset`` forgets all.

    The numbers are kept under a name of the class's own. So a ``MetricCollection`` never takes two classes for one
    because they agree on the first pictures; two metrics of one class with different settings need
    ``compute_groups=False`` there.

    Args:
        settings: those of ``torchmetrics.Metric``, which refuses any other.
    """

    is_differentiable = False
    full_state_update = False

    aggregate: ClassVar[Callable[[Tensor], Tensor]] = staticmethod(torch.mean)
    """The mean that `compute` takes of the numbers that are defined."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_state(self._state, default=[], dist_reduce_fx="cat")

    @property
    def _state(self) -> str:
        return f"values_of_{type(self).__name__}"

    @property
    def values(self) -> Float64[Tensor, " n"]:
        """One number a picture, nan where undefined; those of this process alone.

        In the order of the updates. What ``merge_state`` brings in stands before what was there.
        """
        kept = getattr(self, self._state)
        if len(kept) == 0:
            return torch.zeros(0, dtype=torch.float64, device=self.device)
        return dim_zero_cat(kept)

    @property
    def undefined(self) -> int:
        """How many pictures have no number, and are left out of the mean."""
        return int(self.values.isnan().sum())

    def compute(self) -> Float64[Tensor, ""]:
        """The mean over the pictures whose number is defined."""
        values = self.values
        return type(self).aggregate(values[~values.isnan()])

    def _add(self, values: Float[Tensor, " b"]) -> None:
        """Keep numbers, on the device of the metric."""
        getattr(self, self._state).append(values.detach().to(self.device, torch.float64))
