"""Portraits in colours that their attributes do not have: as other programs draw them, and as a person may ask for."""

import colorsys
import dataclasses
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from latentedit_portraits.attributes import IGNORED, NONE, VALUES, Attributes, draw
from latentedit_portraits.dataset import SIZE, Renders, in_processes, kept_array
from latentedit_portraits.package_data import read_table
from latentedit_portraits.render import COLORS, Framing, hex_color, render_colors

_TABLE = read_table("drawing")

NAMED: Mapping[str, tuple[float, float, float]] = {name: tuple(hsv) for name, hsv in _TABLE["named"].items()}
"""Colour to the hue, saturation and value about which its shades lie, each in [0, 1]."""

UNSEEN: Mapping[str, tuple[str, ...]] = {name: tuple(colors) for name, colors in _TABLE["unseen"].items()}
"""Attribute that is a colour to the colours that training never shows of it."""

_GINGER = {"hair_color": ("red", "orange"), "facial_hair_color": ("red", "orange")}
"""Colours whose words mean ginger of these attributes."""

_SHOWN = {
    name: tuple(word for word in NAMED if word not in (*unseen, *_GINGER.get(name, ())))
    for name, unseen in UNSEEN.items()
}

OTHERS: Mapping[str, tuple[str, ...]] = {
    name: tuple(word for word in words if word not in VALUES[name]) for name, words in _SHOWN.items()
}
"""Attribute that is a colour to the colours that are none of its values, and that training shows of it."""

_SPREAD = (0.015, 0.08, 0.06)  # of shades of one colour, in hue, saturation and value
_RECOLORED = 0.6  # probability that a part has a colour of `NAMED`; otherwise a shade of its own
_CHUNK = 200  # portraits that a process renders at once


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recolored(Attributes):
    """One portrait whose colours are named by any words.

    Args:
        paints: what is painted for each attribute that is a colour, as ``#rrggbb``.
    """

    paints: Mapping[str, str] = dataclasses.field(hash=False)

    def __post_init__(self) -> None:
        """Nothing is refused: colours are free."""

    def replace(self, **change: str) -> Self:
        """As for `Attributes`; a colour that changes is painted as its value always is."""
        new = Attributes.replace(self, **change)
        changed = [name for name in COLORS if getattr(new, name) != getattr(self, name)]
        plain = {name: COLORS[name][getattr(new, name)] for name in changed}
        values = {name: getattr(new, name) for name in VALUES}
        return dataclasses.replace(self, **values, paints={**self.paints, **plain})

    def indices(self) -> list[int]:
        """As for `Attributes`, and `IGNORED` for a colour that is none of the attribute's values."""
        return [
            allowed.index(value) if (value := getattr(self, name)) in allowed else IGNORED
            for name, allowed in VALUES.items()
        ]


def recolored(attributes: Attributes, **colors: str) -> Recolored:
    """A portrait in plain shades of other colours.

    Args:
        attributes: the portrait.
        colors: attributes that are colours, and words of `NAMED`.
    """
    paints = {name: known[getattr(attributes, name)] for name, known in COLORS.items()}
    paints |= {name: hex_color(*NAMED[color]) for name, color in colors.items()}
    return Recolored(**dataclasses.asdict(attributes) | colors, paints=paints)


def draw_recolored(generator: random.Random) -> Recolored:
    """A random portrait with random shades of random colours, none of `UNSEEN`."""
    attributes = draw(generator)
    words, paints = dict[str, str](), dict[str, str]()
    for name, known in COLORS.items():
        own = getattr(attributes, name)
        if name == "skin" or own == NONE or generator.random() >= _RECOLORED:
            base = colorsys.rgb_to_hsv(*(int(known[own][i : i + 2], 16) / 255 for i in (1, 3, 5)))
        else:
            words[name] = generator.choice(_SHOWN[name])
            base = NAMED[words[name]]
        hue, *rest = (part + generator.gauss(0, 1) * width for part, width in zip(base, _SPREAD, strict=True))
        paints[name] = hex_color(hue % 1.0, *(min(max(part, 0.0), 1.0) for part in rest))
    return Recolored(**dataclasses.asdict(attributes) | words, paints=paints)


def draw_wide_framing(generator: random.Random) -> Framing:
    """A framing as a framer may leave it."""
    shift_x, shift_y = generator.uniform(-0.06, 0.06), generator.uniform(-0.06, 0.06)
    return Framing(shift_x=shift_x, shift_y=shift_y, zoom=2 ** generator.uniform(-0.2, 0.2))


def render_recolored(
    folder: Path, count: int, *, seed: int, workers: int = 2, progress: Callable[[int, int], None] | None = None
) -> Renders:
    """So many recoloured portraits in wide framings, rendered into ``folder`` unless they are already there.

    Args:
        folder: where ``recolored-{count}-{seed}.npy`` goes.
        count: how many.
        seed: of everything drawn.
        workers: processes.
        progress: called with (done, total).
    """

    def rendered() -> NDArray[np.uint8]:
        folder.mkdir(parents=True, exist_ok=True)
        found: list[NDArray[np.uint8]] = []
        jobs = [(seed, range(start, min(start + _CHUNK, count))) for start in range(0, count, _CHUNK)]
        for chunk in in_processes(_render_chunk, jobs, workers):
            found.append(chunk)
            if progress is not None:
                progress(sum(map(len, found)), count)
        return np.concatenate(found)

    pixels = kept_array(folder / f"recolored-{count}-{seed}.npy", rendered)
    return Renders(pixels=pixels, attributes=[draw_recolored(_generator(seed, index)) for index in range(count)])


def draw_picture(generator: random.Random) -> tuple[Recolored, NDArray[np.uint8]]:
    """A random recoloured portrait and its picture in a wide framing."""
    item = draw_recolored(generator)
    return item, render_colors(item, item.paints, SIZE, draw_wide_framing(generator))


def _render_chunk(job: tuple[int, range]) -> NDArray[np.uint8]:
    return np.stack([draw_picture(_generator(job[0], index))[1] for index in job[1]])


def _generator(seed: int, index: int) -> random.Random:
    return random.Random(f"portraits/recolored/{seed}/{index}")
