"""Are text directions of different attributes at right angles, and of one length? More so than random vectors?

In many dimensions both come for nothing. So each number stands beside what isotropic random vectors have in as many
dimensions as differences of captions effectively take, and beside that of captions which differ at random in as many
words. And words at different places of a caption are nearly at right angles by construction: tokens decide nothing.
What decides has no places: the pooled part of a text, or where a model has none, the sum of its tokens over places.
"""

import dataclasses
import functools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from latentedit.core.rng import stream
from latentedit.core.settings import to_plain
from latentedit.models.base import Backbone
from latentedit_bench.domains.base import Domain, Scene, domain, full_caption, with_value
from latentedit_bench.experiments.base import Context, Experiment, Outcome, Row, Unit
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.known_items import MODELS, PAPER, SEED, loaded
from latentedit_bench.experiments.plotting import COLOURS, GREY, draw_by_name, draw_numbers, panels
from latentedit_bench.experiments.text_geometry import effective_dimension, orthogonality_test
from latentedit_bench.metrics.statistics import Estimate, Table, drawn_weights, estimate, interval

DOMAIN = "portraits"
"""Whose `plain_changes` are made, so that all other words keep their places."""

_TRIES = 24
"""Random captions of a portrait, of which those that change as many words are taken."""

TOKENS, POOLED, SUMMED = "tokens", "pooled", "tokens summed over places"
"""Parts of a text."""

COSINE = "mean |cosine|"
VARIATION = "coefficient of variation of lengths"

Pair = tuple[str, str]
"""A full caption and another; both name all attributes in one order."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Differences:
    """Text differences of one model and part, a portrait a row.

    Args:
        ours: of each attribute's change, in the order of `plain_changes`.
        null: of random changes of as many words, one for each.
    """

    ours: Float[Tensor, "n attributes width"]
    null: Float[Tensor, "n attributes width"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextDirections(Experiment):
    """Cosines within each portrait between the text differences of its attributes, and the spread of their lengths.

    Args:
        portraits: of the test split, whose captions are changed.
        seed: of the portraits and of the random captions.
    """

    name: ClassVar[str] = "text-directions"
    minutes: ClassVar[int] = 3
    paper: ClassVar[str] = PAPER
    statement: ClassVar[str] = "text directions of different attributes are nearly orthogonal, and of nearly one length"
    statistic: ClassVar[str] = (
        "mean |cosine| of isotropic random vectors in the effective dimension of caption differences, less that "
        "between the text differences of different attributes within one portrait's captions; pooled part of the text, "
        "or where there is none, tokens summed over places"
    )

    portraits: int = 96
    seed: int = SEED

    @property
    def plan(self) -> Mapping[str, Any]:
        """The changes, and what the null is."""
        return {
            **to_plain(self),
            "models": list(MODELS),
            "changes": {name: list(values) for name, values in domain(DOMAIN).plain_changes.items()},
            "null": "random vectors, Gaussian and isotropic, in d = (tr C)^2 / tr C^2 dimensions",
            "random captions": f"of {_TRIES} of the portrait, one that changes as many words for each change",
            "parts": {"decides": f"{POOLED}, else {SUMMED}", "by construction": TOKENS},
            "network evaluations": "none: nothing but text is encoded",
            "captions": "full, which name all attributes in one order; padding left out",
        }

    def quick(self) -> "TextDirections":
        """Fewer portraits; nothing but text is encoded."""
        return dataclasses.replace(self, portraits=16)

    @property
    def model_names(self) -> Sequence[str]:
        """The models."""
        return MODELS

    def units(self, at: Context) -> Sequence[Unit]:
        """The models."""
        del at
        return [(name,) for name in MODELS]

    def measure(self, unit: Unit, at: Context) -> Sequence[Row]:
        """A row a part of the text and portrait: cosines, and lengths of every difference."""
        world, name = domain(DOMAIN), str(unit[0])
        scenes = enumerate(world.draw("test", self.portraits, self.seed))
        pairs = [caption_pairs(world, one, random.Random(f"{self.name}/{self.seed}/{i}")) for i, one in scenes]
        with torch.no_grad():
            parts = differences(loaded(name, at, torch.float32), world, pairs)
        return [row for part, given in parts.items() for row in text_rows(name, part, given, seed=self.seed)]

    def conclude(self, rows: Table) -> Outcome:
        """Angles and lengths of every model and part, each less its null."""
        return compare(rows, seed=self.seed)

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """Mean |cosine| and spread of lengths beside their nulls, and the claims' numbers."""
        heads = ["between attributes", "spread of lengths", "null less attributes"]
        (cosines, lengths, numbers), *_ = panels(figure, heads, share_y=False, size=(16, 9))
        for axis, measure in ((cosines, COSINE), (lengths, VARIATION)):
            part = outcome.summary[(outcome.summary["part"] == "means") & (outcome.summary["measure"] == measure)]
            draw_by_name(axis, part, "space", "which", {"attributes": COLOURS[0], "random captions": GREY})
            axis.set_xlim(left=0)
            axis.set_xlabel(f"{measure}, 95 % interval")
        draw_numbers(numbers, outcome.claims, unit="cosine, or coefficient of variation")


