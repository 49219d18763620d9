"""How much of a picture an attribute covers: the share of pixels that change when it alone is drawn anew."""

import functools
from collections.abc import Mapping

import numpy as np

from latentedit_bench.domains.base import Domain, domain

CHANGED = 10  # levels of 255 beyond which a pixel counts as changed
_SCENES = 2  # scenes over which the mean is taken: those in which every attribute can change
_DRAWN = 20  # scenes of the calibration split among which they are looked for
_SEED = 5


@functools.cache
def attribute_areas(name: str) -> Mapping[str, float]:
    """Attribute to the mean share of pixels that change, over its values and over a few scenes; in (0, 1).

    What goes with a part, as the colour of hair that is taken away, counts with the part.
    """
    return measured_areas(domain(name), scenes=_SCENES)


def measured_areas(world: Domain, *, scenes: int) -> dict[str, float]:
    """`attribute_areas`, over so many scenes."""
    found: dict[str, list[float]] = {name: [] for name in world.values}
    whole = [one for one in world.draw("calibration", _DRAWN, _SEED) if set(world.alternatives(one)) == set(found)]
    for scene in whole[:scenes]:
        before = world.render(scene).astype(np.int16)
        for name, values in world.alternatives(scene).items():
            for value in values:
                difference = np.abs(world.render(world.change(scene, {name: value})).astype(np.int16) - before).max(2)
                found[name].append(float((difference > CHANGED).mean()))
    return {name: float(np.mean(shares)) for name, shares in found.items()}
