"""Everything that follows from the rows of a run with right answers: what the tables and the report are made of."""

import dataclasses
from collections.abc import Sequence

from latentedit_bench.metrics.statistics import SEEDS, Table
from latentedit_bench.ranking.curves import by_strength, summary_of_curves
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.parts import part_effects
from latentedit_bench.ranking.ranking import (
    COMPARED,
    Comparison,
    by_attribute,
    by_kind,
    compare,
    per_item,
    still,
    summary,
)
from latentedit_bench.tuning.search_spaces import ROLES, Roles

SHOWN = {
    "above": "above the codec",
    "above scaled": "above, scaled",
    "error": "error at 1",
    "effect": "effect at 1",
    "outside_change": "change outside",
    "side_effect": "side effects",
    "others_changed": "others changed",
    "done": "asked for, done",
    "decomposability": "decomposability",
    "disentanglement": "SDE",
    "evaluations": "evaluations",
}
"""Measures in the ranking, and what its columns are called."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summaries:
    """The tables of a run.

    Args:
        ours: the method that is compared.
        order: of the methods that are ranked, the codec alone among them, the best first.
        apart: of those that are told apart, which are no text editors, likewise.
        rivals: methods that are not of our family, likewise.
        items: see `ranking.per_item`.
        table: see `ranking.summary`.
        kinds: see `ranking.by_kind`.
        attributes: see `ranking.by_attribute`.
        still: see `ranking.still`.
        curves: see `curves.summary_of_curves`; None for a run at one strength.
        strengths: see `curves.by_strength`.
        seeds: of the method with the fewest; with fewer than `statistics.SEEDS` no methods are compared.
        comparisons: of ours with each other method, by each of `COMPARED`; none where ours is missing.
        parts: see `parts.part_effects`; likewise a comparison.
    """

    ours: str
    order: Sequence[str]
    apart: Sequence[str]
    rivals: Sequence[str]
    items: Table
    table: Table
    kinds: Table
    attributes: Table
    still: Table
    curves: Table | None
    strengths: Table
    seeds: int
    comparisons: Sequence[tuple[Comparison, ...]]
    parts: Table

    @staticmethod
    def of(rows: Table, roles: Roles = ROLES) -> "Summaries":
        """Compute all of them.

        Args:
            rows: all of the run.
            roles: of the methods; those that are not named in it are ranked.

        Raises:
            ConfigError: rows without right answers.
        """
        items = per_item(rows)
        table = summary(items)
        everyone = list(dict.fromkeys(table["method"]))
        order = [name for name in everyone if name not in roles.apart and name not in roles.parts]
        others = [name for name in order if name not in (CODEC, roles.ours)]
        seeds = int(items[items["method"] != CODEC]["seeds"].min())
        compared = seeds >= SEEDS
        return Summaries(
            ours=roles.ours,
            order=order,
            apart=[name for name in everyone if name in roles.apart],
            rivals=[name for name in others if name not in roles.family],
            items=items,
            table=table,
            kinds=by_kind(items),
            attributes=by_attribute(items),
            still=still(rows),
            curves=summary_of_curves(rows) if rows["strength"].nunique() > 1 else None,
            strengths=by_strength(rows),
            seeds=seeds,
            comparisons=[
                tuple(compare(items, roles.ours, name, measure=measure) for measure in COMPARED)
                for name in (others if compared and roles.ours in order else [])
            ],
            parts=part_effects(items, roles.parts if compared else {}),
        )

    @property
    def too_few_seeds(self) -> str:
        """Why no methods are compared; empty where they are."""
        if self.seeds >= SEEDS:
            return ""
        return f"Methods are not compared: that takes {SEEDS} seeds, and this run has {self.seeds}."


def is_ranked(rows: Table) -> bool:
    """Whether there are right answers, without which there is no ranking."""
    return "effect" in rows and bool(rows["effect"].notna().any())
