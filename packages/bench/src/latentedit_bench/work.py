"""Work whose units need nothing but their task."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from latentedit.batch.work import Measure


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitWork:
    """Units with small tasks; see `latentedit.batch.work.Work`."""

    spec: Mapping[str, Any]
    tasks: Mapping[str, Any]  # by the name of the unit, in order
    measure: Measure  # of a task; can be pickled

    @property
    def units(self) -> Sequence[str]:
        """Their names."""
        return list(self.tasks)

    def task(self, unit: str) -> Any:
        """What is measured."""
        return self.tasks[unit]

    def start(self) -> Measure:
        """Nothing to load."""
        return self.measure
