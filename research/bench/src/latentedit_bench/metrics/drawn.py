"""How the new part is drawn: the edges of the truth, and its opacity, which a mean squared error hardly weighs."""

import numpy as np
import torch
from jaxtyping import Float64
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from latentedit_bench.metrics.images import Images, Mask, check_mask, differ, in_double

_EDGE = 0.1  # gradient of the wanted change from which a pixel is an edge, as a share of the strongest
_NEAR = 1 / 64  # how far from an edge fringes are counted, as a share of the shorter side
_PART = 0.05  # energy of the wanted change from which a part counts, as a share of the whole: no specks
_TOUCHING = np.ones((3, 3), dtype=bool)  # pixels that touch at a corner belong to one part


def edge_error(edited: Images, source: Images, truth: Images) -> Float64[Tensor, " b"]:
    """``sum |grad (edited - truth)|^2 / sum |grad (truth - source)|^2`` near the edges of the wanted change.

    From 0 up; 0 is the answer, 1 no edit. nan where nothing is wanted. Fringes, leftovers and blur at the border of a
    part cost little in the error of its pixels, and nearly all of this one. Derived here.

    Traps: the codec's own blur counts, so compare with its row; where the wanted change is smooth, such as light, the
    edges are faint and few.
    """
    edited, source, truth = in_double(edited, source, truth)
    wanted, missed = _gradient_energy(truth - source), _gradient_energy(edited - truth)
    strongest = wanted.flatten(1).amax(1)[:, None, None, None]
    edges = (wanted > _EDGE**2 * strongest).double()
    reach = max(1, round(_NEAR * min(edited.shape[2:])))
    near = functional.max_pool2d(edges, 2 * reach + 1, stride=1, padding=reach)
    ratio = (missed * near).flatten(1).sum(1) / (wanted * near).flatten(1).sum(1)
    return ratio.masked_fill(~differ(truth, source), torch.nan)


def opacity(edited: Images, source: Images, truth: Images, mask: Mask) -> Float64[Tensor, " b"]:
    """``<d, u> / <u, u>`` over the connected part of the mask where it is lowest, of the changes made d and wanted u.

    1 is opaque, 0 not drawn; above 1 it is too strong. The least-squares factor of the wanted change, per part: a faint
    hat is not hidden by a large background. Parts with less than a twentieth of the wanted change's energy do not
    count. nan where nothing is wanted. Derived here.

    Trap: parts that touch are one part.
    """
    edited, source, truth = in_double(edited, source, truth)
    check_mask(mask, edited)
    made, wanted = edited - source, truth - source
    products, squares = (made * wanted).sum(1).cpu().numpy(), wanted.square().sum(1).cpu().numpy()
    found = [_faintest(*row) for row in zip(products, squares, mask[:, 0].cpu().numpy(), strict=True)]
    return torch.tensor(found, dtype=torch.float64).to(edited.device).masked_fill(~differ(truth, source), torch.nan)


def _faintest(product: np.ndarray, square: np.ndarray, mask: np.ndarray) -> float:
    labels = np.zeros(mask.shape, dtype=np.int32)
    ndimage.label(mask, _TOUCHING, output=labels)
    numbers = np.arange(1, labels.max() + 1)
    energy = np.asarray(ndimage.sum_labels(square, labels, numbers))
    made = np.asarray(ndimage.sum_labels(product, labels, numbers))
    counts = energy > _PART * square.sum()
    return float((made[counts] / energy[counts]).min()) if counts.any() else float("nan")


def _gradient_energy(image: Tensor) -> Float64[Tensor, "b 1 h w"]:
    """The squared differences to the next pixel below and to the right, summed over the channels."""
    padded = functional.pad(image, (0, 1, 0, 1), mode="replicate")
    down, right = padded[..., 1:, :-1] - image, padded[..., :-1, 1:] - image
    return (down.square() + right.square()).sum(1, keepdim=True)
