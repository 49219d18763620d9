"""How far an edited image is from the answer, in units of the requested change."""

import torch
from jaxtyping import Float64
from torch import Tensor

from latentedit_bench.metrics.images import Images, differ, in_double, mean_square


def counterfactual_error(edited: Images, source: Images, truth: Images) -> Float64[Tensor, " b"]:
    """``|edited - truth|^2 / |source - truth|^2``.

    From 0 up; lower is better. 0 is the answer, 1 what no edit scores, above 1 the edit did more harm than good. With
    effect and leakage of `disentanglement` it is ``(1 - effect)^2 + leakage^2``. nan where no change was requested.
    What the codec loses counts as an error, and where the wanted change is small that alone can pass 1.
    """
    edited, source, truth = in_double(edited, source, truth)
    error = mean_square(edited, truth) / mean_square(source, truth)
    return error.masked_fill(~differ(source, truth), torch.nan)
