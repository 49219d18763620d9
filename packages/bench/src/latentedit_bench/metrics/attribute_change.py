"""How far an attribute reader's view of each attribute moved."""

from collections.abc import Mapping

import torch
from jaxtyping import Float64
from torch import Tensor

from latentedit.core.errors import ShapeError

Probabilities = Mapping[str, Tensor]
"""Attribute to the probability of each of its values, [b, values]."""


def attribute_change(before: Probabilities, after: Probabilities) -> Float64[Tensor, "b K"]:
    """``sum |after - before| / 2`` of each attribute: the total variation distance, in [0, 1].

    0: the reader is as sure as before of every value; 1: it is sure of another value. Attributes in the order of
    ``before``. Trap: between two readings of unsure readers it is not the share of pictures whose value changed.

    Raises:
        ShapeError: the two have other attributes, pictures or values.
    """
    shapes = [{name: list(part.shape) for name, part in reading.items()} for reading in (before, after)]
    if not shapes[0] or shapes[0] != shapes[1] or len({shape[0] for shape in shapes[0].values()}) != 1:
        raise ShapeError(f"readings of other attributes or pictures: {shapes[0]} and {shapes[1]}. Read both alike")
    return torch.stack([(after[name] - before[name]).double().abs().sum(1) / 2 for name in before], dim=1)
