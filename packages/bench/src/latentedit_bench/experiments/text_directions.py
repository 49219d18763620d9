"""Are text directions of different attributes at right angles, and of one length? More so than random vectors?

In many dimensions both come for nothing. So the number stands beside what isotropic random vectors have in as many
dimensions as differences of captions effectively take.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.models.base import Backbone
from latentedit_bench.domains.base import Domain
from latentedit_bench.experiments.decisions import Number
from latentedit_bench.experiments.experiment import EIM_PAPER, Row, experiment
from latentedit_bench.experiments.plots import Dots, Forest
from latentedit_bench.experiments.subspaces import effective_dimension
from latentedit_bench.experiments.texts import Pairs, Texts

_COSINE = Number(
    says="mean |cosine| of random vectors in the effective dimension less that between attributes' text differences",
    of="below random",
)


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
def text_directions(model: Backbone, world: Domain, pairs: Sequence[Pairs]) -> Iterator[Row]:
    """Words at different places of a caption are nearly at right angles by construction, so tokens decide nothing.

    What decides has no places: the pooled part of a text, or where a model has none, the sum of its tokens. Random
    captions change as many words, at places of their own. A set of isotropic random vectors in d dimensions has the
    mean |cosine| ``sqrt(2 / (pi d))``; d is ``(tr C)^2 / tr C^2`` of the random captions' differences.
    """
    text, (ours, null) = differences(model, world, pairs)
    level = math.sqrt(2 / (math.pi * effective_dimension(null.flatten(0, 1))))
    for portrait, (own, drawn) in enumerate(zip(mean_cosines(ours), mean_cosines(null), strict=True)):
        below = {"below random": level - own, "below captions": drawn - own}
        yield {"portrait": portrait, "text": text, "cosine": own, **below}


def differences(
    model: Backbone, world: Domain, pairs: Sequence[Pairs]
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
