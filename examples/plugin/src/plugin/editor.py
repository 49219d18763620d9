"""An editor: a frozen dataclass of its settings, registered in pyproject.toml under its name."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Level, settings
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent


@settings
class OneStep(Editor):
    """``y = x - strength * level * (v(x, level, target) - v(x, level, source))``: one step, without any noise.

    Args:
        level: at which the two velocities are compared, in (0, 1].

    Raises:
        ConfigError: a setting outside its range.
    """

    name: ClassVar[str] = "plugin-editor"

    level: Level = 0.5

    @property
    def keeps_equal_texts(self) -> bool:
        """The two velocities are then the same."""
        return True

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """Two, however long the way."""
        return 0 if strength == 0 else 2

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        s = latent.z.new_full((len(latent),), self.level)
        v_source, v_target = (latent.backbone.velocity(latent.z, s, text) for text in (latent.condition, target))
        if progress is not None:
            progress("editing", 1, 1)
        return latent.z - strength * self.level * (v_target - v_source)
