"""Global directions: the mean of the local bases of several images in feature space, pulled back to each image.

The latents of two images have nothing in common that could be averaged; their features do. So the mean is taken of
changes of the feature, and an image's own basis gives the displacement of its latent that makes such a change.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, explaining
from latentedit.core.setting import check_value
from latentedit.geometry.means import aligned_basis, karcher_mean, match, matched_mean
from latentedit.geometry.pullback import LocalBasis
from latentedit.geometry.subspaces import geodesic_distance, orthonormal_columns
from latentedit.geometry.transport import SAME_LEVEL, TRANSPORT_DAMPING, transported
from latentedit.identification.direction import Direction

# The mean of subspaces by geodesic distance, in the basis nearest to those of the samples; or that of vectors that are
# matched one by one.
Mean = Literal["frechet", "hungarian"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GlobalDirections:
    """Changes of a feature that several images share, in float64 on the CPU; the samples are their local bases."""

    u: Float[Tensor, "r *feature"]  # unit vectors, most shared first; orthogonal but for the mean "hungarian"
    captured: Float[Tensor, "n r"]  # share of each u in each sample's span; ``r / m`` for random spans of m numbers
    homogeneity: Float[Tensor, "n r"]  # ``|cos|`` of each u with the vector of each sample that is matched with it
    spread: Float[Tensor, " n"]  # geodesic distance of each sample's span from that of u, in radians
    converged: bool  # the mean reached its tolerance, or its last round of matching
    mean: Mean
    first: LocalBasis  # basis of the first sample; all share its model, site, level and text

    def __len__(self) -> int:
        return len(self.u)

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings to the user, as sentences."""
        return () if self.converged else ("the mean of the local bases has not converged: they lie too far apart",)

    def local(
        self, basis: LocalBasis, index: int, *, step: float = 1.0, damping: float = TRANSPORT_DAMPING
    ) -> Direction:
        """A global direction at one image, in the mean or not: ``v = V S^-1 U^T u``, of length ``step`` at the level.

        It stores its change of the feature there: the part of u inside the image's tangent space.
        """
        if not 0 <= index < len(self):
            raise ConfigError(f"there is no direction {index}: the last is {len(self) - 1}")
        _check_same(_origin(self.first), _origin(basis), "directions and basis")
        result = transported(self.u[index : index + 1], basis.u, basis.singular_values, basis.v, damping=damping)
        settings = {"index": index, "mean": self.mean, "rank": len(self), "samples": len(self.spread)}
        settings |= {"captured": float(result.captured[0]), "damping": damping, "seed": self.first.seed}
        return basis.direction_along(result.v[0], result.u[0], settings, step=step, method="global", notes=self.notes)


@explaining
def global_directions(bases: Sequence[LocalBasis], *, mean: Mean = "frechet") -> GlobalDirections:
    """The changes of a feature that local bases share, one per image, of one model, site, level, text and rank.

    Park et al. 2023 (arXiv 2302.12469, 2307.12868); the mean "frechet" is that of Choi et al., ICLR 2023.
    """
    check_value(Mean, mean=mean)
    if len(bases) < 2:
        raise ConfigError(f"global directions need at least two local bases; got {len(bases)}")
    for basis in bases[1:]:
        first, other = (
            {"text": one.prompt, "rank": len(one), "feature shape": [*one.u.shape[1:]]} | _origin(one)
            for one in (bases[0], basis)
        )
        _check_same(first, other, "bases")
    sets = [basis.u for basis in bases]
    u, converged = _mean(sets, mean)
    captured, homogeneity = agreement(u, sets)
    order = captured.mean(0).argsort(descending=True, stable=True)
    return GlobalDirections(
        u=u[order],
        captured=captured[:, order],
        homogeneity=homogeneity[:, order],
        spread=torch.tensor([geodesic_distance(u, sample) for sample in sets], dtype=torch.float64),
        converged=converged,
        mean=mean,
        first=bases[0],
    )


def agreement(
    u: Float[Tensor, "r *feature"], sets: Sequence[Tensor]
) -> tuple[Float[Tensor, "n r"], Float[Tensor, "n r"]]:
    """The share of each unit vector in the span of each set, ``|Q^T u_k|^2``, and ``|cos|`` with the matched vector."""
    rows = u.detach().cpu().double().flatten(1)
    captured = [(rows @ orthonormal_columns(sample)).square().sum(1).clamp(max=1) for sample in sets]
    return torch.stack(captured), torch.stack([match(u, sample).cosines for sample in sets])


def _mean(sets: Sequence[Tensor], mean: Mean) -> tuple[Float[Tensor, "r *feature"], bool]:
    """The mean vectors, and whether their search converged."""
    if mean == "hungarian":
        matched = matched_mean(sets)
        return matched.vectors, matched.converged
    karcher = karcher_mean(sets)
    aligned = aligned_basis(karcher.basis, sets)
    return aligned.vectors, karcher.converged and aligned.converged


def _origin(basis: LocalBasis) -> dict[str, Any]:
    return {"model": basis.latent.backbone.fingerprint, "site": basis.site, "level": basis.level}


def _check_same(some: Mapping[str, Any], others: Mapping[str, Any], whose: str) -> None:
    for what, value in some.items():
        other = others[what]
        if value != other and not (what == "level" and abs(value - other) <= SAME_LEVEL):
            raise ConfigError(f"{whose} have different {what}s, {value!r} and {other!r}. Take all with the same {what}")
