"""FireFlow: the midpoint rule at the price of Euler's, with the last midpoint's velocity as the next step's first."""

from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.settings import Count, Guidance, Level, settings
from latentedit.core.solvers.base import Field, level_batch
from latentedit.core.solvers.integrate import each_step
from latentedit.editors.baselines.path_editor import PathEditor, branches, towards
from latentedit.editors.baselines.text_field import text_field
from latentedit.latents.joint import JointLatent


@settings
class FireFlow(PathEditor):
    """Up under c0 and down under ``c0 + strength (c1 - c0)``, both ``z <- z + h u'``, ``u' = v(z + h/2 u, s + h/2)``.

    u is the last step's u', and ``v(z, s)`` at the first. The published editor also shares features of attention layers
    between the ways up and down, which is not done here. Strength by interpolating the text is ours.

    Args:
        level: how far up, in (0, 1]; 1 is the whole path.
        steps: of the model's whole grid.
        guidance: classifier-free guidance weight of the way down.

    Raises:
        ConfigError: a setting outside its range.

    Source:
        Deng et al. 2024, arXiv 2412.07517, algorithm 1, without feature sharing.
    """

    name: ClassVar[str] = "fireflow"

    level: Level = 1.0
    steps: Count = 28
    guidance: Guidance = 1.0

    @property
    def keeps_equal_texts(self) -> bool:
        """The way down misses the picture by the solver's error."""
        return False

    def _cost(self, k: int) -> int:
        """``(k + 1) (1 up + 1 down, or 2 down if guided)``."""
        return (k + 1) * (1 + branches(self.guidance))

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: int, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        del seed  # nothing is drawn
        levels, source = self._path(latent).levels, latent.condition
        top = reuse_midpoints(text_field(latent, source), latent.z, levels[::-1], name="invert", progress=progress)
        field = text_field(latent, towards(latent, target, strength), guidance=self.guidance)
        return reuse_midpoints(field, top, levels, name="sample", progress=progress)


def reuse_midpoints(
    field: Field, z: Float[Tensor, "b *latent"], levels: Sequence[float], *, name: str, progress: Progress | None = None
) -> Float[Tensor, "b *latent"]:
    """``z <- z + h u'``, ``u' = v(z + h/2 u, s + h/2)`` with the last step's u' as u, through levels in their order.

    Of second order: u misses ``v(z, s)`` by an order of h, and comes into the step with another h^2.

    Args:
        field: the velocity.
        z: latents at ``levels[0]``.
        levels: strictly rising or falling.
        name: what ``progress`` is told about.
        progress: told after each step.

    Cost:
        ``len(levels)`` evaluations of the field.
    """
    velocity = field(z, level_batch(levels[0], z))
    for _, s, s_next in each_step(levels, name=name, progress=progress):
        half = (s_next - s) / 2
        velocity = field(z + half * velocity, level_batch(s + half, z))
        z = z + (s_next - s) * velocity
    return z
