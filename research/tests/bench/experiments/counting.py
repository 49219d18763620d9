"""A source that counts, and experiments on it."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from latentedit.core import ConfigError
from latentedit_bench.experiments.experiment import Context, Row, Source, Unit, experiment
from latentedit_bench.metrics.decisions import Measure


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counted(Source):
    """One unit an item; the function takes its index."""

    keys: ClassVar[tuple[str, ...]] = ("item",)
    image_columns: ClassVar[tuple[str, ...]] = ("item",)

    models: tuple[str, ...] = ()
    items: int = 8

    def units(self, function: Callable[..., Any], context: Context) -> Sequence[Unit]:
        return [(item,) for item in range(self.items)]

    def measure(self, function: Callable[..., Any], unit: Unit, context: Context) -> Iterable[Row]:
        for row in function(unit[0]):
            yield {"model": "fingers", "item": unit[0], **row}


CALLS: list[int] = []  # items that were measured in this process
STOPS: list[BaseException] = []  # exceptions that `broken` raises first


@experiment(
    "tally",
    paper="Counting (arXiv 0000.00001)",
    claim="items can be counted | one by one",
    source=Counted(),
    primary=Measure(name="size of |n|, in <items>", column="value"),
    quick={"items": 6, "start": -9.0},
    minutes=100,
)
def tally(item: int, *, start: float = 1.0) -> Iterator[Row]:
    """They are counted *twice*."""
    CALLS.append(item)
    yield {"value": item + start}


@experiment(
    "broken",
    paper="Another (arXiv 0000.00002)",
    claim="nothing can be counted",
    source=Counted(),
    primary=Measure(name="nothing", column="value"),
    quick={"items": 6},
)
def broken(item: int) -> Iterator[Row]:
    """Has nothing to count."""
    raise STOPS.pop() if STOPS else ConfigError("there are no items. Bring some")
