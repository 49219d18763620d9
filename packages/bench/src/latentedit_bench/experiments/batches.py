"""What the experiments that walk themselves share: units are batches of items, and latents are scored against answers.

Where a direction or a way up serves many results, as in comparisons of arms, editors would look for it anew each time.
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit_bench.data.prepared import Prepared, prepare, to_tensor
from latentedit_bench.experiments.base import Context, Row, Unit
from latentedit_bench.experiments.known_items import KnownItems, Part, loaded
from latentedit_bench.metrics.counterfactual import counterfactual_error
from latentedit_bench.metrics.disentanglement import all_scores


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BatchExperiment(KnownItems):
    """Items with known answers, a batch of one part a unit."""

    batch: ClassVar[int] = 16

    def units(self, at: Context) -> Sequence[Unit]:
        """Part, first item and number of items of each batch."""
        del at
        return [
            (part.name, first, min(self.batch, part.items - first))
            for part in self.parts
            for first in range(0, part.items, self.batch)
        ]

    @torch.no_grad()
    def measure(self, unit: Unit, at: Context) -> Sequence[Row]:
        """`look_at`, with what tells the part and the items; nothing where the data has no more items."""
        (part,) = (one for one in self.parts if one.name == unit[0])
        first, count = int(unit[1]), int(unit[2])
        items = at.once(("items", part), part.data).items[first : first + count]
        if not items:
            return []
        batch = prepare(loaded(part.model, at), items)
        rows = self.look_at(part, batch)
        return [{**part.about, "item": items[index].id, "group": items[index].group, **row} for index, row in rows]

    @abc.abstractmethod
    def look_at(self, part: Part, batch: Prepared) -> Sequence[tuple[int, Row]]:
        """Rows of a batch, each with the index of its item."""


SCORES = ("disentanglement", "effect", "leakage", "error")


def scored(batch: Prepared, z: Float[Tensor, "b *latent"]) -> list[dict[str, float]]:
    """`SCORES` of each item: of a latent's picture, put back as an edit is.

    Args:
        batch: with right answers.
        z: clean latents.
    """
    assert batch.truth is not None
    edited = to_tensor(batch.restored(batch.changed(z)))
    scores = all_scores(edited, batch.source, batch.truth)
    scores["error"] = counterfactual_error(edited, batch.source, batch.truth)
    return [{name: float(scores[name][index]) for name in SCORES} for index in range(len(z))]
