"""Edits by inversion: up under the source text, down under the target, plainly or aligned with the way up."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.settings import Count, Guidance, Level, settings
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import sample
from latentedit.editors.baselines.path_editor import PathEditor, branches, towards
from latentedit.latents.inversion import invert, replay
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import GuidedField


@settings
class Inversion(PathEditor):
    """Invert under c0 up to ``level``, then sample down under ``c0 + strength (c1 - c0)``.

    The way down evaluates at other points than the way up, so even an unchanged text returns only near the picture.

    Args:
        level: how far up, in (0, 1]; 1 is the whole path.
        steps: of the model's whole grid.
        guidance: classifier-free guidance weight of the way down.

    Raises:
        ConfigError: a setting outside its range.

    Source:
        DDIM inversion and its dual use (Su et al. 2022, arXiv 2203.08382) in flow coordinates.
    """

    name: ClassVar[str] = "inversion"

    level: Level = 1.0
    steps: Count = 28
    guidance: Guidance = 1.0

    @property
    def keeps_equal_texts(self) -> bool:
        """The way back misses the picture by the solver's error."""
        return False

    def _cost(self, k: int) -> int:
        """``k (1 up + 1 down, or 2 down if guided)``."""
        return k * (1 + branches(self.guidance))

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: int, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        del seed  # nothing is drawn
        grid = self._path(latent)
        top = invert(latent, grid, progress=progress).top
        text = towards(latent, target, strength)
        field = GuidedField(backbone=latent.backbone, condition=text, guidance=self.guidance)
        return sample(field, top, grid, EulerSolver(), progress=progress).final


@settings
class AlignedInversion(PathEditor):
    """Invert under c0 up to ``level``, then return aligned under ``c0 + strength (c1 - c0)``.

    Args:
        level: how far up, in (0, 1]; 1 is the whole path.
        steps: of the model's whole grid.
        guidance: classifier-free guidance weight of the way back; 1 keeps the retrace exact.

    Raises:
        ConfigError: a setting outside its range.

    Source:
        DirectEdit's alignment; strength by interpolating the text is ours.
    """

    name: ClassVar[str] = "aligned-inversion"

    level: Level = 1.0
    steps: Count = 28
    guidance: Guidance = 1.0

    @property
    def keeps_equal_texts(self) -> bool:
        """Without guidance the way back retraces the way up."""
        return self.guidance == 1

    def _cost(self, k: int) -> int:
        """``k (1 up + 1 back, or 2 back if guided)``."""
        return k * (1 + branches(self.guidance))

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: int, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        del seed  # nothing is drawn
        trace = invert(latent, self._path(latent), progress=progress)
        text = towards(latent, target, strength)
        return replay(latent, trace, text, guidance=self.guidance, progress=progress)
