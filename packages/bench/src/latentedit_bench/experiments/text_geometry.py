"""Are the text differences of several attributes orthogonal?

In thousands of dimensions that comes for nothing: random differences have almost right angles. So the test stands
beside its null: theory, random pairs of the caller's, permutations. Everything is computed from
inner products of the differences, never from their covariance.

The differences must be comparable: align the captions (`latentedit.directions.text`), leave out padding, and test parts
that mean different things (pooled part, causal and bidirectional encoders) each by itself.
"""

import dataclasses
import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.settings import Count, check

_COLUMNS = 8192
_TINY = 1e-9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrthogonalityResult:
    """Are the directions of several attributes at right angles?

    Args:
        cosines: between their mean directions.
        consistency: of each attribute, the mean cosine between the differences of two prompts.
        largest: the largest between different attributes, without its sign.
        null_largest: ``sqrt(2 ln(pairs of attributes) / effective_dimension)``, about the largest between random ones.
        effective_dimension: ``(tr C)^2 / tr C^2`` of the random differences.
        grouping_share: share of random groupings of the same differences whose largest cosine is as small: small where
            the attributes, and not any groups of prompts, are what is apart.
    """

    cosines: Float[Tensor, "attributes attributes"]
    consistency: Float[Tensor, " attributes"]
    largest: float
    null_largest: float
    effective_dimension: float
    grouping_share: float


def orthogonality_test(
    differences: Mapping[str, Float[Tensor, "_ *shape"]],
    random_differences: Float[Tensor, "pairs *shape"],
    *,
    generator: torch.Generator,
    permutations: int = 999,
) -> OrthogonalityResult:
    """Cosines between the mean directions of attributes, without what every change of text shares.

    Rows are scaled to unit length, the mean direction of the random differences is projected out, and they are scaled
    again; an attribute's direction is the mean of its rows. The mean over the attributes themselves is not what is
    removed: it makes all cosines of k orthogonal directions ``-1 / (k - 1)``.

    Args:
        differences: target minus source of each attribute, a prompt a row.
        random_differences: of prompt pairs that differ by chance in as many tokens, made in the same way as the
            attributes' (what these all share, such as tokens that move up, is then known from them).
        generator: of the permutations, which group the attributes' rows at random.
        permutations: how many.

    Raises:
        ConfigError: fewer than 2 attributes, 2 prompts of one, or 4 random pairs; a difference that is zero, not
            finite, or nothing but the shared direction; no permutations.
        ShapeError: rows of different shapes.

    Source:
        Derived here; the statement tested is that of arXiv 2411.08196, as others describe it.
    """
    check(Count, permutations=permutations)
    if len(differences) < 2:
        raise ConfigError(f"{len(differences)} attribute is too few to compare. Give 2 or more")
    gram, (*counts, pairs) = _inner_products(differences, random_differences)
    cosines = _without_shared(gram, pairs)[:-pairs, :-pairs]
    groups = torch.block_diag(*(cosines.new_full((1, count), 1 / count) for count in counts))
    found, lengths = _between(groups, cosines)
    sizes, shuffled = _sizes(found), list[Tensor]()
    for _ in range(permutations):
        order = torch.randperm(len(cosines), generator=generator, device=generator.device).to(cosines.device)
        shuffled.append(_sizes(_between(groups, cosines[order][:, order])[0]).amax())
    number = cosines.new_tensor(counts)
    dimension = _effective_dimension(gram[-pairs:, -pairs:])
    return OrthogonalityResult(
        cosines=found,
        consistency=_mean_cosine(lengths * number**2, number),
        largest=float(sizes.amax()),
        null_largest=math.sqrt(2 * math.log(len(sizes)) / dimension),
        effective_dimension=dimension,
        grouping_share=_share(torch.stack(shuffled) <= sizes.amax() + _TINY),
    )


