"""How well a model takes portraits that differ from its own as other programs' do: read right, recolored right."""

import colorsys
import random
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.editors.local_change import local_change
from latentedit.editors.registry import make_editor
from latentedit.latents.encode import encode
from latentedit.models.base import Backbone
from latentedit_portraits.attributes import NONE, VALUES, Attributes, draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.dataset import SIZE, to_pixels
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.recolored import NAMED, draw_picture, recolored
from latentedit_portraits.render import Framing, render_array, render_colors

_SEED = 20  # of portraits that are measured, apart from those of training
_CHANGED = 30  # levels of 255 by which a pixel of the right answer differs where a colour is looked at
_BATCH = 25


def reading_accuracy(reader: PortraitReader, count: int) -> dict[str, float]:
    """Share of recolored, widely framed portraits whose attribute is read right; of colours those with a value.

    Args:
        reader: whose answers are counted.
        count: portraits.
    """
    made = [draw_picture(random.Random(f"portraits/other/{_SEED}/{index}")) for index in range(count)]
    drawn, pictures = zip(*made, strict=True)
    found = reader.attributes(to_pixels(np.stack(pictures), torch.device("cpu")))
    shares: dict[str, float] = {}
    for name, known in VALUES.items():
        pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(found, drawn, strict=True)]
        shares[name] = float(np.mean([seen == shown for seen, shown in pairs if shown in known]))
    return shares


@torch.no_grad()
def recoloring_accuracy(model: Backbone, colors: Mapping[str, Sequence[str]], count: int) -> dict[str, float]:
    """Share of edits after which a part has the colour that was asked for, an attribute at a time.

    A colour is right where it is, of all of `NAMED`, nearest to the median of what was to change.

    Args:
        model: edits with its own editor at strength 1, from full captions.
        colors: attributes and the colours that are asked for, such as `OTHERS` or `UNSEEN`.
        count: portraits for each colour.
    """
    shares: dict[str, float] = {}
    for name, words in colors.items():
        able = [one for one in draw_split("test", 4 * count, _SEED) if getattr(one, name) != NONE][:count]
        batches = [able[start : start + _BATCH] for start in range(0, len(able), _BATCH)]
        right = [one for word in words for some in batches for one in _recolored_right(model, some, name, word)]
        shares[name] = float(np.mean(right))
    return shares


def _recolored_right(model: Backbone, portraits: Sequence[Attributes], name: str, word: str) -> list[bool]:
    answers = [recolored(one, **{name: word}) for one in portraits]
    sources = np.stack([render_array(one) for one in portraits])
    truths = np.stack([render_colors(one, one.paints, SIZE, Framing()) for one in answers])
    latent = encode(model, [Image.fromarray(one) for one in sources], caption=[full_caption(one) for one in portraits])
    target = model.embed([full_caption(one) for one in answers])
    moved = make_editor("eim", model).edit(latent, target, [1.0], seed=_SEED)[0].z
    assert latent.decoded is not None
    change = local_change(model.decode(moved) - latent.decoded)
    edited = (to_pixels(sources, change.device) + change).clamp(-1, 1)
    asked = torch.from_numpy(np.abs(truths.astype(int) - sources).max(axis=3) > _CHANGED)
    return [nearest_color(picture[:, where]) == word for picture, where in zip(edited, asked, strict=True)]


def nearest_color(pixels: Float[Tensor, "3 n"]) -> str:
    """The colour of `NAMED` whose shade is nearest to the median of pixels in [-1, 1]."""
    median = ((pixels.median(dim=1).values + 1) / 2).cpu().numpy()
    shades = {name: np.asarray(colorsys.hsv_to_rgb(*hsv)) for name, hsv in NAMED.items()}
    return min(shades, key=lambda name: float(np.square(shades[name] - median).sum()))
