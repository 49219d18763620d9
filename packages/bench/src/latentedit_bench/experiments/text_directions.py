"""Are text directions of different attributes at right angles, and of one length? More so than random vectors?

In many dimensions both come for nothing. So the number stands beside what isotropic random vectors have in as many
dimensions as differences of captions effectively take.
"""

import dataclasses
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.models.base import Backbone
from latentedit_bench.domains.base import Domain, Scene, domain, full_caption, with_value
from latentedit_bench.experiments.decisions import Number
from latentedit_bench.experiments.experiment import EIM_PAPER, Context, Row, Source, Unit, experiment
from latentedit_bench.experiments.items import loaded
from latentedit_bench.experiments.plots import Dots, Forest

_TRIES = 24
"""Random captions of a portrait, of which those that change as many words are taken."""

Pair = tuple[str, str]
"""A full caption and another; both name all attributes in one order."""

_COSINE = Number(
    says="mean |cosine| of random vectors in the effective dimension less that between attributes' text differences",
    of="below random",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Texts(Source):
    """Captions of portraits of the test split. The function takes a model, the world and portraits.

    Args:
        portraits: how many.
    """

    keys: ClassVar[tuple[str, ...]] = ("portrait",)
    images: ClassVar[tuple[str, ...]] = ("portrait",)

    portraits: int = 96

    def units(self, look: Callable[..., Any], at: Context) -> Sequence[Unit]:
        """The models."""
        del look, at
        return [(name,) for name in self.models]

    @torch.no_grad()
    def measure(self, look: Callable[..., Any], unit: Unit, at: Context) -> Iterable[Row]:
        """A row a portrait."""
        world, model = domain("portraits"), loaded(str(unit[0]), at, torch.float32)
        for row in look(model, world, world.draw("test", self.portraits, self.seed), seed=self.seed):
            yield {"model": str(unit[0]), **row}


@experiment(
    "text-directions",
    paper=EIM_PAPER,
    says="text directions of different attributes are nearly orthogonal, and of nearly one length",
    on=Texts(),
    decides=_COSINE,
    tells=(
        _COSINE.at("mean |cosine| of captions that differ at random less attributes'", of="below captions"),
        _COSINE.at("mean |cosine| between attributes", of="cosine"),
    ),
    plots=(Dots(x="cosine", y="text", by="model", label="mean |cosine|"), Forest()),
    quick={"portraits": 16},
    minutes=3,
)
def text_directions(model: Backbone, world: Domain, portraits: Sequence[Scene], *, seed: int) -> Iterator[Row]:
    """Words at different places of a caption are nearly at right angles by construction, so tokens decide nothing.

    What decides has no places: the pooled part of a text, or where a model has none, the sum of its tokens. Random
    captions change as many words, at places of their own. A set of isotropic random vectors in d dimensions has the
    mean |cosine| ``sqrt(2 / (pi d))``; d is ``(tr C)^2 / tr C^2`` of the random captions' differences.
    """
    pairs = [caption_pairs(world, one, random.Random(f"text-directions/{seed}/{i}")) for i, one in enumerate(portraits)]
    text, (ours, null) = differences(model, world, pairs)
    level = math.sqrt(2 / (math.pi * effective_dimension(null.flatten(0, 1))))
    for portrait, (own, drawn) in enumerate(zip(mean_cosines(ours), mean_cosines(null), strict=True)):
        below = {"below random": level - own, "below captions": drawn - own}
        yield {"portrait": portrait, "text": text, "cosine": own, **below}


def caption_pairs(world: Domain, portrait: Scene, generator: random.Random) -> tuple[list[Pair], list[Pair]]:
    """Captions of the changes of one portrait, and of random changes of as many words.

    A change starts from the portrait with the attribute at the first value of `plain_changes`, a random one from
    the same caption; it takes one to three attributes to random values.
    """
    ours, null = list[Pair](), list[Pair]()
    for name, (old, new) in world.plain_changes.items():
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
) -> tuple[str, list[Float[Tensor, "n attributes width"]]]:
    """The part of the text that decides, and its target less its source: of our changes, and of random ones."""
    parts: list[tuple[str, Tensor]] = []
    for which in (0, 1):
        every = [pair for portrait in pairs for pair in portrait[which]]
        change = model.embed([target for _, target in every]) - model.embed([source for source, _ in every])
        ends = torch.tensor([2 + max(len(world.words(caption)) for caption in pair) for pair in every])
        read = torch.arange(change.tokens.shape[1]) < ends[:, None]
        summed = (change.tokens.double().cpu() * read[..., None]).sum(1)
        pooled = change.pooled.double().cpu()
        name, rows = ("pooled", pooled) if pooled.shape[1] else ("tokens summed over places", summed)
        parts.append((name, rows.unflatten(0, (len(pairs), -1))))
    return parts[0][0], [rows for _, rows in parts]


def mean_cosines(rows: Float[Tensor, "n attributes width"]) -> list[float]:
    """Of each portrait, the mean of |cosine| over pairs of its differences."""
    unit = torch.nn.functional.normalize(rows.double(), dim=2)
    sizes, count = (unit @ unit.mT).abs(), rows.shape[1]
    total = sizes.sum((1, 2)) - sizes.diagonal(dim1=1, dim2=2).sum(1)
    return (total / (count * (count - 1))).tolist()


def effective_dimension(rows: Float[Tensor, "n width"]) -> float:
    """The participation ratio ``(tr C)^2 / tr C^2`` of the covariance C of vectors.

    Both parts are unbiased, whatever the distribution and its mean: they are the averages of
    ``|x_i - x_j|^2 |x_k - x_l|^2 / 4`` and ``((x_i - x_j) . (x_k - x_l))^2 / 4`` over four different rows. The ratio of
    the sample covariance itself could never exceed the number of rows.

    Args:
        rows: at least 4 vectors that are not all equal.

    Source:
        The averages in closed form: Himeno and Yamada 2014, J. Multivariate Anal. 130.
    """
    count, centred = len(rows), rows.double() - rows.double().mean(0)
    gram = centred @ centred.T
    trace, square = gram.trace() / (count - 1), gram.square().sum() / (count - 1) ** 2
    fourth = count * gram.diagonal().square().sum() / (count - 1)
    trace_squared = 2 * square + (count**2 - 3 * count + 1) * trace**2 - fourth
    square_traced = (count - 1) * (count - 2) * square + trace**2 - fourth
    return float(trace_squared / square_traced)


def _random_change(world: Domain, source: Scene, generator: random.Random) -> Scene:
    """One to three attributes at other values; a part and its own colour never both."""
    able, parts = world.alternatives(source), world.part_of
    change: dict[str, str] = {}
    for name in generator.sample(list(able), generator.randint(1, 3)):
        if parts.get(name) not in change and name not in {parts.get(one) for one in change}:
            change[name] = generator.choice(able[name])
    return world.change(source, change)
