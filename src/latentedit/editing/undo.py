"""Undo of an edit by a direction, from the edited pixels alone; `latentedit.keeping.undoing` reads it from the file.

The edit is ``y = x + F(x)`` with ``F(x) = D(E(x) + d) - D(E(x))``, E and D the codec and d the displacement, and x is
the fixed point of ``x -> y - F(x)``. A few rounds approach it, each through the codec and without the network, starting
from ``y + D(E(y) - d) - D(E(y))``. Derived here.
"""

import torch
from PIL import Image

from latentedit.core.errors import ShapeError
from latentedit.core.setting import RESIDUAL
from latentedit.editors.base import check_strength
from latentedit.editors.eim import stored_eim
from latentedit.encoding.encode import fit_all
from latentedit.encoding.images import SourceImage
from latentedit.identification.direction import Direction
from latentedit.identification.locality import composed_change, dropped_residual
from latentedit.models.base import Backbone

ROUNDS = 5  # rounds of the fixed point; on the calibration portraits more did not come closer


@torch.no_grad()
def undo_direction(
    model: Backbone,
    image: SourceImage,
    direction: Direction,
    *,
    strength: float = 1.0,
    auto_mask: bool | None = None,
    subtract_residual: float = RESIDUAL,
) -> Image.Image:
    """The image before an edit by a direction, from the edited pixels alone; all arguments are those of the edit.

    ``auto_mask`` says whether it was restricted to an automatic mask; by default as stored for the model. It takes no
    network evaluation, ``ROUNDS + 1`` encodings and twice as many decodings.
    """
    check_strength(strength)
    auto_mask = stored_eim(model).localizes_on(model) if auto_mask is None else auto_mask
    direction.check_model(model.name, model.fingerprint)
    edited, guess = fit_all(model, [image])[0], image
    for back in (True, *[False] * ROUNDS):
        frame = guess.fit(model.capabilities, region=edited.region)
        z = model.encode(frame.pixels[None].to(model.device, model.dtype))
        if direction.z.shape != z.shape:
            raise ShapeError(
                f"the direction does not fit latents of shape {list(z.shape)}; got one of {list(direction.z.shape)}"
            )
        own, target = (model.decode(z + far * direction.z.to(z)) for far in (0, -strength if back else strength))
        change, pixels = own - target if back else target - own, frame.pixels[None].to(own)
        # The first guess is not the source: what the codec lost there tells nothing of it.
        dropped = 0.0 if back else dropped_residual(strength, subtract_residual)
        made = composed_change(change, pixels, own, dropped, local=auto_mask)
        guess = SourceImage.from_image(edited.restore(-made[0]))
    return guess.image
