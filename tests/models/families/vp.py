"""What families with trained times do otherwise: their samplers start below pure noise."""

from typing import Any

from torch import Tensor

from latentedit.core.levels import LevelGrid
from tests.models.families.family import FamilyContract

DDIM: dict[str, Any] = {"clip_sample": False, "set_alpha_to_one": True, "steps_offset": 1}
"""Of the stock sampler: it ends at the clean estimate, as ours does, and clips nothing."""


class VPContract(FamilyContract):
    """Parity with DDIM: its first latents are standard noise in the network's own coordinates."""

    def first_latents(self, z: Tensor, grid: LevelGrid) -> Tensor:
        """``x_t = (alpha + sigma) z``, and ``alpha + sigma`` is ``1 / |(1 - s, s)|``."""
        first = grid.levels[0]
        return z * ((1 - first) ** 2 + first**2) ** 0.5
