"""Steering Fields: a velocity that one text attracts and another repels, walked along FlowEdit's path."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Count, Level, Positive, Weight, settings
from latentedit.editors.base import Editor
from latentedit.editors.baselines.flow_path import Latents, Levels, follow_difference
from latentedit.latents.joint import JointLatent


@settings
class SteeringFields(Editor):
    """``y <- y + (s' - s) (u(b, s) - v(a, s, n))`` with ``u = (v(n) + m v(c1) - l v(c0)) / (1 + m - l)``, from y = x.

    ``m = strength * attract``, ``l = strength * repel``, n is the empty text, ``a = (1 - s) x + s e`` and
    ``b = a + (y - x)``. The field u is the published one; the rest is ours. It steers sampling from noise; we walk it
    along FlowEdit's path, the way to keep a given picture without an inversion, so that strength 0 leaves the picture
    and strength may have either sign. Its base is the empty text: were it the source, which is also what repels, both
    weights would act as one, and the editor be `FlowSlider` at the strength ``m / (1 + m - l)``.

    The velocities are calls of one shape, so with equal weights equal texts leave exactly zero.

    Args:
        level: where the path starts, any number in (0, 1].
        steps: of the model's whole grid; an edit walks the part below ``level``.
        attract: weight of the target text.
        repel: weight of the source text; 0 saves its evaluation.

    Source:
        Steering Fields, after a description by others; FlowEdit's path: Kulikov et al. 2024, arXiv 2412.08629.
    """

    name: ClassVar[str] = "steering-fields"

    level: Level = 0.9
    steps: Count = 28
    attract: Positive = 2.0
    repel: Weight = 2.0

    @property
    def keeps_equal_texts(self) -> bool:
        """With equal weights one text attracts as much as it repels."""
        return self.attract == self.repel

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """``4 k``, or ``3 k`` where nothing repels; k steps of the grid below ``level``."""
        if strength == 0:
            return 0
        self._scale(strength)
        return (4 if self.repel else 3) * latent.path(self.steps, self.level).steps

    def _scale(self, strength: float) -> float:
        balance = self.attract - self.repel
        scale = 1 + strength * balance
        if scale > 0:
            return scale
        raise ConfigError(
            f"the strength of steering-fields must be {'above' if balance > 0 else 'below'} {-1 / balance:g}, where "
            f"1 + strength (attract - repel) is above 0; got {strength:g}. Equal weights allow any strength"
        )

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        velocity, source = latent.backbone.velocity, latent.condition
        empty = latent.backbone.null(latent.condition).expand(len(latent))
        share = strength / self._scale(strength)

        def difference(a: Latents, b: Latents, levels: Levels) -> Latents:
            base = velocity(b, levels, empty)
            steering = self.attract * (velocity(b, levels, target) - base)
            if self.repel:
                steering = steering - self.repel * (velocity(b, levels, source) - base)
            return base - velocity(a, levels, empty) + share * steering

        return follow_difference(
            latent,
            latent.path(self.steps, self.level),
            difference,
            noises=1,
            seed=seed,
            name=self.name,
            progress=progress,
        )
