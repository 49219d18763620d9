"""FireFlow: the midpoint rule at the price of Euler's, with the last midpoint's velocity as the next step's first."""

from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.progress import Progress
from latentedit.core.settings import Share, settings
from latentedit.core.solvers import Field, each_step, level_batch
from latentedit.editors.baselines.path_editor import branches
from latentedit.editors.baselines.value_sharing import Evaluation, ValueSharing


@settings
class FireFlow(ValueSharing):
    """Up under c0 and down under ``c0 + strength (c1 - c0)``, both ``z <- z + h u'``, ``u' = v(z + h/2 u, s + h/2)``.

    u is the last step's u', and ``v(z, s)`` at the first. With ``share``, 1 of 8 in the published scripts, the way down
    has attention values of the way up, see `ValueSharing`; its very first velocity has its own.

    Source:
        Deng et al. 2024, arXiv 2412.07517, algorithm 1; sharing from its code for FLUX.1, in the last 38 of 57 layers.
        There the text's values are shared, too; here those of the picture only.
    """

    name: ClassVar[str] = "fireflow"

    first_layer: Share = 0.333

    def _cost(self, k: int) -> int:
        """``(k + 1) (1 up + 1 down, or 2 down if guided)``."""
        return (k + 1) * (1 + branches(self.guidance))

    def _evaluations(self, steps: int) -> list[Evaluation]:
        return [(0, 0), *((step, 1) for step in range(steps))]

    def _walk(self, field: Field, z: Tensor, levels: Sequence[float], progress: Progress | None) -> Tensor:
        return reuse_midpoints(field, z, levels, progress=progress)


def reuse_midpoints(
    field: Field, z: Float[Tensor, "b *latent"], levels: Sequence[float], *, progress: Progress | None = None
) -> Float[Tensor, "b *latent"]:
    """``z <- z + h u'``, ``u' = v(z + h/2 u, s + h/2)`` with the last step's u' as u, through levels in their order.

    Of second order: u misses ``v(z, s)`` by an order of h, and comes into the step with another h^2.

    Args:
        z: latents at ``levels[0]``.
        levels: strictly rising or falling.

    Cost:
        ``len(levels)`` evaluations of the field.
    """
    velocity = field(z, level_batch(levels[0], z))
    for _, s, s_next in each_step(levels, name="fireflow", progress=progress):
        half = (s_next - s) / 2
        velocity = field(z + half * velocity, level_batch(s + half, z))
        z = z + (s_next - s) * velocity
    return z
