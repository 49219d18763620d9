"""A score as one HTML page: the measures, kinds of change, and everything wrong with its files."""

from collections.abc import Mapping, Sequence

from latentedit_bench.metrics.statistics import Estimate, between
from latentedit_bench.open_task.scoring import AS_IS, MEASURES, Entry, Row
from latentedit_bench.report.page import page, render
from latentedit_bench.report.tables import Cell, Grid, number

_SHOWN_FAULTS = 400

WORDS = {
    "error": "squared distance to the right answer, in that of the source: 0 is the answer, 1 no edit or worse.",
    "effect": "how much of the wanted change was made: 0 none, 1 all of it, above 1 too much, below 0 the opposite.",
    "leakage": "length of what changed beside the wanted change, in lengths of the wanted change; 0 is best.",
    "change outside": "squared change where the right answer changes nothing, in units of the wanted one; 0 is best.",
    "side effects": "how much of the right shadows, reflections and bounced light is there; 1 is best, 0 is none.",
    "rest untouched": "share of the pixels that the right answer leaves alone and that are the source's, bit for bit.",
    "asked for, done": "share of the asked attributes in which a classifier sees the asked value, whatever the style.",
    "others changed": "number of attributes that were not asked for and in which the classifier sees another value.",
    "error where nothing is asked": "where the source is the answer: squared change in units of that of other "
    "items, at most 1.",
    "error between strengths": "of graded changes: the error at strengths below 1, each to its own right answer.",
    "error of the strength": "of graded changes: how far the effect at a strength is from that of the right answer.",
    "monotonicity": "of graded changes: rank correlation of effect and strength; 1 is best, 0 where nothing changes.",
}
"""Name and meaning of each of `MEASURES`."""


def score_page(entry: Entry, wrong: Sequence[Row]) -> str:
    """The page of an entry with what is wrong with its files."""
    title = f"{entry.name} on {entry.task.title}"
    body = render(
        "score.html",
        entry=entry,
        title=title,
        measures=_grid(entry.measures, dict(zip(MEASURES, WORDS, strict=True))),
        kinds=_grid(entry.kinds, {kind: kind for kind in entry.kinds[AS_IS]}),
        faults=wrong[:_SHOWN_FAULTS],
        more=len(wrong) - _SHOWN_FAULTS,
        glossary=WORDS,
    )
    return page(title, body)


def _grid(found: Mapping[str, Mapping[str, Estimate]], names: Mapping[str, str]) -> Grid:
    """A row a way of scoring."""
    rows = [[Cell(text=scored), *(_cell(told.get(name)) for name in names)] for scored, told in found.items()]
    return Grid(head=["scored", *names.values()], rows=rows)


def _cell(told: Estimate | None) -> Cell:
    return Cell(text="-") if told is None else number(told.mean, beside=between(told.low, told.high))
