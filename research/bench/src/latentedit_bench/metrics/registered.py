"""The metrics of edits: the benchmark's own, in the order of a ranking's columns, then those of other packages.

To add one to the benchmark, add an entry to `BUILT_IN`.
"""

import operator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core import METRICS, RegistryError
from latentedit_bench.metrics.drawn import edge_error, opacity
from latentedit_bench.metrics.locality import outside_change, outside_psnr_db, outside_share, side_effect
from latentedit_bench.metrics.metric import EditedBatch, Metric


def _score(name: str) -> Any:
    return lambda batch: batch.scores[name]


def _applied(function: Any, *fields: str) -> Any:
    """A function of fields of a batch."""
    given = operator.attrgetter(*fields)
    return lambda batch: function(*given(batch))


def _changed_rms(edited: Tensor, source: Tensor) -> Float[Tensor, " b"]:
    return (edited - source).double().flatten(1).square().mean(1).sqrt() / 2


def _values(batch: EditedBatch) -> tuple[Tensor, Tensor, Tensor]:
    """The most likely value of each attribute in the source, the edited image and the right answer."""
    before, after, answer = batch.before, batch.after, batch.answer
    assert before is not None
    assert after is not None
    assert answer is not None
    was, now, wanted = (torch.stack([seen[name].argmax(1) for name in before], 1) for seen in (before, after, answer))
    return was, now, wanted


def _done(batch: EditedBatch) -> Float[Tensor, " b"]:
    was, now, wanted = _values(batch)
    requested = was != wanted
    count = requested.sum(1)
    done = (requested & (now == wanted)).sum(1) / count.clamp_min(1)
    return torch.where(count > 0, done, torch.nan)


def _others_changed(batch: EditedBatch) -> Float[Tensor, " b"]:
    was, now, wanted = _values(batch)
    return ((was == wanted) & (now != was)).sum(1).double()


_THREE = ("edited", "source", "truth")

BUILT_IN = (
    Metric(name="changed_rms", better="", function=_applied(_changed_rms, "edited", "source")),
    Metric(
        name="error", title="error", better="lower", needs=("truth",), function=_score("error"),
        why="squared distance to the right answer, in that of the source: 0 is the right answer, 1 no edit, above 1 "
        "worse than no edit.",
    ),
    Metric(
        name="effect", title="effect", better="one", needs=("truth",), function=_score("effect"),
        why="how much of the requested change was made: 0 none, 1 all of it, above 1 too much, below 0 the opposite.",
    ),
    Metric(
        name="leakage", better="lower", needs=("truth",), function=_score("leakage"),
        why="length of all other changes, in lengths of the requested change; 0 is best.",
    ),
    Metric(
        name="effectiveness", better="higher", needs=("truth",), function=_score("effectiveness"),
        why="1 minus the error, from 0 to 1: the share of the way to the right answer; higher is better.",
    ),
    Metric(
        name="edge_error", title="edge error", better="lower", needs=("truth",), function=_applied(edge_error, *_THREE),
        why="squared difference of the gradients to those of the right answer near the edges of the requested change, "
        "relative to no edit; 0 is best. Fringes, leftovers and blur show here.",
    ),
    Metric(
        name="opacity", title="opacity", better="one", needs=("truth", "mask"),
        function=_applied(opacity, *_THREE, "mask"),
        why="how much of the requested change was made in its faintest connected part; 1 is opaque and best, 0 not "
        "drawn.",
    ),
    Metric(
        name="outside_change", title="change outside", better="lower", needs=("truth", "mask"),
        function=_applied(outside_change, *_THREE, "mask"),
        why="squared change outside the area of the requested change, relative to the requested change; 0 is best.",
    ),
    Metric(
        name="outside", better="lower", needs=("mask",), function=_applied(outside_share, "edited", "source", "mask"),
    ),
    Metric(
        name="outside_psnr", better="higher", needs=("mask",),
        function=_applied(outside_psnr_db, "edited", "source", "mask"),
    ),
    Metric(
        name="side_effect", title="side effects", better="one", needs=("truth", "consequences"),
        function=_applied(side_effect, *_THREE, "consequences"),
        why="share of the right shadows, reflections and bounced light outside the changed object itself; 1 is best, 0 "
        "is none.",
    ),
    Metric(
        name="others_changed", title="others changed", better="lower", needs=("after", "answer"),
        function=_others_changed,
        why="number of attributes that were not requested and for which a classifier sees another value.",
    ),
    Metric(
        name="done", title="request fulfilled", better="higher", needs=("after", "answer"), function=_done,
        why="share of the requested attributes for which a classifier sees the requested value after the edit.",
    ),
    Metric(
        name="decomposability", title="decomposability", better="higher", needs=("truth",),
        function=_score("decomposability"),
        why="share of the change made that was requested (cosine of the two), from 0 to 1; higher is better, "
        "independent of the size of the change.",
    ),
    Metric(
        name="disentanglement", title="SDE", better="higher", needs=("truth",), function=_score("disentanglement"),
        why="semantic disentanglement: harmonic mean of effectiveness and decomposability, 0 to 1; higher is better.",
    ),
)  # fmt: skip


def registered_metrics() -> list[Metric]:
    """The benchmark's own metrics, then those that packages register in ``latentedit.metrics``."""
    found = [*BUILT_IN]
    for name in METRICS.names():
        metric = METRICS.load(name)
        if not isinstance(metric, Metric):
            raise RegistryError(f"the metric {name!r} must be a Metric; got a {type(metric).__name__}")
        found.append(metric)
    return found


def measured(batch: EditedBatch) -> dict[str, Float[Tensor, " b"]]:
    """The numbers of every metric whose needs the batch meets, by name."""
    known = [one for one in registered_metrics() if all(getattr(batch, need) is not None for need in one.needs)]
    return {one.name: one.of(batch) for one in known}
