"""Did an edit change its attribute, and only that? Measured without a right answer, by the model's own responses.

An edit of attribute j changes an image by ``d_j``. The model's response to attribute k is ``u_k``: how its
reconstruction of the image changes when the text has another value of k
(`latentedit_bench.disentanglement.responses`). The transfer matrix T combines responses to come nearest to each edit,

    T_j = argmin_t |d_j - sum_k t_k u_k|^2          r_j = d_j - sum_k T_jk u_k,

    effectiveness   T_jj (2 - T_jj) = 1 - (1 - T_jj)^2, clipped to [0, 1]               1 is its own response
    decomposability |T_jj u_j| / sqrt(sum_k |T_jk u_k|^2 + |r_j|^2)                     the rest is leakage
    disentanglement 2 Eff Dec / (Eff + Dec)

An edit that is the response itself has the row of the identity, and 1 in all three; no edit has zeros; the sum of k
orthogonal responses of one length has ones, and the decomposability 1 / sqrt(k). What no response describes, such as
another identity, counts as leakage (r).

Derived here: digests of the paper that names a semantic disentanglement metric (arXiv 2411.08196, first 2408.13335)
say that it takes reconstruction distances under different texts; its formula is unknown, and this is not it. Traps:
a model that misunderstands a text confirms its own mistake; a response is smaller than the whole change where the image
outweighs the text, so an edit that goes too far is not seen, and effectiveness compares editors of one model.
"""

import dataclasses

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from latentedit_bench.metrics.disentanglement import harmonic_mean

_DEPENDENT = 1e-9  # eigenvalues of the responses' products below this share of the largest count as zero


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResponseScores:
    """The numbers of the module, of one attribute's edits.

    Args:
        transfer: the row of T, in the order of the responses.
        effectiveness: in [0, 1].
        decomposability: in [0, 1]; nan where nothing changed.
        disentanglement: in [0, 1]; 0 where nothing changed.
    """

    transfer: Float64[Tensor, "b k"]
    effectiveness: Float64[Tensor, " b"]
    decomposability: Float64[Tensor, " b"]
    disentanglement: Float64[Tensor, " b"]


def response_scores(change: Float[Tensor, "b *n"], responses: Float[Tensor, "k b *n"], own: int) -> ResponseScores:
    """Score the edits of one attribute of a batch of images.

    Args:
        change: what each edit changed.
        responses: the model's response to each attribute.
        own: place of the attribute that was edited.
    """
    d, u = change.double().flatten(1), responses.double().flatten(2).transpose(0, 1)
    products = u @ u.mT
    inverse = torch.linalg.pinv(products, rtol=_DEPENDENT, hermitian=True)  # equal responses get one half each
    transfer = (inverse @ (u @ d[..., None])).squeeze(-1)
    rest = d - (transfer[:, None] @ u).squeeze(1)
    parts = transfer.square() * products.diagonal(dim1=-2, dim2=-1)
    all_parts = parts.sum(1) + rest.square().sum(1)
    decomposability = (parts[:, own] / all_parts).sqrt().masked_fill(all_parts == 0, torch.nan)
    effectiveness = (1 - (1 - transfer[:, own]).square()).clamp(0, 1)
    return ResponseScores(
        transfer=transfer,
        effectiveness=effectiveness,
        decomposability=decomposability,
        disentanglement=harmonic_mean(effectiveness, decomposability),
    )
