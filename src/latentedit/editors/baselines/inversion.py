"""Edits by inversion: up under the source text, down under the target, plainly or aligned with the way up."""

from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Guidance, Level, settings
from latentedit.core.solvers import EulerSolver, Field, integrate
from latentedit.editors.baselines.path_editor import PathEditor, branches, towards
from latentedit.editors.baselines.round_trip import RoundTrip
from latentedit.latents.inversion import invert, replay
from latentedit.latents.joint import JointLatent


@settings
class Inversion(RoundTrip):
    """Invert under c0 up to ``level``, then sample down under ``c0 + strength (c1 - c0)``.

    Source:
        DDIM inversion and its dual use (Su et al. 2022, arXiv 2203.08382) in flow coordinates.
    """

    name: ClassVar[str] = "inversion"

    def _cost(self, k: int) -> int:
        """``k (1 up + 1 down, or 2 down if guided)``."""
        return k * (1 + branches(self.guidance))

    def _walk(self, field: Field, z: Tensor, levels: Sequence[float], progress: Progress | None) -> Tensor:
        return integrate(field, z, levels, EulerSolver(), progress=progress).final


@settings
class AlignedInversion(PathEditor):
    """Invert under c0 up to ``level``, then return aligned under ``c0 + strength (c1 - c0)``.

    Args:
        level: how far up, in (0, 1]; 1 is the whole path.
        guidance: classifier-free guidance weight of the way back; 1 keeps the retrace exact.

    Source:
        DirectEdit's alignment; strength by interpolating the text is ours.
    """

    name: ClassVar[str] = "aligned-inversion"

    level: Level = 1.0
    guidance: Guidance = 1.0

    @property
    def keeps_equal_texts(self) -> bool:
        """Without guidance the way back retraces the way up."""
        return self.guidance == 1

    def _cost(self, k: int) -> int:
        """``k (1 up + 1 back, or 2 back if guided)``."""
        return k * (1 + branches(self.guidance))

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        del seed  # nothing is drawn
        trace = invert(latent, self._path(latent), progress=progress)
        text = towards(latent, target, strength)
        return replay(latent, trace, text, guidance=self.guidance, progress=progress)