def caption_pairs(world: Domain, portrait: Scene, generator: random.Random) -> tuple[list[Pair], list[Pair]]:
    """Captions of the changes of one portrait, and of random changes of as many words.

    A change starts from the portrait with the attribute at the first value of `plain_changes`, a random one from
    the same caption; it takes one to three attributes to random values.

    Args:
        world: of the portrait.
        portrait: whose other attributes stay.
        generator: of the random changes.
    """
    ours, null = list[Pair](), list[Pair]()
    for name, (old, new) in domain(DOMAIN).plain_changes.items():
        source = with_value(world, portrait, name, old)
        said = full_caption(world, source)
        ours.append((said, full_caption(world, world.change(source, {name: new}))))
        tried = [(said, full_caption(world, _random_change(world, source, generator))) for _ in range(_TRIES)]
        wanted = changed_words(world, *ours[-1])
        null.append(min(tried, key=lambda pair: abs(changed_words(world, *pair) - wanted)))
    return ours, null


def changed_words(world: Domain, source: str, target: str) -> int:
    """Places at which the words of two captions differ."""
    return sum(old != new for old, new in zip_longest(world.words(source), world.words(target)))


def differences(
    model: Backbone, world: Domain, pairs: Sequence[tuple[list[Pair], list[Pair]]]
) -> dict[str, Differences]:
    """Each part of the text, tokens without padding; where the model has no pooled one, without it; target less source.

    Args:
        model: whose text encoders are used.
        world: of the captions.
        pairs: of each portrait, from `caption_pairs`.
    """
    parts: dict[str, list[Tensor]] = {}
    for which in (0, 1):
        every = [pair for portrait in pairs for pair in portrait[which]]
        change = model.embed([target for _, target in every]) - model.embed([source for source, _ in every])
        ends = torch.tensor([2 + max(len(world.words(caption)) for caption in pair) for pair in every])
        read = torch.arange(change.tokens.shape[1]) < ends[:, None]
        tokens = change.tokens.double().cpu() * read[..., None]
        own = {POOLED: change.pooled.double().cpu(), SUMMED: tokens.sum(1), TOKENS: tokens.flatten(1)}
        for part, rows in own.items():
            parts.setdefault(part, []).append(rows.unflatten(0, (len(pairs), -1)))
    return {part: Differences(ours=rows[0], null=rows[1]) for part, rows in parts.items() if rows[0].shape[2]}


def mean_cosines(rows: Float[Tensor, "n attributes width"]) -> Float[np.ndarray, " n"]:
    """Of each portrait, the mean of |cosine| over pairs of its differences."""
    unit = torch.nn.functional.normalize(rows.double(), dim=2)
    sizes = (unit @ unit.mT).abs()
    count = sizes.shape[1]
    total = sizes.sum((1, 2)) - sizes.diagonal(dim1=1, dim2=2).sum(1)
    return (total / (count * (count - 1))).numpy()


def spread(lengths: Float[np.ndarray, "n attributes"], weights: Float[np.ndarray, " n"]) -> float:
    """Standard deviation over mean of the lengths of each attribute's differences over portraits, mean over attributes.

    Args:
        lengths: of each portrait and attribute.
        weights: of the portraits.
    """
    share = weights[:, None] / weights.sum()
    centre = (share * lengths).sum(0)
    return float((np.sqrt((share * (lengths - centre) ** 2).sum(0)) / centre).mean())


def text_rows(model: str, part: str, given: Differences, *, seed: int) -> list[Row]:
    """What is measured of one model and part of its text, a portrait a row.

    "cosine" is the mean |cosine| of the portrait's differences, "length i" the length of the i-th, "null ..." the same
    of random captions. All rows of a part also hold the effective dimension of the random captions' differences, and
    the two conditions of `orthogonality_test` on the attributes' mean directions over portraits.

    Args:
        model: its name.
        part: of the text.
        given: the differences.
        seed: of the permutations.
    """
    attributes = {name: given.ours[:, index] for index, name in enumerate(domain(DOMAIN).plain_changes)}
    random_rows = given.null.flatten(0, 1)
    test = orthogonality_test(attributes, random_rows, generator=stream(seed, "text directions"))
    shared: Row = {
        "dimension": float(effective_dimension(random_rows)),
        "largest": float(test.largest),
        "null largest": float(test.null_largest),
        "consistency": float(test.consistency.min()),
        "test dimension": float(test.effective_dimension),
        "grouping share": float(test.grouping_share),
    }
    rows: list[Row] = [{"model": model, "text": part, "portrait": one, **shared} for one in range(len(given.ours))]
    for prefix, some in (("", given.ours), ("null ", given.null)):
        for row, cosine, lengths in zip(rows, mean_cosines(some).tolist(), some.norm(dim=2).tolist(), strict=True):
            row[f"{prefix}cosine"] = cosine
            row |= {f"{prefix}length {index}": length for index, length in enumerate(lengths)}
    return rows


