"""How far an edited image is from the truth, in units of the requested change."""

import torch
from jaxtyping import Float64
from torch import Tensor

from latentedit_bench.metrics.images import Images, differ, in_double, mean_square


def counterfactual_error(edited: Images, source: Images, truth: Images) -> Float64[Tensor, " b"]:
    """``|edited - truth|^2 / |source - truth|^2``.

    At least 0; lower is better. 0 is the truth, 1 the score of no edit; above 1 the edit did more harm than good. With
    effect and leakage of `disentanglement` it is ``(1 - effect)^2 + leakage^2``. nan if no change was requested.
    What the codec loses counts as error, which alone can exceed 1 if the requested change is small.
    """
    edited, source, truth = in_double(edited, source, truth)
    error = mean_square(edited, truth) / mean_square(source, truth)
    return error.masked_fill(~differ(source, truth), torch.nan)
