"""What an experiment is: a claim of a paper, a plan that was written before the run, and what the numbers say."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from matplotlib.figure import Figure

from latentedit.core.progress import Progress
from latentedit_bench.analysis.base import Claim
from latentedit_bench.metrics.statistics import Table

RULE = (
    "holds where the 95 % interval of the number (bootstrap over pictures) lies above 0, does not hold where it lies "
    "below 0, and is undecided at this size otherwise"
)
"""The decision rule of every experiment that does not state its own."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where an experiment works, and who is told.

    Args:
        folder: of its rows; made where it is missing.
        command: that is stored with them.
        device: where models run; None is the best there is.
        progress: told the experiment's name, with that of its part where it has several, after each unit of work.
        note: told what the user should know, such as workers that died on the way.
    """

    folder: Path
    command: str
    device: str | None = None
    progress: Progress | None = None
    note: Callable[[str], None] | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a finished experiment found.

    Args:
        claims: each with its number, interval and verdict; the first is the one that the statement is about.
        table: the rows behind the figure.
        notes: what a reader must know beside the numbers: what is matched and what is not, which control was used.
    """

    claims: tuple[Claim, ...]
    table: Table
    notes: tuple[str, ...] = ()


class Experiment(abc.ABC):
    """One claim of a paper, or several that the same measurements decide.

    Subclasses are frozen dataclasses whose fields are sizes and settings with the full plan's values as defaults.

    Laws:
        1. ``plan`` is known before anything is measured, and decides every number.
        2. ``run`` measures only what its folder does not hold already, so a stopped run goes on.
        3. ``quick`` asks the same question of fewer pictures.
    """

    name: ClassVar[str]
    """As the command line knows it."""

    paper: ClassVar[str]
    """Its short name and number, such as "EIM (arXiv 2411.08196)"."""

    statement: ClassVar[str]
    """What the paper says, in our words."""

    statistic: ClassVar[str]
    """The number that decides, with its unit, such that the claim is true where it is above 0."""

    rule: ClassVar[str] = RULE

    @property
    @abc.abstractmethod
    def plan(self) -> Mapping[str, Any]:
        """Models, pictures, methods, levels, seeds: plain values."""

    @abc.abstractmethod
    def quick(self) -> "Experiment":
        """The same with a smaller plan."""

    @abc.abstractmethod
    def run(self, at: Place) -> Outcome:
        """Measure what was not measured before, and conclude.

        Args:
            at: where.

        Raises:
            ConfigError: the folder holds rows of another plan.
            OutputError: the folder cannot be written to.
        """

    @abc.abstractmethod
    def draw(self, table: Table, figure: Figure) -> None:
        """A figure that can be read alone: axes with units, intervals, the null level."""
