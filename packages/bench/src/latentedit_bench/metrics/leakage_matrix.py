"""Which attributes change when one is asked for: a matrix, from an attribute reader and rendered answers.

    Lambda_jk = mean change of attribute j over the items that ask for k / mean change of k in their answers

Columns are what was asked for, rows what the reader saw change. An oracle editor does not give the identity but
``Lambda_gt``, the leakage of the reader itself; `corrected` takes that out: ``Lambda Lambda_gt^-1``.

With changes by total variation (`attribute_change`) symmetric damage counts; with signed rises (`signed_change`) it
cancels, and an edit the wrong way is below 0.

Derived here (Eastwood and Williams 2018 for DCI, Chen et al. 2018, arXiv 1802.04942, for the gap; both on another
matrix). Trap: the matrix knows only the attributes of the reader. The identity does not mean that the pictures are
right; report the error to the counterfactual with it.
"""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError

Probabilities = Mapping[str, Tensor]
"""Attribute to the probability of each of its values, [b, values]."""

Matrix = Float[Tensor, "K K"]

_WORST_CONDITION = 1e6
"""Condition number above which the reader's own leakage cannot be taken out: errors would grow a million times."""


def attribute_change(before: Probabilities, after: Probabilities) -> Float64[Tensor, "b K"]:
    """``sum |after - before| / 2`` of each attribute: the total variation distance, in [0, 1].

    0: the reader is as sure as before of every value; 1: it is sure of another value. Attributes in the order of
    ``before``. Trap: between two readings of unsure readers it is not the share of pictures whose value changed.

    Raises:
        ShapeError: the two have other attributes, pictures or values.
    """
    _check_readings(before, after)
    return torch.stack([(after[name] - before[name]).double().abs().sum(1) / 2 for name in before], dim=1)


def leakage_matrix(
    changes: Float[Tensor, "n K"], truth_changes: Float[Tensor, "n K"], asked: Int[Tensor, " n"]
) -> Float64[Tensor, "K K"]:
    """``Lambda_jk``, see the module: change of attribute j where k was asked for, in units of the answers' change of k.

    Best is the identity after `corrected`. A column is nan where no item asks for that attribute or the answers do
    not change it. A ratio of means, not a mean of ratios: items that the reader hardly sees do not blow it up.

    Args:
        changes: of each attribute by the edit.
        truth_changes: by the rendered answers to the same items.
        asked: index of the attribute that each item asks for.

    Raises:
        ConfigError: an index outside 0 to K - 1.
        ShapeError: the three do not belong together, or K is below 2.
    """
    count = changes.shape[-1]
    if changes.ndim != 2 or changes.shape != truth_changes.shape or asked.shape != changes.shape[:1] or count < 2:
        raise ShapeError(
            f"changes {list(changes.shape)}, answers {list(truth_changes.shape)} and indices {list(asked.shape)} do "
            "not fit. Give [n, K] twice, K at least 2, and [n]"
        )
    if ((asked < 0) | (asked >= count)).any():
        raise ConfigError(f"attributes {sorted(set(asked.tolist()))} are asked for. Give numbers from 0 to {count - 1}")
    member = torch.nn.functional.one_hot(asked.long(), count).double()  # n, K
    whole = (member * truth_changes.double()).sum(0)  # the numbers of items cancel in the ratio of means
    matrix = changes.double().T @ member / whole
    return matrix.masked_fill(whole == 0, torch.nan)


def corrected(matrix: Matrix, truth_matrix: Matrix) -> Float64[Tensor, "K K"]:
    """``Lambda Lambda_gt^-1``: the leakage matrix with the reader's own leakage taken out.

    ``Lambda_gt`` is `leakage_matrix` with the answers' changes in both places; an oracle editor then has the identity.
    Exact where the reader is linear; nothing keeps the result within [0, 1].

    Raises:
        ConfigError: ``Lambda_gt`` has no stable inverse, or an attribute nobody asked for.
        ShapeError: not two square matrices of one size.
    """
    for given in (matrix, truth_matrix):
        _check_square(given)
    if matrix.shape != truth_matrix.shape:
        raise ShapeError(f"the matrices are {list(matrix.shape)} and {list(truth_matrix.shape)}. Give two of one size")
    truth = truth_matrix.double()
    if not truth.isfinite().all():
        raise ConfigError("no item asks for one of the attributes: its column is nan. Leave that attribute out")
    condition = torch.linalg.cond(truth).item()
    if not condition < _WORST_CONDITION:
        raise ConfigError(
            f"the reader cannot tell attributes apart: its matrix has the condition {condition:.0e}. "
            "Use items whose answers change one attribute, or another reader"
        )
    return torch.linalg.solve(truth, matrix.double(), left=False)


def attribute_scores(matrix: Matrix) -> dict[str, Float64[Tensor, " K"]]:
    """What a leakage matrix says of each attribute k, by the name of the score.

    effectiveness        ``Lambda_kk``: how much of the wanted change came; 1 is all of it, any number is possible
    decomposability      ``1 / sqrt(1 + leak^2)``, ``leak = |Lambda_{-k,k}|_2 / |Lambda_kk|``; in [0, 1], blind to sign
                         and strength, 0 where only others changed
    gap                  ``1 - max_{j != k} |Lambda_jk| / |Lambda_kk|``: the lead over the attribute that changed most
                         beside it; at most 1, below 0 another changed more, minus infinity where only others did;
                         ``1 - leak <= gap <= 1 - leak / sqrt(K - 1)``
    DCI disentanglement  ``1 + sum_j P_jk log P_jk / log K``, P the columns of |Lambda| made to sum to 1: does asking
                         for k change one? In [0, 1]; 1 where one changed, *whichever it is*: look at the diagonal too
    DCI completeness     the same with rows: does k change at one request alone?

    Higher is better in all of them; all but the first are nan where nothing changed.

    Raises:
        ShapeError: no square matrix of two attributes or more.
    """
    _check_square(matrix)
    sizes = matrix.double().abs()
    own = sizes.diagonal()
    others = sizes.masked_fill(torch.eye(len(sizes), dtype=torch.bool, device=sizes.device), 0)
    leak = torch.linalg.vector_norm(others, dim=0) / own
    return {
        "effectiveness": matrix.double().diagonal(),
        "decomposability": (1 + leak.square()).rsqrt(),
        "gap": 1 - others.amax(0) / own,
        "DCI disentanglement": _concentration(sizes),
        "DCI completeness": _concentration(sizes.T),
    }


def _check_readings(before: Probabilities, after: Probabilities) -> None:
    shapes = [{name: list(part.shape) for name, part in reading.items()} for reading in (before, after)]
    if not shapes[0] or shapes[0] != shapes[1] or len({shape[0] for shape in shapes[0].values()}) != 1:
        raise ShapeError(f"readings of other attributes or pictures: {shapes[0]} and {shapes[1]}. Read both alike")


def _check_square(matrix: Float[Tensor, "..."]) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ShapeError(f"a leakage matrix cannot be {list(matrix.shape)}. Give [K, K], K at least 2")


def _concentration(sizes: Float64[Tensor, "K K"]) -> Float64[Tensor, " K"]:
    """One less the entropy of each column made to sum to 1, in units of the largest, log K."""
    return 1 - torch.special.entr(sizes / sizes.sum(0)).sum(0) / math.log(len(sizes))
