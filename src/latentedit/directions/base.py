"""A displacement of the joint latent: what *Identify* gives and *Manipulate* applies."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from latentedit.errors import ConfigError
from latentedit.types import Condition


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
    """

    z: Float[Tensor, "b *latent"]
    condition: Condition
    level: float
    method: str
    settings: Mapping[str, Any]
    fingerprint: str
    target_captions: tuple[str, ...] = ()

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
