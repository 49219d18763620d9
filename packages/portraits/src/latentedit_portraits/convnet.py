"""The small network with which reader and framer look at pictures."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class PictureNetwork(nn.Module):
    """Strided convolutions, each of which halves the picture's sides, one hidden layer, and a linear head.

    Args:
        side: of the pictures, in pixels.
        widths: channels of each convolution.
        hidden: width of the hidden layer.
        outputs: numbers a picture.
    """

    def __init__(self, *, side: int, widths: Sequence[int], hidden: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width in zip((3, *widths), widths, strict=False):
            layers += [
                nn.Conv2d(width_in, width, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(widths[-1] * (side // 2 ** len(widths)) ** 2, hidden)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b outputs"]:
        """The numbers of each picture; pixels in [-1, 1]."""
        return self.head(functional.relu(self.hidden(self.features(pixels).flatten(1))))
