"""The settings that editors share: where they walk, and noises in pairs e and -e, whose errors of odd order cancel."""

import abc
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.setting import Count, Positive, Start, check_pairs, settings
from latentedit.editors.base import Editor
from latentedit.editors.edit import Edit, Latents


@settings
class Walk(Editor):
    """Editors that walk over the model's own levels, without noise.

    Args:
        level: where the way down starts, or how far up an inversion goes; 1 is the full path.
        steps: of the model's full grid; an edit walks those below ``level``.
    """

    steps_by_map: ClassVar[bool] = True

    level: Start = 1.0
    steps: Count = 28


@settings
class PairedSteps(Editor):
    """Editors that average noises in each step.

    Args:
        noises: noises averaged in each step.
        antithetic: the noises come in pairs e and -e, as in `HSDS`.
        shift: spacing of the levels as in `HSDS`; None is that of the model's own grid.
    """

    noises: Count = 1
    antithetic: bool = False
    shift: Positive | None = None

    def __post_init__(self) -> None:
        check_pairs(self.noises, antithetic=self.antithetic)

    def drawn(self, edit: Edit, purpose: str = "", *, index: int = 0, each: int = 1) -> Float[Tensor, "..."]:
        """The noises of a step, ``[noises * each, b, *latent]``, see `Edit.noise`; e and -e are half of them apart."""
        return edit.noise(purpose, index=index, count=self.noises * each, antithetic=self.antithetic)


@settings
class PairedWalk(PairedSteps):
    """`PairedSteps` down the model's own levels.

    Args:
        level: where they start; 1 is the full path.
        steps: of the model's full grid; an edit walks those below ``level``.
    """

    level: Start = 0.9
    steps: Count = 28

    def noised(
        self, edit: Edit, index: int, s: float, delta: Latents
    ) -> tuple[Float[Tensor, "mb *latent"], Float[Tensor, "mb *latent"]]:
        """``a = (1 - s) x + s e`` and ``b = a + delta``, all images with the first noise, then all with the second."""
        # FlowEdit's stream for all, so that editors which are FlowEdit at some setting give its result exactly.
        noise = self.drawn(edit, "flowedit", index=index)
        a = ((1 - s) * edit.x + s * noise).flatten(0, 1)
        return a, a + delta.repeat(self.noises, *[1] * (delta.ndim - 1))


@settings
class PairedRuns(Editor):
    """Editors whose noise is that of a whole run; a pair of them is the mean of two runs, at twice the cost.

    Args:
        antithetic: the mean of two runs with noises e and -e.
        shift: spacing of the levels as in `HSDS`; None is that of the model's own grid.
        level: where the way down starts; 1 is the full path.
        steps: of the model's full grid; an edit walks those below ``level``.
    """

    antithetic: bool = False
    shift: Positive | None = None
    level: Start = 1.0
    steps: Count = 28

    @abc.abstractmethod
    def run(self, edit: Edit) -> Latents:
        """`move` of one run."""

    def move(self, edit: Edit) -> Latents:
        found = self.run(edit)
        return (found + self.run(edit.mirrored())) / 2 if self.antithetic else found
