"""Paths between two images at a noise level: their curves, their lengths, and the images along them.

Both images are inverted up to the level, and a curve is drawn there between the two latents: straight (lerp), along
an arc (slerp), or as short as possible in feature space (geodesic). Each point then returns along the mean of the two
inversion traces with the point's own weights. A mean of traces is a trace, for their law is linear, so the ends of
every curve are the images' own latents.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, get_args

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.console import Progress, progress_bar
from latentedit.core.errors import ConfigError, explaining
from latentedit.core.setting import Count, Level, check_value
from latentedit.encoding.encode import ImageLike, captioner_for, encode_frames, fit_all
from latentedit.encoding.familiarity import warn_of_unknown
from latentedit.encoding.inversion import InversionTrace, invert, retrace
from latentedit.encoding.joint import JointLatent
from latentedit.encoding.kinds import takes_latent
from latentedit.geometry.curves import lerp, semantic_lengths, shortest_curve, slerp, speeds
from latentedit.geometry.subspaces import RandomLevel, random_level
from latentedit.models.base import Backbone
from latentedit.models.derivatives import FEATURE_ROWS, FeatureJacobian, FeatureMap, Pooling
from latentedit.numerics.block_lanczos import TruncatedSVD, truncated_svd
from latentedit.numerics.condition import Condition
from latentedit.numerics.device import plain_default
from latentedit.numerics.rng import stream

Method = Literal["lerp", "slerp", "geodesic"]

METHODS: tuple[Method, ...] = get_args(Method)

MOST_FRAMES = 50
SAME_TWICE = "a path needs two different images; got the same one twice"
_CURVE_NOT_CONVERGED = "the geodesic has not converged: a longer search might find a shorter curve"
_BASIS_NOT_CONVERGED = "some tangent spaces have not converged; semantic lengths may be off by a few per cent"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentPath:
    """One curve from the first image to the second; its ends are those of the images, bit for bit."""

    method: Method
    points: Float[Tensor, "l *latent"]  # at the level
    z: Float[Tensor, "l *latent"]  # clean latents of the same points
    speeds: Float[Tensor, " n"]  # length of each segment in feature space
    turns: Float[Tensor, " n"]  # angle by which the tangent space turns in each segment, in radians: its curvedness
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
    """Several curves between the same two images, one for each method: ``paths[0]`` has its ``semantic_length``."""

    latent: JointLatent
    trace: InversionTrace
    site: str  # site of the feature in which lengths are measured, under no text
    level: float
    rank: int  # dimensions of the tangent spaces
    steps: int
    seed: int
    random: RandomLevel  # distance of two random tangent spaces of that rank
    paths: tuple[LatentPath, ...]
    evaluations: int


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class TangentSpaces:
    """Tangent spaces of a feature along curves with the same ends; those at the ends are computed once."""

    feature: FeatureMap
    rank: int
    draws: tuple[Any, ...]  # seed and purpose, such as ``(0, "path")``, of the start of each search; see `stream`
    tolerance_degrees: float = 0.25  # see `truncated_svd`
    most_products: int | None = None  # limit of one search, see `truncated_svd`
    progress: Callable[[int], None] | None = None  # called with the number of spaces found
    ends: list[TruncatedSVD] = dataclasses.field(default_factory=list[TruncatedSVD])
    done: int = 0
    note: str = ""  # note on the Jacobians

    def along(self, points: Float[Tensor, "l *latent"]) -> list[TruncatedSVD]:
        """The spaces at the points of a curve."""
        first = self.ends[0] if self.ends else self.at(points[0], None)
        bases = [first]
        for point in points[1:-1]:
            bases.append(self.at(point, bases[-1]))
        last = self.ends[1] if self.ends else self.at(points[-1], bases[-1])
        self.ends = [first, last]
        return [*bases, last]

    def at(self, point: Float[Tensor, "*latent"], before: TruncatedSVD | None) -> TruncatedSVD:
        """The space at a point, searched from the one before it."""
        # Neighboring points of a curve have nearly the same space, so a search from there needs fewer products.
        jacobian, start = FeatureJacobian(self.feature, point[None]), None if before is None else before.v
        result = truncated_svd(
            jacobian,
            self.rank,
            generator=stream(*self.draws),
            tolerance_degrees=self.tolerance_degrees,
            most_products=self.most_products,
            start=start,
        )
        self.note = jacobian.note
        self.done += 1
        if self.progress is not None:
            self.progress(self.done)
        return result


@torch.no_grad()
def encode_pair(model: Backbone, images: Sequence[ImageLike], captions: Sequence[str | None]) -> JointLatent:
    """Encode two images at one size; a caption of None is the captioner's, or no text without one."""
    frames = fit_all(model, images)
    first, second = (frame.pixels for frame in frames)
    if first.shape != second.shape:
        sizes = " and ".join(f"{pixels.shape[2]} x {pixels.shape[1]}" for pixels in (first, second))
        raise ConfigError(f"the two images get different sizes, {sizes}. Crop one to the other's proportions")
    captioner = captioner_for(model)
    texts = tuple(
        caption if caption is not None else "" if captioner is None else captioner.caption(frame.pixels[None])[0]
        for frame, caption in zip(frames, captions, strict=True)
    )
    return encode_frames(model, frames, source_prompt=texts)


