"""Everything that follows from the rows of a run with right answers: what the tables and the report are made of."""

import dataclasses
from collections.abc import Mapping, Sequence

import torch

from latentedit_bench.metrics.leakage_matrix import attribute_scores
from latentedit_bench.metrics.statistics import Estimate, Table
from latentedit_bench.ranking.ranking import (
    Comparison,
    by_kind,
    by_strength,
    compare,
    gain,
    leakage_of,
    per_item,
    still,
    summary,
)

SHOWN = {
    "matched": "matched error",
    "scaled": "scaled error",
    "area": "curve area",
    "error": "error at 1",
    "effect": "effect at 1",
    "decomposability": "decomposability",
    "disentanglement": "SDE",
    "done": "asked for, done",
    "others_changed": "others changed",
    "outside": "outside the truth's mask",
    "residual": "residual",
    "undo_psnr": "undo, dB",
    "linearity": "linearity",
    "evaluations": "evaluations",
}
"""Measures in the ranking, and what its columns are called."""

ARMS = ("eim joint", "eim text", "eim")
"""The arms whose joint gain is told."""

ERRORS = ("matched", "scaled", "error")
"""By which ours is compared with each baseline; by the first it is decided who is better."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summaries:
    """The tables of a run.

    Args:
        ours: the method that is compared.
        order: of the methods, the best at matched effect first.
        rivals: the baselines among them, likewise.
        items: see `ranking.per_item`.
        table: see `ranking.summary`.
        kinds: see `ranking.by_kind`.
        still: see `ranking.still`.
        strengths: see `ranking.by_strength`.
        comparisons: of ours with each rival, by each of `ERRORS`; none where ours or all baselines are missing.
        matrices: of the methods whose leakage could be read, see `ranking.leakage_of`.
        gain: of the arms, see `ranking.gain`.
    """

    ours: str
    order: Sequence[str]
    rivals: Sequence[str]
    items: Table
    table: Table
    kinds: Table
    still: Table
    strengths: Table
    comparisons: Sequence[tuple[Comparison, ...]]
    matrices: Mapping[str, Table]
    gain: Estimate | None

    @staticmethod
    def of(rows: Table, *, ours: str, baselines: Sequence[str]) -> "Summaries":
        """Compute all of them.

        Args:
            rows: all of the run.
            ours: the method that is compared with each baseline.
            baselines: in any order.

        Raises:
            ConfigError: rows without right answers.
        """
        items = per_item(rows)
        table = summary(items)
        order = list(dict.fromkeys(table["method"]))
        rivals = [name for name in order if name in set(baselines)]
        return Summaries(
            ours=ours,
            order=order,
            rivals=rivals,
            items=items,
            table=table,
            kinds=by_kind(items),
            still=still(rows),
            strengths=by_strength(rows),
            comparisons=[
                tuple(compare(items, ours, name, measure=measure) for measure in ERRORS)
                for name in (rivals if ours in order else [])
            ],
            matrices={name: found for name in order if (found := leakage_of(rows, name)) is not None},
            gain=gain(items, *ARMS),
        )

    @property
    def told_first(self) -> Sequence[str]:
        """Ours and the best baseline, as far as they ran."""
        return [name for name in (self.ours, *self.rivals[:1]) if name in self.order]


def is_ranked(rows: Table) -> bool:
    """Whether there are right answers, without which there is no ranking."""
    return "effect" in rows and bool(rows["effect"].notna().any())


def matrix_scores(matrix: Table) -> Mapping[str, float]:
    """Medians over attributes of each of `attribute_scores`; nan where none has a number."""
    scores = attribute_scores(torch.tensor(matrix.to_numpy(float)))
    return {name: float(values.nanmedian()) for name, values in scores.items()}