def compare(rows: Table, *, seed: int = 0) -> Outcome:
    """Angles and lengths of every model and part, each less its null.

    Args:
        rows: of `text_rows`.
        seed: of the bootstrap.
    """
    claims, summary, notes = list[Claim](), list[dict[str, Any]](), list[str]()
    for (model, part), given in rows.groupby(["model", "text"], sort=False):
        numbers, shown = _compared(given, seed)
        where = f"{part} (by construction)" if part == TOKENS else str(part)
        claims += [
            Claim.of(TextDirections.statement, str(model), f"{where}: {measure}", one)
            for measure, one in numbers.items()
        ]
        about = {"part": "means", "model": model, "space": f"{model},\n{part}"}
        summary += [
            {**about, "measure": m, "which": which, **dataclasses.asdict(one)} for (m, which), one in shown.items()
        ]
        first = given.iloc[0]
        notes.append(
            f"{model}, {part}: effective dimension {first['dimension']:.0f}. Mean directions over portraits without "
            f"what all changes share, told and not decided by: largest |cosine| {first['largest']:.2f} (of as many "
            f"random vectors about {first['null largest']:.2f}), least consistency {first['consistency']:.2f}; share "
            f"of random groupings with as small a largest |cosine| {first['grouping share']:.3f}."
        )
    notes += [
        (
            "Words of different attributes stand at different places of a caption, so their token differences are "
            "nearly orthogonal by construction, in these models as in any; that is told, and says nothing of them."
        ),
        (
            "Random captions change as many words at places of their own, where two may meet, and one to three "
            "attributes, so their lengths vary more for that reason alone: a weaker control than random vectors."
        ),
    ]
    return Outcome(claims=tuple(claims), summary=pd.DataFrame(summary), notes=tuple(notes))


def _compared(given: Table, seed: int) -> tuple[dict[str, Estimate], dict[tuple[str, str], Estimate]]:
    """Each null less the attributes' number, and the numbers themselves by what is measured and of which."""
    ours, null = given["cosine"].to_numpy(float), given["null cosine"].to_numpy(float)
    lengths, others = (given.filter(regex=f"^{which}length ").to_numpy(float) for which in ("", "null "))
    dimension = float(given["dimension"].iloc[0])
    cosine, variation = math.sqrt(2 / (math.pi * dimension)), math.sqrt(1 / (2 * dimension))
    drawn = functools.partial(_bootstrapped, count=len(ours), seed=seed)
    numbers = {
        "random vectors' mean |cosine| less attributes'": _mean(cosine - ours, seed),
        "variation of random vectors' lengths less attributes'": drawn(lambda w: variation - spread(lengths, w)),
        "random captions' mean |cosine| less attributes'": _mean(null - ours, seed),
        "variation of random captions' lengths less attributes'": drawn(
            lambda w: spread(others, w) - spread(lengths, w)
        ),
    }
    shown = {
        (COSINE, "attributes"): _mean(ours, seed),
        (COSINE, "random captions"): _mean(null, seed),
        (VARIATION, "attributes"): drawn(lambda w: spread(lengths, w)),
        (VARIATION, "random captions"): drawn(lambda w: spread(others, w)),
    }
    return numbers, shown


def _mean(values: Float[np.ndarray, " n"], seed: int) -> Estimate:
    return estimate(values.tolist(), [(index,) for index in range(len(values))], seed=seed)


def _bootstrapped(statistic: Callable[[Float[np.ndarray, " n"]], float], *, count: int, seed: int) -> Estimate:
    """A statistic of portraits' weights, portraits drawn as `estimate` draws them."""
    weights = drawn_weights([(index,) for index in range(count)], np.random.default_rng(seed))
    low, high = interval([statistic(row) for row in weights])
    return Estimate(mean=statistic(np.ones(count)), low=low, high=high, pictures=count)


def _random_change(world: Domain, source: Scene, generator: random.Random) -> Scene:
    """One to three attributes at other values; a part and its own colour never both."""
    able, parts = world.alternatives(source), world.part_of
    change: dict[str, str] = {}
    for name in generator.sample(list(able), generator.randint(1, 3)):
        if parts.get(name) not in change and name not in {parts.get(one) for one in change}:
            change[name] = generator.choice(able[name])
    return world.change(source, change)
