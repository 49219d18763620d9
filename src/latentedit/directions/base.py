"""A displacement of the joint latent: what *Identify* gives and *Manipulate* applies."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.errors import ConfigError
from latentedit.types import Condition


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curvature:
    """How curved ``-log p`` of the source text is where the direction was looked for, in units in which noise is 1.

    Rayleigh quotients ``p^T (s^2 H) p / p^T p``: 1 along what the source text pins down, near 0 along what it leaves
    free, below 0 between two modes. They are nan for pictures of which nothing was asked.

    Args:
        rayleigh: the quotient of the residual itself, mean over steps (and over noises in the gamma family).
        lowest: least quotient met; an upper bound of the lowest eigenvalue.
        negative_share: share of the products taken whose quotient is not positive, in [0, 1].
        fallback_share: share of the steps in which negative curvature at once left the residual unfiltered, in [0, 1].
        notes: what the user should know about how it was computed.
    """

    rayleigh: Float[Tensor, " b"]
    lowest: Float[Tensor, " b"]
    negative_share: Float[Tensor, " b"]
    fallback_share: Float[Tensor, " b"]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Direction:
    """A displacement of clean latent and text, at strength 1.

    Args:
        z: displacement of the clean latent (a displacement of x, not a velocity and not a score).
        condition: displacement of the text, target minus source.
        level: the noisiest level at which it was looked for.
        method: how it was found.
        settings: of that method, plain values.
        fingerprint: of the model in whose latent space it lives.
        target_captions: what the target says, one a picture, where that is known.
        curvature: what the search saw of the Hessian, where it computed any of it.
        notes: what the user should know about the search, as sentences.
    """

    z: Float[Tensor, "b *latent"]
    condition: Condition
    level: float
    method: str
    settings: Mapping[str, Any]
    fingerprint: str
    target_captions: tuple[str, ...] = ()
    curvature: Curvature | None = None
    notes: tuple[str, ...] = ()

    @property
    def length(self) -> Float[Tensor, " b"]:
        """The norm of each picture's displacement; 0 where the target text is the source text."""
        return torch.linalg.vector_norm(self.z.flatten(1), dim=1)

    def check_model(self, name: str, fingerprint: str) -> None:
        """Refuse a model in whose latent space this direction means nothing.

        Raises:
            ConfigError: the fingerprints differ.
        """
        if fingerprint != self.fingerprint:
            raise ConfigError(
                f"expected a direction that was found in the model {name!r} ({fingerprint}); "
                f"got one of the model {self.fingerprint}. Identify it again with this model"
            )
