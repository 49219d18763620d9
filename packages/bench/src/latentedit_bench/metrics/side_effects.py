"""Whether an edit does what follows from it: the shadow of what was added, the reflection of what was recolored."""

import torch
from jaxtyping import Float64
from torch import Tensor

from latentedit_bench.metrics.pictures import Mask, Pictures, check_mask, in_double


def side_effect(edited: Pictures, source: Pictures, truth: Pictures, mask: Mask) -> Float64[Tensor, " b"]:
    """``<d, u> / <u, u>`` over the mask alone, of the change made d and the wanted one u: the effect there.

    Any real number: 0 the shadow stays as it was, 1 it moves as it should, and that is best. nan where the change has
    no side effects. Derived here.

    Traps: it is blind to what else happens there, which the error counts; an edit that does nothing at all scores 0, so
    read the effect beside it; where side effects are faint, the codec's noise is a large share of them.
    """
    edited, source, truth = in_double(edited, source, truth)
    check_mask(mask, edited)
    made, wanted = (((one - source) * mask).flatten(1) for one in (edited, truth))
    square = wanted.square().sum(1)
    return ((made * wanted).sum(1) / square).masked_fill(square == 0, torch.nan)
