"""How much of a portrait an attribute covers: the share of pixels that change when it alone is drawn anew."""

import functools
from collections.abc import Iterator, Mapping

import numpy as np

from latentedit_portraits.attributes import NONE, VALUES, Attributes, draw_split
from latentedit_portraits.render import render_array

CHANGED = 10
"""Levels of 255 beyond which a pixel counts as changed."""

_PORTRAITS = 2
_DRAWN = 20
_SEED = 5
_SIDE = 128


@functools.cache
def attribute_areas() -> Mapping[str, float]:
    """Attribute to the mean share of pixels that change, over its values and over a few portraits; in (0, 1).

    The portraits have hair and facial hair, so that every attribute shows; what goes with a part, as the colour of hair
    that is taken away, counts with the part.

    Cost:
        Some eighty renders, once a process: seconds.
    """
    found: dict[str, list[float]] = {name: [] for name in VALUES}
    drawn = draw_split("calibration", _DRAWN, _SEED)
    shown = [one for one in drawn if NONE not in (one.hair_color, one.facial_hair_color)]
    for portrait in shown[:_PORTRAITS]:
        before = render_array(portrait, _SIDE).astype(np.int16)
        for name, other in _changed(portrait):
            difference = np.abs(render_array(other, _SIDE).astype(np.int16) - before).max(2)
            found[name].append(float((difference > CHANGED).mean()))
    return {name: float(np.mean(shares)) for name, shares in found.items()}


def _changed(portrait: Attributes) -> Iterator[tuple[str, Attributes]]:
    """Every attribute with every other value, of a portrait with hair and facial hair."""
    for name, values in VALUES.items():
        for value in values:
            if value != getattr(portrait, name) and not (value == NONE and name.endswith("_color")):
                yield name, portrait.replace(**{name: value})
