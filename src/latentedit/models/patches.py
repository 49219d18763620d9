"""Patches of 2 x 2 latents: as channels, and as the tokens of a transformer. Features go channel, row, column."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

PATCH = 2
"""Latents a side of one patch."""

Size = tuple[int, int]
"""Rows and columns of patches."""


def patchify(latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b pc ph pw"]:
    """Patches as channels."""
    return functional.pixel_unshuffle(latents, PATCH)


def unpatchify(patches: Float[Tensor, "b pc ph pw"]) -> Float[Tensor, "b c h w"]:
    """The inverse of `patchify`."""
    return functional.pixel_shuffle(patches, PATCH)


def pack(latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
    """Patches as tokens, row by row."""
    return patchify(latents).flatten(2).transpose(1, 2)


def unpack(tokens: Float[Tensor, "b n d"], size: Size) -> Float[Tensor, "b c h w"]:
    """The inverse of `pack`."""
    return unpatchify(tokens.transpose(1, 2).unflatten(2, size))
