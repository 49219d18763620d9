"""Noises in pairs e and -e, whose errors of odd order cancel: within each step of an editor, or in two whole runs."""

import abc

from jaxtyping import Float
from torch import Tensor

from latentedit.core.settings import Count, Positive, check_pairs, settings
from latentedit.editors.base import Editor
from latentedit.editors.edit import Edit, Latents


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
class PairedRuns(Editor):
    """Editors whose noise is that of a whole run; a pair of them is the mean of two runs, at twice the cost.

    Args:
        antithetic: the mean of two runs with noises e and -e.
        shift: spacing of the levels as in `HSDS`; None is that of the model's own grid.
    """

    antithetic: bool = False
    shift: Positive | None = None

    @abc.abstractmethod
    def run(self, edit: Edit) -> Latents:
        """`move` of one run."""

    def move(self, edit: Edit) -> Latents:
        found = self.run(edit)
        return (found + self.run(edit.mirrored())) / 2 if self.antithetic else found
