"""Stable Flow: the picture's own keys and values in the few layers that are vital, after a nudge of the latent."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.settings import Positive, settings
from latentedit.editors.baselines.mutual_attention import MutualAttention, reached_layers
from latentedit.latents.inversion import InversionTrace, invert
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone


@settings
class StableFlow(MutualAttention):
    """Picture and edit side by side from the same noise, the edit with the picture's keys and values in vital layers.

    Args:
        layers: the vital ones by number, negative from the last; those that the network lacks are left out. The
            defaults are where the double blocks of FLUX.1 have theirs: its first and last two.
        nudge: factor of the clean latent before it is inverted, which makes the inversion easier to come back from.

    Raises:
        ConfigError: from ``edit``: a network that has none of the layers.

    Source:
        Avrahami et al. 2024, arXiv 2411.14430, with its code for FLUX.1: 9 of 57 layers, nudge 1.15. There a step of
        the inversion takes the velocity at its end's level; here, as DDIM, at its beginning's.
    """

    name: ClassVar[str] = "stable-flow"

    layers: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, -2, -1)
    nudge: Positive = 1.15

    def _layers(self, backbone: Backbone) -> Sequence[str]:
        names = reached_layers(backbone)
        vital = {number % len(names) for number in self.layers if -len(names) <= number < len(names)}
        if not vital:
            raise ConfigError(
                f"{backbone.name} has {len(names)} attention layers, numbers 0 to {len(names) - 1}; got layers "
                f"{list(self.layers)}. Name at least one of them"
            )
        return [names[number] for number in sorted(vital)]

    def _first(self, steps: int) -> int:
        del steps
        return 0

    def _trace(self, latent: JointLatent, progress: Progress | None) -> InversionTrace:
        nudged = dataclasses.replace(latent, z=self.nudge * latent.z)
        return invert(nudged, self._path(latent), progress=progress)
