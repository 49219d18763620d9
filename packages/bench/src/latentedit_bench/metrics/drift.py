"""What changed that nobody asked for, as an attribute reader sees it."""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError


def nuisance_drift(changes: Float[Tensor, "b K"], asked: Bool[Tensor, "b K"]) -> Float64[Tensor, " b"]:
    """Mean change of the attributes that were not asked for.

    In [0, 1]; lower is better. 0: the reader is as sure of every other attribute as it was; 1: it sees another value
    of all of them. nan where every attribute was asked for.

    Traps: no edit scores 0. Nothing is subtracted: read the source as the codec gives it back, not the file, or the
    codec's part counts. A reader that is sure of itself sees no change until it tips over; one that is misled by
    artefacts sees a change where there is none; what it has no attribute for, it does not see at all. An attribute
    that had to change with the one asked for (no beard, no beard colour) is to be marked as asked.

    Args:
        changes: of each attribute, in [0, 1]: `attribute_change` of source and edited picture.
        asked: which were to change.

    Raises:
        ConfigError: a change outside [0, 1].
        ShapeError: the two differ in shape.
    """
    if changes.shape != asked.shape:
        raise ShapeError(f"changes are {list(changes.shape)} and asked {list(asked.shape)}. Give both as [b, K]")
    if not ((changes >= 0) & (changes <= 1 + 1e-6)).all():
        raise ConfigError("a change lies outside [0, 1]. Give those of attribute_change")
    others = ~asked
    return ((changes.double() * others).sum(1) / others.sum(1)).masked_fill(~others.any(1), torch.nan)