def effective_dimension(differences: Float[Tensor, "pairs *shape"]) -> float:
    """The participation ratio ``(tr C)^2 / tr C^2`` of the covariance C of vectors.

    Both parts are unbiased, whatever the distribution and its mean: they are the averages of
    ``|x_i - x_j|^2 |x_k - x_l|^2 / 4`` and ``((x_i - x_j) . (x_k - x_l))^2 / 4`` over four different rows. The ratio of
    the sample covariance itself could never exceed the number of rows.

    Args:
        differences: at least 4 vectors, a row each.

    Raises:
        ConfigError: fewer than 4 rows, rows that are all equal, zero or not finite.

    Source:
        The averages in closed form: Himeno and Yamada 2014, J. Multivariate Anal. 130.
    """
    gram, (pairs,) = _inner_products({}, differences)
    return _effective_dimension(gram[:pairs, :pairs])


def _effective_dimension(gram: Float[Tensor, "n n"]) -> float:
    count = len(gram)
    means = gram.mean(dim=0)
    centred = gram - means - means[:, None] + means.mean()
    if float(centred.trace()) <= _TINY * float(gram.trace()):
        raise ConfigError("the random differences are all equal. Draw some that vary")
    trace, square = centred.trace() / (count - 1), centred.square().sum() / (count - 1) ** 2
    fourth = count * centred.diagonal().square().sum() / (count - 1)
    trace_squared = 2 * square + (count**2 - 3 * count + 1) * trace**2 - fourth
    square_traced = (count - 1) * (count - 2) * square + trace**2 - fourth
    return float(trace_squared / square_traced)


def _inner_products(groups: Mapping[str, Tensor], null: Tensor) -> tuple[Float[Tensor, "n n"], list[int]]:
    """All inner products in float64, the null's rows last, and how many rows each group has."""
    named = {**groups, "random_differences": null}
    for name, rows in named.items():
        least = 4 if rows is null else 2
        if len(rows) < least:
            raise ConfigError(f"{name} has {len(rows)} rows. Give at least {least}")
        if rows.shape[1:] != null.shape[1:]:
            raise ShapeError(
                f"rows of {name} have the shape {list(rows.shape[1:])}, and those of the null {list(null.shape[1:])}"
            )
    every = torch.cat([rows.flatten(1) for rows in named.values()])
    gram = torch.zeros(len(every), len(every), dtype=torch.float64, device=every.device)
    for columns in every.split(_COLUMNS, dim=1):
        gram += columns.double() @ columns.double().T
    counts = [len(rows) for rows in named.values()]
    for name, squares in zip(named, gram.diagonal().split(counts), strict=True):
        if not bool((torch.isfinite(squares) & (squares > 0)).all()):
            raise ConfigError(f"{name} has a difference that is zero or not finite. Leave it out")
    return gram, counts


def _without_shared(gram: Float[Tensor, "n n"], pairs: int) -> Float[Tensor, "n n"]:
    """Cosines between rows after the mean direction of the last ``pairs`` is projected out of all."""
    norms = gram.diagonal().sqrt()
    cosines = gram / (norms[:, None] * norms)
    along = cosines[:, -pairs:].mean(dim=1)
    rest = cosines - along[:, None] * along / along[-pairs:].mean().clamp_min(_TINY)
    lengths = rest.diagonal()
    if bool((lengths <= _TINY).any()):
        raise ConfigError("a difference lies along the direction that all share. Leave it out")
    return rest / (lengths[:, None] * lengths).sqrt()


def _between(groups: Tensor, cosines: Tensor) -> tuple[Float[Tensor, "k k"], Float[Tensor, " k"]]:
    """Cosines between the means of groups of unit vectors, and the squared lengths of these means."""
    products = groups @ cosines @ groups.T
    lengths = products.diagonal()
    return products / (lengths[:, None] * lengths).clamp_min(_TINY**2).sqrt(), lengths


def _sizes(cosines: Float[Tensor, "k k"]) -> Float[Tensor, " pairs"]:
    """Cosines of different pairs, without their signs."""
    above = torch.triu_indices(len(cosines), len(cosines), offset=1, device=cosines.device)
    return cosines[above[0], above[1]].abs()


def _mean_cosine(total: Tensor, count: int | Tensor) -> Tensor:
    """Mean over different rows, from the sum over all; equal rows have 1."""
    return (total - count) / (count * (count - 1))


def _share(as_extreme: Tensor) -> float:
    """The observed grouping counts as one of the permutations."""
    return (1 + int(as_extreme.sum())) / (1 + len(as_extreme))
