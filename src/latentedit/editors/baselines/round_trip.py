"""Round trips: up to a noise level under the source text, and down again under another."""

import abc
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Guidance, Level, settings
from latentedit.core.solvers import Field
from latentedit.editors.baselines.path_editor import PathEditor, towards
from latentedit.editors.baselines.text_field import text_field
from latentedit.latents.joint import JointLatent


@settings
class RoundTrip(PathEditor):
    """Up under c0 and down under ``c0 + strength (c1 - c0)``, both by one solver; strength by that text is ours.

    The way down evaluates at other points than the way up, so even an unchanged text returns only near the picture.
    Subclasses write `_walk` and `_cost`.

    Args:
        level: how far up, in (0, 1]; 1 is the whole path.
        guidance: classifier-free guidance weight of the way down.
    """

    level: Level = 1.0
    guidance: Guidance = 1.0

    @property
    def keeps_equal_texts(self) -> bool:
        """The way down misses the picture by the solver's error."""
        return False

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        del seed  # nothing is drawn
        levels = self._path(latent).levels
        up, down = self._fields(latent, towards(latent, target, strength), len(levels) - 1)
        return self._walk(down, self._walk(up, latent.z, levels[::-1], progress), levels, progress)

    def _fields(self, latent: JointLatent, text: Condition, steps: int) -> tuple[Field, Field]:
        """The velocities of the way up, and of the way down under a text, in so many steps each."""
        del steps
        return text_field(latent, latent.condition), text_field(latent, text, guidance=self.guidance)

    @abc.abstractmethod
    def _walk(
        self, field: Field, z: Float[Tensor, "b *latent"], levels: Sequence[float], progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        """From latents at the first level to the last, rising or falling."""
