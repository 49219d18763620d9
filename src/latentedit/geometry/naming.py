"""Names of discovered directions: which attribute a direction changes, how purely, and where in the image.

An attribute reader gives each attribute of an image as probabilities of its values. With p of the image itself and
q of an edited one, the change of an attribute is the total variation distance, averaged over the edits (strengths and
signs),

    change(a) = mean over edits of  1/2 sum over values |q_a - p_a|                      in [0, 1]
    purity    = max over a of change(a) / sum over a of change(a)                        in (0, 1]

so a direction that changes one attribute has purity 1, and one that changes all of n alike has 1 / n. Derived here;
total variation has one unit for attributes with few values and with many.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

# Total variation below which an attribute counts as unchanged, and a direction without any other as unnamed.
LEAST_CHANGE = 0.1
UNNAMED = "unnamed"
# RMS distance from the center, in image sides, above which a change is of the "whole image"; a uniform one has 0.41.
_SPREAD = 0.35
_ROWS, _COLUMNS = ("top", "", "bottom"), ("left", "", "right")


@runtime_checkable
class ProbabilityReader(Protocol):
    """A captioner that gives the probability of each value of each attribute."""

    values: Mapping[str, tuple[str, ...]]
    """Attribute to its values, in the order of `probabilities`."""

    def probabilities(self, pixels: Float[Tensor, "b 3 h w"]) -> Mapping[str, Float[Tensor, "b _"]]:
        """Attribute to the probability of each of its values, one row per image; pixels in [-1, 1]."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """The change along a direction; without a reader, only its place."""

    name: str  # such as "hair: long (+), short (-)"; "unnamed" below `LEAST_CHANGE`; without a reader the place
    attribute: str  # the one that changes most; "" if unnamed
    purity: float  # see the module; nan if unnamed
    changes: Mapping[str, float]  # attribute to its change, see the module
    place: str  # position of the change in the image


def meaning_of(
    reader: ProbabilityReader | None,
    source: Float[Tensor, "*shown"],
    edited: Float[Tensor, "m *shown"],
    scales: Sequence[float],
) -> Meaning:
    """Name a direction by its effect on an image in [-1, 1], edited at signed scales.

    Without a reader any tensors will do; those that are no planes have no place.
    """
    if edited.ndim != 4:
        return Meaning(name=UNNAMED, attribute="", purity=math.nan, changes={}, place="")
    place = place_of(edited - source)
    if reader is None:
        return Meaning(name=place, attribute="", purity=math.nan, changes={}, place=place)
    read = reader.probabilities(torch.cat([source[None], edited]).clamp(-1, 1))
    shifts = {name: (p[1:] - p[:1]).cpu().double() for name, p in read.items()}
    changes = {name: float(shift.abs().sum(1).mean() / 2) for name, shift in shifts.items()}
    attribute = max(changes, key=changes.__getitem__)
    if changes[attribute] < LEAST_CHANGE:
        return Meaning(name=UNNAMED, attribute="", purity=math.nan, changes=changes, place=place)
    purity = changes[attribute] / sum(changes.values())
    signs = torch.tensor([math.copysign(1, scale) for scale in scales])
    name = f"{attribute.replace('_', ' ')}: {_values(shifts[attribute], signs, reader.values[attribute])}"
    return Meaning(name=name, attribute=attribute, purity=purity, changes=changes, place=place)


def place_of(change: Float[Tensor, "m c h w"]) -> str:
    """The position of a change of planes, by its energy: "top left", "middle", ..., "whole image", or "nowhere"."""
    energy = change.detach().cpu().double().square().sum((0, 1))
    if not float(energy.sum()) > 0:
        return "nowhere"
    center, variance = list[float](), 0.0
    for share in (energy.sum(1) / energy.sum(), energy.sum(0) / energy.sum()):
        places = (torch.arange(len(share), dtype=torch.float64) + 0.5) / len(share)
        center.append(float((share * places).sum()))
        variance += float((share * (places - center[-1]).square()).sum())
    if math.sqrt(variance) >= _SPREAD:
        return "whole image"
    row, column = (min(2, int(3 * middle)) for middle in center)
    return f"{_ROWS[row]} {_COLUMNS[column]}".strip() or "middle"


def _values(shift: Float[Tensor, "m v"], signs: Float[Tensor, " m"], values: tuple[str, ...]) -> str:
    """The value that gains most in each sign, if one gains."""
    gaining: dict[str, list[str]] = {}
    for sign, mark in ((1, "+"), (-1, "-")):
        if bool((signs == sign).any()):
            gained, index = shift[signs == sign].mean(0).max(0)
            if float(gained) >= LEAST_CHANGE:
                gaining.setdefault(values[int(index)], []).append(mark)
    return ", ".join(f"{value} ({' and '.join(marks)})" for value, marks in gaining.items()) or "changed"
