"""A direction that was found at one picture, carried to another: the same change of the feature, made there.

What a local basis calls a direction is a displacement of one picture's latent, and on another picture it does something
else. What two pictures share is the space of features. So the change of the feature goes over, and the other picture's
own basis says which displacement makes it there; see `core.geometry.transport`.
"""

import dataclasses
import math

from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.geometry.transport import transported
from latentedit.directions.at_level import clean_share, direction_at
from latentedit.directions.base import Direction
from latentedit.directions.local_basis import LocalBasis

DAMPING = 0.1
"""Of the inverse, in the largest singular value: directions weaker than a tenth of the strongest one fade out instead
of taking over, and none is amplified more than fivefold. Stronger ones keep most of their exact weight, 96 % at a half.
"""

_SAME_LEVEL = 1e-6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Carried:
    """A direction at the picture to which it was carried.

    Args:
        direction: there.
        captured: share of the squared change of the feature that the target's basis can make, in [0, 1].
        chance: the share of a random change of the feature, the basis' rank in the feature's numbers.
    """

    direction: Direction
    captured: float
    chance: float


def transport(
    direction: Direction,
    basis: LocalBasis,
    *,
    inverse: bool = True,
    damping: float = DAMPING,
    step: float | None = None,
    across_levels: bool = False,
) -> Carried:
    """Carry a direction to where a local basis was taken.

    Args:
        direction: of a local basis (`LocalBasis.direction`), or carried once already.
        basis: of the other picture, at the same site and level; whole, as `local_basis` gives it.
        inverse: divide by the singular values, so that the change of the feature is that of the direction as far as the
            basis can make it; without, all directions of the basis count alike.
        damping: of the inverse, see `DAMPING`.
        step: length of the displacement of the latent at the level; None keeps that of the direction.
        across_levels: the basis may be at another level, of this picture or of another one.

    Raises:
        ConfigError: a direction without a change of the feature, of another model, site or level; one of which the
            basis has nothing; or a basis that was projected.
        ShapeError: features of another shape, as of pictures of another size.

    Source:
        Park et al. 2023 (arXiv 2307.12868), parallel transport, with the inverse of the singular values.
    """
    feature = feature_of(direction)
    direction.check_model(basis.latent.backbone.name, basis.latent.backbone.fingerprint)
    _check_place(direction, basis, across_levels=across_levels)
    if feature.shape != basis.u.shape[1:]:
        raise ShapeError(
            f"the features have the shape {list(basis.u.shape[1:])}, those of the direction {list(feature.shape)}. Use "
            "a picture of the size on which it was found"
        )
    found = transported(feature[None], basis.u, basis.singular_values, basis.v, inverse=inverse, damping=damping)
    captured = float(found.captured[0])
    length = float(direction.length[0]) * clean_share(direction.level) if step is None else step
    settings = {
        "from": direction.fingerprint,
        "captured": captured,
        "inverse": inverse,
        "damping": damping if inverse else None,
        "site": basis.site,
        "rank": len(basis),
        "seed": basis.seed,
        "prompt": basis.prompt,
        "step": length,
        "steps": basis.steps,
    }
    carried = direction_at(
        basis.latent, (length * found.v).to(basis.v), level=basis.level, method="transport", settings=settings
    )
    notes = tuple(dict.fromkeys((*direction.notes, *basis.notes)))
    return Carried(
        direction=dataclasses.replace(carried, feature=found.u[0].to(basis.u), notes=notes),
        captured=captured,
        chance=min(1.0, len(basis) / math.prod(feature.shape)),
    )


def feature_of(direction: Direction) -> Float[Tensor, "*feature"]:
    """The change of a feature by which a direction can be carried.

    Raises:
        ConfigError: a direction that does not know it, with the way to one that does.
    """
    feature, site = direction.feature, direction.settings.get("site")
    if feature is None or not isinstance(site, str) or len(direction) != 1:
        raise ConfigError(
            f"a direction found by {direction.method!r} does not know its change of a feature, which transport needs. "
            "Find it with `latentedit discover`; one found from text needs no transport: edit with --direction"
        )
    return feature


def _check_place(direction: Direction, basis: LocalBasis, *, across_levels: bool) -> None:
    basis.check_whole()
    site = direction.settings["site"]
    if site != basis.site:
        raise ConfigError(
            f"the basis is at the site {basis.site!r}, the direction at {site!r}. Take the basis with site={site!r}"
        )
    if not across_levels and abs(direction.level - basis.level) > _SAME_LEVEL:
        raise ConfigError(
            f"the basis is at level {basis.level:g}, the direction at {direction.level:g}. "
            f"Take the basis with level={direction.level:g}, or allow it with across_levels=True"
        )
