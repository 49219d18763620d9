"""The automatic soft mask: the change that reaches the picture, without its faint remainder elsewhere.

Moving a latent changes every pixel a little: the codec spreads what it decodes, and a direction is never quite clean.
The search already masks the differences of velocities (`directions.locality`). Here the same soft share is taken of
the decoded change, pixel by pixel,

    share = (1 + floor) p / (p + floor max p)        p = local energy of the change

so that all of the change stays where it is strongest, and pixels that it hardly touches stay as they are in the file. A
soft share leaves no seam. It does not depend on the strength. Derived here; the floor was chosen on the calibration
split.
"""

from jaxtyping import Float
from torch import Tensor

from latentedit.directions.preserve import change_share

FLOOR = 0.03  # local energy of the change, as a share of the strongest, at which about half of the change is left
_PER_SIDE = 3 / 128  # width of the local average as a share of the picture's shorter side


def local_change(change: Float[Tensor, "b 3 h w"], *, floor: float = FLOOR) -> Float[Tensor, "b 3 h w"]:
    """A change of pixels, edited minus source as the model decodes them, less what is faint, see the module."""
    width = 2 * round((_PER_SIDE * min(change.shape[-2:]) - 1) / 2) + 1
    return change * ((1 + floor) * change_share(change, floor, width=max(3, width)))
