"""What the families share that put 2 x 2 latents into a token: FLUX.1, FLUX.2, Qwen-Image, Krea 2, Chroma.

A token's features are ordered channel, row, column; tokens go row by row. Reference pictures are further tokens of the
same kind behind the picture's own, told apart by their positions; of what the network returns, only the picture's own
tokens count.
"""

import abc
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.codec import PATCH, Size, pack, unpack
from latentedit.models.flow import Clock, FlowBackbone
from latentedit.models.sites import Blocks


class PackedFlowBackbone(FlowBackbone):
    """A rectified-flow transformer on packed latents, whose time is s itself; see `latentedit.models.flow`."""

    clock: ClassVar[Clock] = "level"

    def _network_channels(self) -> int:
        return int(self._network.config.in_channels) // PATCH**2

    def _patch(self) -> int:
        return PATCH

    def _ask(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        pictures = [z, *(latents.to(z.dtype) for latents in condition.reference or ())]
        sizes = [(latents.shape[-2] // PATCH, latents.shape[-1] // PATCH) for latents in pictures]
        tokens = torch.cat([pack(latents) for latents in pictures], dim=1)
        output = self._ask_packed(tokens, time, condition, sizes)
        return unpack(output[:, : sizes[0][0] * sizes[0][1]], sizes[0])

    @abc.abstractmethod
    def _ask_packed(
        self, tokens: Float[Tensor, "b n d"], time: Float[Tensor, " b"], condition: Condition, sizes: list[Size]
    ) -> Float[Tensor, "b n d"]:
        """The network's output, the picture's own tokens first; ``sizes`` are of the picture and of each reference."""


def positions(size: Size, *, first: int, axes: int, device: torch.device) -> Float[Tensor, "n axes"]:
    """Rotary positions of a picture's tokens, ``(first, row, column)``, then zeros up to so many axes.

    In float32, as bfloat16 has no odd number beyond 256.
    """
    rows, columns = size
    ids = torch.zeros(rows, columns, axes, device=device)
    ids[..., 0] = first
    ids[..., 1] = torch.arange(rows, device=device)[:, None]
    ids[..., 2] = torch.arange(columns, device=device)[None]
    return ids.flatten(0, 1)


def diagonal(words: int, *, device: torch.device) -> Float[Tensor, "n 3"]:
    """Rotary positions of words that stand on the diagonal of a picture's grid: ``(0, k, k)``, in float32."""
    places = torch.arange(words, device=device, dtype=torch.float32)
    return torch.stack([torch.zeros_like(places), places, places], dim=1)


_ATTENTION = ("attn",)
DOUBLE_BLOCKS = Blocks(name="double", text=0, image=1, attention=_ATTENTION)
FLUX_BLOCKS = (
    DOUBLE_BLOCKS,
    Blocks(name="single", modules="single_transformer_blocks", text=0, image=1, joined="last", attention=_ATTENTION),
)
"""Of FLUX.1 and its kin: both streams after each block, double blocks first; attention of single ones is joint."""
