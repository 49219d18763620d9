"""A captioner: what an image shows, in words that the model knows."""

from jaxtyping import Float
from torch import Tensor

from latentedit import Backbone
from latentedit.encoding import Captioner


class BrightnessCaptioner(Captioner):
    """Sees a wall where an image is bright, and hair where it is dark."""

    def __init__(self, backbone: Backbone) -> None:
        self._device = backbone.device

    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        """One caption an image; pixels in [-1, 1]."""
        return ["a white wall" if float(one.mean()) > 0 else "black hair" for one in pixels.to(self._device)]
