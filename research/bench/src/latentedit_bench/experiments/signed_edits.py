"""Directions followed in both signs to equal effect, decoded and read."""

import dataclasses
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit import LocalBasis
from latentedit.editing import probability_reader
from latentedit.geometry import LEAST_CHANGE, TYPICAL_EFFECT, LatentWalk, Walk, effect_of, step_lengths

SCALES = (1.0, -1.0)  # multiples of the length at which a direction has the effect


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SignedEdit:
    """One direction at one image, walked to both of `SCALES`."""

    effect: float  # reached, see `geometry.walks`
    change: Float[Tensor, "2 3 h w"]  # difference of the pixels, edited minus source, on the scale of [-1, 1]
    shifts: Mapping[str, Float[Tensor, "2 _"]]  # changes of the probabilities of its values; empty without a reader

    @property
    def changes(self) -> dict[str, float]:
        """Attribute to its change, the total variation distance, mean of both signs; see `geometry.naming`."""
        return {name: float(shift.abs().sum(1).mean() / 2) for name, shift in self.shifts.items()}

    @property
    def seen(self) -> bool:
        """Whether the reader sees an attribute change by `LEAST_CHANGE`; without one, whether any pixel changes."""
        return max(self.changes.values()) >= LEAST_CHANGE if self.shifts else bool(self.change.any())

    @property
    def read(self) -> Float[Tensor, " n"]:
        """All shifts of both signs as one vector; the change of the pixels if there is no reader."""
        parts = [shift.flatten() for shift in self.shifts.values()] or [self.change.flatten().double()]
        return torch.cat(parts)


@torch.no_grad()
def signed_edits(
    basis: LocalBasis,  # basis of an image and level
    units: Float[Tensor, "k *latent"],  # directions there, of unit length
    *,
    effect: float = TYPICAL_EFFECT,  # effect of every edit, see `geometry.walks`
    move: LatentWalk | None = None,  # how they move at the level; None is addition
) -> list[SignedEdit]:
    """The edits of directions on an image, each followed until it has the same effect."""
    latent, backbone = basis.latent, basis.latent.backbone
    walk = Walk(latent=latent, trace=basis.trace, move=move or LatentWalk())
    lengths = step_lengths(walk, units, effect=effect)
    z = walk.to(units, torch.tensor(SCALES, dtype=torch.float64)[:, None] * lengths, what="edits")
    effects = effect_of(z, latent.z)
    decoded = backbone.decode(latent.z) if latent.decoded is None else latent.decoded
    reader, source = probability_reader(backbone), latent.frames[0].pixels.to(decoded)
    found: list[SignedEdit] = []
    for index, reached in enumerate(effects.tolist()):
        change = backbone.decode(z[:, index]) - decoded
        shifts: dict[str, Tensor] = {}
        if reader is not None:
            read = reader.probabilities(torch.cat([source[None], source + change]).clamp(-1, 1))
            shifts = {name: (p[1:] - p[:1]).cpu().double() for name, p in read.items()}
        found.append(SignedEdit(effect=reached, change=change.cpu(), shifts=shifts))
    return found
