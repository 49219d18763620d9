"""Ways between two pictures at a level, how long they are, and the pictures along them.

Both pictures are carried up to the level, and a curve is drawn there between the two latents, straight (lerp), along an
arc (slerp), or as short as it can be in feature space (geodesic). Each point then returns: its way back is aligned to
the mean of the two ways up with the point's own weights. A mean of traces is a trace, for their law is linear, so the
ends of every curve are the pictures' own latents.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.geometry.curves import semantic_lengths, speeds
from latentedit.core.geometry.geodesic import shortest_curve
from latentedit.core.geometry.grassmann import RandomLevel, random_level
from latentedit.core.geometry.interpolation import lerp, slerp
from latentedit.core.linalg.block_lanczos import TruncatedSVD, truncated_svd
from latentedit.core.progress import Progress
from latentedit.core.rng import stream
from latentedit.core.settings import Count, Level, check
from latentedit.latents.inversion import InversionTrace, invert, replay
from latentedit.latents.joint import JointLatent
from latentedit.latents.pair import SAME_TWICE
from latentedit.models.feature_jacobian import ROWS, FeatureJacobian, FeatureMap

Method = Literal["lerp", "slerp", "geodesic"]

METHODS: tuple[Method, ...] = get_args(Method)

MOST_FRAMES = 50

_LOOSE_CURVE = "the geodesic is not settled: a longer search might find a shorter curve"
_LOOSE_BASIS = "some tangent spaces are not settled; semantic lengths may be off by a few per cent"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentPath:
    """One curve from the first picture to the second.

    Args:
        method: how it was drawn.
        points: of the latent at the level; the ends are the pictures', bit for bit.
        z: clean latents of the same points; likewise.
        speeds: length of each segment in feature space.
        turns: how far the tangent space turns in each segment, the Grassmann distance in radians: its curvedness.
        notes: what the user should know, as sentences.
    """

    method: Method
    points: Float[Tensor, "l *latent"]
    z: Float[Tensor, "l *latent"]
    speeds: Float[Tensor, " n"]
    turns: Float[Tensor, " n"]
    notes: tuple[str, ...] = ()

    @property
    def length(self) -> float:
        """In feature space."""
        return float(self.speeds.sum())

    @property
    def semantic_length(self) -> float:
        """The sum of the turns, in radians."""
        return float(self.turns.sum())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathsBetween:
    """Several curves between the same two pictures.

    Args:
        latent: the two pictures.
        trace: their way up.
        site: of the feature in which lengths are measured, under no text.
        level: ``trace.levels[-1]``.
        rank: of the tangent spaces.
        steps: of the model's whole grid.
        seed: of the searches.
        random: distance of two random tangent spaces of that rank: what a turn means nothing beyond.
        paths: one for each method.
        evaluations: of the network.
    """

    latent: JointLatent
    trace: InversionTrace
    site: str
    level: float
    rank: int
    steps: int
    seed: int
    random: RandomLevel
    paths: tuple[LatentPath, ...]
    evaluations: int


@torch.no_grad()
def paths_between(
    latent: JointLatent,
    *,
    methods: Sequence[str] = METHODS,
    frames: int = 7,
    level: float = 0.85,
    site: str | None = None,
    rank: int = 10,
    steps: int = 28,
    seed: int = 0,
    progress: Progress | None = None,
) -> PathsBetween:
    """Draw curves between two pictures and measure them.

    Args:
        latent: the two pictures, each under the caption that it is to return under.
        methods: of "lerp", "slerp" and "geodesic"; the geodesic starts from slerp.
        frames: points of each curve, its ends included; from 3 to 50. Semantic lengths depend on it.
        level: at which the curves are drawn, in (0, 1]; cut to the model's highest level.
        site: where the feature is, one of `Backbone.sites`; None is `Backbone.default_site`.
        rank: of the tangent spaces.
        steps: of the model's whole grid.
        seed: of the searches for tangent spaces.
        progress: told after each step of the inversion, "shortest curve", "tangent spaces" and "return".

    Raises:
        ConfigError: not two pictures, the same one twice, no method or an unknown one, or a level, rank, site or
            number of frames that does not fit.
        ModelError: the network or its derivative gave values that are not finite.

    Cost:
        Two ways up; for each method ``frames - 2`` ways back and as many tangent spaces, each of which starts from the
        one before; and for the geodesic up to 100 times the features of all points, forwards and backwards.
    """
    _check(latent, methods, frames, level, rank)
    backbone, grid = latent.backbone, latent.path(steps, level)
    where = backbone.default_site if site is None else site
    feature = FeatureMap(backbone=backbone, site=where, level=grid.levels[0], condition=backbone.embed([""]))
    with backbone.count() as cost:
        trace = invert(latent, grid, progress=progress)
        spaces = _Spaces(
            feature=feature, rank=rank, seed=seed, total=len(methods) * (frames - 2) + 2, progress=progress
        )
        paths = tuple(_path(method, latent, trace, spaces, frames, progress) for method in methods)
    return PathsBetween(
        latent=latent,
        trace=trace,
        site=where,
        level=trace.levels[-1],
        rank=rank,
        steps=steps,
        seed=seed,
        random=random_level(spaces.numbers, rank, seed=seed),
        paths=paths,
        evaluations=cost.evaluations,
    )


def check_methods(methods: Sequence[str], frames: int) -> None:
    """Refuse what no path can be drawn by.

    Raises:
        ConfigError: no method or an unknown one, with the nearest; fewer than 3 frames, or more than 50.
    """
    if not methods:
        raise ConfigError(f"no method is named. Known: {', '.join(METHODS)}")
    for method in methods:
        check(Method, method=method)
    check(Annotated[int, Field(ge=3, le=MOST_FRAMES)], frames=frames)


def _check(latent: JointLatent, methods: Sequence[str], frames: int, level: float, rank: int) -> None:
    check_methods(methods, frames)
    check(Level, level=level)
    check(Count, rank=rank)
    if len(latent) != 2:
        raise ConfigError(f"a path goes between two pictures; got {len(latent)}")
    if torch.equal(latent.z[0], latent.z[1]):
        raise ConfigError(SAME_TWICE)


def _path(
    method: str, latent: JointLatent, trace: InversionTrace, spaces: "_Spaces", frames: int, progress: Progress | None
) -> LatentPath:
    """One curve, measured and brought back."""
    weights, feature = torch.linspace(0, 1, frames, dtype=torch.float64), spaces.feature
    points, loose = _drawn(method, trace.top, weights, feature, progress)
    bases = spaces.along(points)
    notes = [_LOOSE_CURVE] if loose else []
    notes += [] if all(basis.converged for basis in bases) else [_LOOSE_BASIS]
    notes += [spaces.note] if spaces.note else []
    return LatentPath(
        method=METHODS[METHODS.index(method)],
        points=points,
        z=_returned(latent, trace, points, weights, progress),
        speeds=speeds(torch.cat([feature(rows) for rows in points.split(ROWS)])),
        turns=semantic_lengths([basis.u for basis in bases]),
        notes=tuple(notes),
    )


def _drawn(
    method: str, ends: Tensor, weights: Tensor, feature: FeatureMap, progress: Progress | None
) -> tuple[Float[Tensor, "l *latent"], bool]:
    """The points of a curve, and whether it could be shorter."""
    if method == "lerp":
        return lerp(ends[0], ends[1], weights), False
    arc = slerp(ends[0], ends[1], weights)
    if method == "slerp":
        return arc, False
    found = shortest_curve(feature, arc, progress=progress)
    return found.points, not found.converged


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class _Spaces:
    """Tangent spaces along curves; those at the ends, which all curves share, are looked for once."""

    feature: FeatureMap
    rank: int
    seed: int
    total: int
    progress: Progress | None
    ends: list[TruncatedSVD] = dataclasses.field(default_factory=list[TruncatedSVD])
    numbers: int = 0
    done: int = 0
    note: str = ""

    def along(self, points: Float[Tensor, "l *latent"]) -> list[TruncatedSVD]:
        first = self.ends[0] if self.ends else self._at(points[0], None)
        bases = [first]
        for point in points[1:-1]:
            bases.append(self._at(point, bases[-1]))
        last = self.ends[1] if self.ends else self._at(points[-1], bases[-1])
        self.ends = [first, last]
        return [*bases, last]

    def _at(self, point: Float[Tensor, "*latent"], before: TruncatedSVD | None) -> TruncatedSVD:
        jacobian = FeatureJacobian(self.feature, point[None])
        self.numbers, start = math.prod(jacobian.out_shape), None if before is None else before.v
        found = truncated_svd(jacobian, self.rank, generator=stream(self.seed, "latent path"), start=start)
        self.note = jacobian.note
        self.done += 1
        if self.progress is not None:
            self.progress("tangent spaces", self.done, self.total)
        return found


def _returned(
    latent: JointLatent,
    trace: InversionTrace,
    points: Float[Tensor, "l *latent"],
    weights: Float[Tensor, " l"],
    progress: Progress | None,
) -> Float[Tensor, "l *latent"]:
    """Clean latents of the points, the ends those of the pictures; see the module."""
    inner = list[Tensor]()
    for rows, some in zip(points[1:-1].split(ROWS), weights[1:-1].split(ROWS), strict=True):
        mean = InversionTrace(
            levels=trace.levels,
            states=tuple(lerp(state[0], state[1], some) for state in trace.states),
            velocities=tuple(lerp(velocity[0], velocity[1], some) for velocity in trace.velocities),
        )
        text = Condition.cat([latent.condition[:1].lerp(latent.condition[1:], weight) for weight in some.tolist()])
        between = JointLatent(backbone=latent.backbone, z=mean.states[0], condition=text, captions=("",) * len(rows))
        inner.append(replay(between, mean, text, offset=rows - mean.top, progress=progress))
    return torch.cat([latent.z[:1], *inner, latent.z[1:]])