@takes_latent
@explaining
@torch.no_grad()
@plain_default()
def paths_between(
    latent: JointLatent,
    *,
    methods: Sequence[str] = METHODS,
    frames: int = 7,
    level: float = 0.85,
    site: str | None = None,
    rank: int = 10,
    pooling: Pooling = "none",
    steps: int = 28,
    seed: int = 0,
    progress: Progress | bool | None = True,
) -> PathsBetween:
    """Draw curves at a level between two images, each under its own caption, and measure them.

    ``latent`` is from `encode`, of the two images.
    ``frames`` counts the points of a curve, its ends included; semantic lengths depend on it, and on ``rank`` and
    ``pooling`` (see `local_basis`): Park et al. 2023 (arXiv 2302.12469) have 31 points and the pooled feature. It
    costs two inversions; for each method ``frames - 2`` ways back and as many tangent spaces; and for the geodesic,
    which starts from slerp, up to 100 times the features of all points, forwards and backwards. ``progress`` is that of
    `local_basis`.
    """
    check_methods(methods, frames)
    check_value(Level, level=level)
    check_value(Count, rank=rank)
    if len(latent) != 2:
        raise ConfigError(
            f"a path needs two images; got {len(latent)}. Encode both together: "
            "`paths_between(latentedit.encode(model, [one, other]))`"
        )
    if torch.equal(latent.z[0], latent.z[1]):
        raise ConfigError(SAME_TWICE)
    backbone, grid = latent.backbone, latent.path(steps, level)
    where = backbone.default_site if site is None else site
    condition, total = backbone.embed([""]), len(methods) * (frames - 2) + 2
    feature = FeatureMap(backbone=backbone, site=where, level=grid.levels[0], condition=condition, pooling=pooling)
    warn_of_unknown(latent)
    with progress_bar(progress) as report, backbone.count() as cost:
        trace = invert(latent, grid, progress=report)
        text = None if report is None else lambda done: report("tangent spaces", done, total)
        spaces = TangentSpaces(feature=feature, rank=rank, draws=(seed, "latent path"), progress=text)
        paths = tuple(_path(method, latent, trace, spaces, frames, report) for method in methods)
    how: dict[str, Any] = {"site": where, "level": trace.levels[-1], "rank": rank, "steps": steps, "seed": seed}
    random = random_level(spaces.ends[0].u[0].numel(), rank, seed=seed)
    return PathsBetween(latent=latent, trace=trace, random=random, paths=paths, evaluations=cost.evaluations, **how)


def check_methods(methods: Sequence[str], frames: int) -> None:
    """Refuse unknown methods, no method, and numbers of frames outside 3 to 50."""
    if not methods:
        raise ConfigError(f"no method is given. Known: {', '.join(METHODS)}")
    for method in methods:
        check_value(Method, method=method)
    check_value(Annotated[int, Field(ge=3, le=MOST_FRAMES)], frames=frames)


def _path(
    method: str,
    latent: JointLatent,
    trace: InversionTrace,
    spaces: TangentSpaces,
    frames: int,
    progress: Progress | None,
) -> LatentPath:
    """One curve, measured and returned to clean latents."""
    weights, feature = torch.linspace(0, 1, frames, dtype=torch.float64), spaces.feature
    draw, notes = lerp if method == "lerp" else slerp, list[str]()
    points = draw(trace.top[0], trace.top[1], weights)
    if method == "geodesic":
        result = shortest_curve(feature, points, progress=progress)
        points = result.points
        notes += [] if result.converged else [_CURVE_NOT_CONVERGED]
    bases = spaces.along(points)
    notes += [] if all(basis.converged for basis in bases) else [_BASIS_NOT_CONVERGED]
    notes += [spaces.note] if spaces.note else []
    return LatentPath(
        method=METHODS[METHODS.index(method)],
        points=points,
        z=_returned(latent, trace, points, weights, progress),
        speeds=speeds(torch.cat([feature(rows) for rows in points.split(FEATURE_ROWS)])),
        turns=semantic_lengths([basis.u for basis in bases]),
        notes=tuple(notes),
    )


def _returned(
    latent: JointLatent,
    trace: InversionTrace,
    points: Float[Tensor, "l *latent"],
    weights: Float[Tensor, " l"],
    progress: Progress | None,
) -> Float[Tensor, "l *latent"]:
    """Clean latents of the points, the ends those of the images; see the module."""
    inner = list[Tensor]()
    for rows, some in zip(points[1:-1].split(FEATURE_ROWS), weights[1:-1].split(FEATURE_ROWS), strict=True):
        mean = InversionTrace(
            levels=trace.levels,
            states=tuple(lerp(state[0], state[1], some) for state in trace.states),
            velocities=tuple(lerp(velocity[0], velocity[1], some) for velocity in trace.velocities),
        )
        text = Condition.cat([latent.condition[:1].lerp(latent.condition[1:], weight) for weight in some.tolist()])
        between = JointLatent(backbone=latent.backbone, z=mean.states[0], condition=text, captions=("",) * len(rows))
        inner.append(retrace(between, mean, text, offset=rows - mean.top, progress=progress))
    return torch.cat([latent.z[:1], *inner, latent.z[1:]])
