"""The small network with which reader and framer look at pictures, and the file in which it lies beside a model."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from latentedit.core.rng import seeded
from latentedit.models.registry import bundled_folder
from latentedit_portraits.fitting import load_half, save_half


class PictureNetwork(nn.Module):
    """Strided convolutions, each of which halves the picture's sides, one hidden layer, and a linear head.

    Subclasses say how large: the side of the pictures in pixels, the channels of each convolution, the width of the
    hidden layer, and how many numbers come of a picture.
    """

    side: ClassVar[int]
    widths: ClassVar[Sequence[int]]
    hidden_width: ClassVar[int]
    outputs: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width in zip((3, *self.widths), self.widths, strict=False):
            layers += [
                nn.Conv2d(width_in, width, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(self.widths[-1] * (self.side // 2 ** len(self.widths)) ** 2, self.hidden_width)
        self.head = nn.Linear(self.hidden_width, self.outputs)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b outputs"]:
        """The numbers of each picture; pixels in [-1, 1]."""
        return self.head(functional.relu(self.hidden(self.features(pixels).flatten(1))))


_Stored = TypeVar("_Stored", bound="StoredNetwork")


class StoredNetwork:
    """Something that looks at pictures by a network of its own, which lies in ``KIND/KIND.safetensors`` of a model."""

    kind: ClassVar[str]
    architecture: ClassVar[type[PictureNetwork]]
    model: ClassVar[str] = "portraits"

    def __init__(self, network: PictureNetwork) -> None:
        self.network = network.eval()

    @classmethod
    def from_folder(cls: type[_Stored], folder: Path) -> _Stored:
        """The one that lies beside a model."""
        with seeded(0):  # the global random state stays
            network = cls.architecture()
        load_half(network, folder / cls.kind / f"{cls.kind}.safetensors")
        return cls(network)

    @classmethod
    @functools.cache
    def bundled(cls) -> Any:
        """The one beside the bundled ``model``; on the CPU, wherever the model is."""
        return cls.from_folder(bundled_folder(cls.model))

    def save(self, folder: Path) -> None:
        """Write the weights in half precision."""
        save_half(self.network, folder / self.kind / f"{self.kind}.safetensors")
