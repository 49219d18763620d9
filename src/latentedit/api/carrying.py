"""A discovered direction on another picture: carried there, made as long as it takes, walked, named and calibrated."""

import dataclasses

import torch

from latentedit.api.discovery import DiscoveredDirection, discover_along
from latentedit.core.progress import Progress
from latentedit.core.settings import Count, check
from latentedit.directions.at_level import clean_share
from latentedit.directions.base import Direction
from latentedit.directions.local_basis import LocalBasis, local_basis
from latentedit.directions.transport import DAMPING, Carried, feature_of, transport
from latentedit.latents.joint import JointLatent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransportResult:
    """A direction at the picture to which it was carried.

    Args:
        basis: of that picture, of which it is made.
        carried: with its share of the change, at unit length.
        found: the direction, and what it does to the picture.
    """

    basis: LocalBasis
    carried: Carried
    found: DiscoveredDirection


@torch.no_grad()
def transport_to(
    direction: Direction,
    latent: JointLatent,
    *,
    rank: int = 20,
    inverse: bool = True,
    damping: float = DAMPING,
    seed: int = 0,
    progress: Progress | None = None,
) -> TransportResult:
    """Carry a direction to a picture, at the site and level at which it was found, under the same text.

    That text is the direction's prompt; the picture's own caption where it was found under the caption of its picture.

    Args:
        direction: that knows its change of a feature.
        latent: one picture, under the text that is to stay true of it.
        rank: of the picture's basis; the more, the more of the change it can make.
        inverse: see `directions.transport.transport`.
        damping: see `directions.transport.transport`.
        seed: of the search for the basis.
        progress: told after each step of the inversion, the search, "step lengths" and "edits".

    Raises:
        ConfigError, ShapeError: as `local_basis` and `transport`.
        ModelError: the network gave values that are not finite.

    Cost:
        That of `local_basis`, and of one direction in `discover_along`.
    """
    feature_of(direction)
    direction.check_model(latent.backbone.name, latent.backbone.fingerprint)
    known = direction.settings
    check(Count, steps=known.get("steps"))
    prompt = known.get("prompt")
    own = prompt in direction.source_captions or not isinstance(prompt, str)
    basis = local_basis(
        latent,
        site=known["site"],
        rank=rank,
        level=direction.level,
        prompt=None if own else prompt,
        steps=int(known["steps"]),
        seed=seed,
        progress=progress,
    )
    carried = transport(direction, basis, inverse=inverse, damping=damping, step=1.0)
    (found,) = discover_along(
        basis,
        carried.direction.z * clean_share(basis.level),
        lambda _, step: transport(direction, basis, inverse=inverse, damping=damping, step=step).direction,
        progress=progress,
    )
    return TransportResult(basis=basis, carried=carried, found=found)
