"""Change outside the mask of the right answer, and side effects such as shadows inside it."""

import torch
from jaxtyping import Float64
from torch import Tensor

from latentedit_bench.metrics.images import Images, Mask, check_mask, differ, in_double, psnr_db


def outside_share(edited: Images, source: Images, mask: Mask) -> Float64[Tensor, " b"]:
    """``sum outside of (edited - source)^2 / sum of all of it``: the share of the change that is outside the mask.

    In [0, 1]; lower is better. nan where nothing changed (0/0).

    Traps: a share knows no size, so a trace of a change in the right place scores 0; what changes wrongly inside is not
    seen; what the codec changes everywhere counts as outside, so give its own reconstruction as the source.
    """
    edited, source = in_double(edited, source)
    check_mask(mask, edited)
    change = (edited - source).square()
    share = (change * ~mask).flatten(1).sum(1) / change.flatten(1).sum(1)
    return share.masked_fill(~differ(edited, source), torch.nan)


def outside_change(edited: Images, source: Images, truth: Images, mask: Mask) -> Float64[Tensor, " b"]:
    """``sum outside of (edited - source)^2 / sum of (truth - source)^2``: in units of the wanted change, as errors are.

    From 0 up; lower is better. nan where nothing is wanted (0/0). It grows with the square of the strength.
    """
    edited, source, truth = in_double(edited, source, truth)
    check_mask(mask, edited)
    outside = ((edited - source).square() * ~mask).flatten(1).sum(1)
    return (outside / (truth - source).square().flatten(1).sum(1)).masked_fill(~differ(truth, source), torch.nan)


def outside_psnr_db(edited: Images, source: Images, mask: Mask) -> Float64[Tensor, " b"]:
    """Peak signal-to-noise ratio of edited image and source outside the mask, in decibels: see `psnr_db`.

    Up to 100, which is untouched; higher is better. nan where the mask leaves nothing outside.

    Traps: no edit scores best, so compare at equal effect. It is of the pixels outside alone; where a protocol divides
    by all pixels, it is higher by ``10 log10(pixels / pixels outside)``.
    """
    edited, source = in_double(edited, source)
    check_mask(mask, edited)
    change = ((edited - source).square() * ~mask).flatten(1).sum(1)
    return psnr_db(change / (3 * (~mask).flatten(1).sum(1)))


def side_effect(edited: Images, source: Images, truth: Images, mask: Mask) -> Float64[Tensor, " b"]:
    """``<d, u> / <u, u>`` over the mask alone, of the change made d and the wanted one u: the effect there.

    Any real number: 0 the shadow stays as it was, 1 it moves as it should, and that is best. nan where the change has
    no side effects. Derived here. Blind to what else happens there; faint ones drown in the codec's noise.
    """
    edited, source, truth = in_double(edited, source, truth)
    check_mask(mask, edited)
    made, wanted = (((one - source) * mask).flatten(1) for one in (edited, truth))
    square = wanted.square().sum(1)
    return ((made * wanted).sum(1) / square).masked_fill(square == 0, torch.nan)
