"""FireFlow: the midpoint rule at the price of Euler's, with the last midpoint's velocity as the next step's first."""

from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.progress import Progress
from latentedit.core.settings import settings
from latentedit.core.solvers.base import Field, level_batch
from latentedit.core.solvers.integrate import each_step
from latentedit.editors.baselines.path_editor import branches
from latentedit.editors.baselines.round_trip import RoundTrip


@settings
class FireFlow(RoundTrip):
    """Up under c0 and down under ``c0 + strength (c1 - c0)``, both ``z <- z + h u'``, ``u' = v(z + h/2 u, s + h/2)``.

    u is the last step's u', and ``v(z, s)`` at the first. The published editor also shares features of attention layers
    between the ways up and down, which is not done here.

    Source:
        Deng et al. 2024, arXiv 2412.07517, algorithm 1, without feature sharing.
    """

    name: ClassVar[str] = "fireflow"

    def _cost(self, k: int) -> int:
        """``(k + 1) (1 up + 1 down, or 2 down if guided)``."""
        return (k + 1) * (1 + branches(self.guidance))

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
