"""What papers on continuous edits measure of a walk over strengths, without a right answer to compare with.

Each takes distances between the pictures of a walk, in the order of their strengths with the unedited picture first,
by whatever measure of difference; the papers take DreamSim, LPIPS or DINO.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError


def smoothness_deficit(distances: Float[Tensor, "b k k"]) -> Float64[Tensor, " b"]:
    """``max_i (d(i-1, i) + d(i, i+1) - d(i-1, i+1)) / d(i-1, i+1)``: delta-smooth, the largest detour of three.

    From 0 up; lower is better. 0: every three neighbours lie on a straight line of this distance.

    Traps: it knows neither truth nor step lengths. A cross-fade scores 0, as does a walk that makes its whole change
    in one step. Two neighbours of the middle one that are equal divide by 0: inf where the middle one differs, nan
    where it does not.

    Args:
        distances: symmetric, one matrix an item.

    Raises:
        ShapeError: no square matrices of three pictures or more.

    Source:
        Kontinuous Kontext, arXiv 2510.08532, with the division by the direct distance of its code; DreamSim there.
    """
    d = _checked(distances, least=3)
    along, direct = d.diagonal(1, 1, 2), d.diagonal(2, 1, 2)
    return ((along[:, :-1] + along[:, 1:] - direct) / direct).amax(1)


def step_deviation(distances: Float[Tensor, "b k k"]) -> Float64[Tensor, " b"]:
    """Standard deviation of the steps ``d(i, i+1) / sum_j d(j, j+1)``: the uniformity of a walk.

    In [0, 0.5]; lower is better. 0: all steps are equally long. The whole change in one of n steps has
    ``sqrt(n - 1) / n``, so compare walks of as many strengths only. nan where nothing changes.

    Trap: a walk to and fro is as uniform as one straight ahead.

    Args:
        distances: symmetric, one matrix an item.

    Raises:
        ShapeError: no square matrices of three pictures or more.

    Source:
        As in the evaluation code of Kontinuous Kontext, arXiv 2510.08532, with DreamSim and LPIPS; FreeSliders, arXiv
        2511.00103, takes the deviation of gaps of CLIP scores, and UniSlider, arXiv 2610.06831, one that we have not
        seen.
    """
    steps = _checked(distances, least=3).diagonal(1, 1, 2)
    return (steps / steps.sum(1, keepdim=True)).std(1, correction=0)


def strength_correlation(distances: Float[Tensor, "b k k"], strengths: Float[Tensor, " k"]) -> Float64[Tensor, " b"]:
    """``|r|``, Pearson's correlation of the distance to the first picture with the strength.

    In [0, 1]; higher is better. 1: the distance grows, or shrinks, linearly with the strength. nan where no picture
    differs from the first, or all are as far away as each other.

    Traps: see `strength_curve.linearity`, which goes through the origin; this does not, and forgives an offset.

    Args:
        distances: symmetric, one matrix an item.
        strengths: of the pictures, the first one's included; not all one number.

    Raises:
        ConfigError: strengths that are all one number.
        ShapeError: no square matrices, or not one strength a picture.

    Source:
        Kontinuous Kontext, arXiv 2510.08532, with DINO's distance.
    """
    away = _checked(distances, least=2)[:, 0]
    if strengths.shape != away.shape[1:]:
        raise ShapeError(f"{away.shape[1]} pictures a walk need as many strengths; got {list(strengths.shape)}")
    s = strengths.double().to(away.device)
    if (s == s[0]).all():
        raise ConfigError(f"all strengths are {s[0].item():g}. Give two or more")
    away, s = away - away.mean(1, keepdim=True), s - s.mean()
    return ((away * s).sum(1) / (away.square().sum(1) * s.square().sum()).sqrt()).abs()


def concept_range(towards: Float[Tensor, "b k"], away: Float[Tensor, "b k"]) -> Float64[Tensor, " b"]:
    """``((p_last - p_first) + (n_first - n_last)) / 2``, p and n how well a picture fits the wanted and the other text.

    Higher is more of the concept. In the unit of the fit; [-1, 1] for probabilities.

    Trap: more range is not more truth; a walk that destroys the picture may score highest.

    Args:
        towards: p at each strength from the least to the largest, one row an item.
        away: n, likewise.

    Raises:
        ShapeError: of two shapes, or fewer than two strengths.

    Source:
        FreeSliders, arXiv 2511.00103, conceptual range as in its code, with CLIP scores.
    """
    if towards.ndim != 2 or towards.shape != away.shape or towards.shape[1] < 2:
        raise ShapeError(
            f"fits {list(towards.shape)} and {list(away.shape)} must both be [items, strengths], two strengths or more"
        )
    p, n = towards.double(), away.double()
    return ((p[:, -1] - p[:, 0]) + (n[:, 0] - n[:, -1])) / 2


def _checked(distances: Float[Tensor, "..."], *, least: int) -> Float64[Tensor, "b k k"]:
    if distances.ndim != 3 or distances.shape[1] != distances.shape[2] or distances.shape[1] < least:
        raise ShapeError(f"distances must be [b, k, k] with k of {least} or more; got {list(distances.shape)}")
    return torch.as_tensor(distances, dtype=torch.float64)
