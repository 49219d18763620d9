"""Whether the opposite edit brings the picture back."""

from jaxtyping import Float64
from torch import Tensor

from latentedit_bench.metrics.counterfactual import counterfactual_error
from latentedit_bench.metrics.pictures import Pictures, in_double, mean_square, psnr_db


def undo_error(returned: Pictures, edited: Pictures, source: Pictures) -> Float64[Tensor, " b"]:
    """``|returned - source|^2 / |edited - source|^2``: what is left of the edit after it was undone.

    From 0 up; lower is better. 0: all came back; 1: as far away as the edited picture; above 1: further. nan where the
    edit changed nothing, and there was nothing to undo.

    Traps: an editor that keeps the source in memory scores 0, so undo has to start from the edited picture alone. The
    codec's loss counts twice in what is left, and weighs most where the edit is small.

    Args:
        returned: the edited picture edited back, in [-1, 1].
        edited: pictures in [-1, 1].
        source: before the edit.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    return counterfactual_error(returned, source=edited, truth=source)  # the way back, its answer the source


def undo_psnr_db(returned: Pictures, source: Pictures) -> Float64[Tensor, " b"]:
    """Peak signal-to-noise ratio of returned picture and source, in decibels: see `psnr_db`.

    Up to 100; higher is better. Trap: an editor that does nothing has 100. Report it with the effect, or `undo_error`.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    returned, source = in_double(returned, source)
    return psnr_db(mean_square(returned, source))
