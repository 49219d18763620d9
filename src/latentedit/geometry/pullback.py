"""The local basis of an image: the directions at one noise level in which a feature of the network changes most.

At a level s a latent is ``Z = (1 - s) x + s e``, so a displacement v of Z is stored as the displacement
``v / (1 - s)`` of the clean latent x (`clean_share` is that factor). `Slider` multiplies by it again, so what is added
at the level is v itself.
"""

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.console import Progress, progress_bar
from latentedit.core.errors import ConfigError, Hinted, explaining
from latentedit.core.setting import Count, Level, check_value
from latentedit.encoding.familiarity import warn_of_unknown
from latentedit.encoding.inversion import InversionTrace, invert
from latentedit.encoding.joint import JointLatent
from latentedit.encoding.kinds import takes_latent
from latentedit.geometry.means import unit_rows
from latentedit.identification.direction import Direction, clean_share
from latentedit.models.derivatives import FeatureJacobian, FeatureMap, Pooling
from latentedit.numerics.block_lanczos import TruncatedSVD, truncated_svd
from latentedit.numerics.condition import Condition
from latentedit.numerics.device import plain_default
from latentedit.numerics.rng import draw, stream

_PROBES = 8  # random directions by which a sum of squared singular values is estimated


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalBasis(Hinted, TruncatedSVD):
    """Right singular vectors of ``J = df/dz`` at an image's latent at a level, with f the feature at a site.

    Laws, up to rounding in the network's own arithmetic:
        1. ``v`` is orthonormal, ``J v[k] = singular_values[k] * u[k]``, and ``u`` is orthonormal.
        2. The entry of ``v[k]`` of largest absolute value is positive.

    Args:
        latent: the image.
        trace: its inversion up to the level; J was taken at ``trace.top``.
        site: where the feature is, one of `Backbone.sites`.
        level: ``trace.levels[-1]``.
        prompt: the text under which J was taken.
        condition: that text, embedded.
        steps: of the model's full grid, in the inversion.
        seed: random seed of the search.
        u, v: changes of the feature, one number per channel if it was pooled over space, and the displacements of the
            latent at the level that make them; this and the rest of the search as in `TruncatedSVD`.
        evaluations: of the network, inversion included.
        pooling: of `local_basis`.
        note: of the Jacobian, see `FeatureJacobian.note`.
    """

    latent: JointLatent
    trace: InversionTrace
    site: str
    level: float
    prompt: str
    condition: Condition
    steps: int
    seed: int
    evaluations: int
    pooling: Pooling = "none"
    note: str = ""

    def __len__(self) -> int:
        return len(self.v)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.direction(k) for k in range(len(self))[index]]
        return self.direction(range(len(self))[_number(index)])

    def __repr__(self) -> str:
        return f"<LocalBasis of {len(self)} directions at {self.site}, level {self.level:.2f}>"

    @property
    def feature(self) -> FeatureMap:
        """f, at the level and under the text."""
        point: dict[str, Any] = {name: getattr(self, name) for name in ("site", "level", "condition", "pooling")}
        return FeatureMap(backbone=self.latent.backbone, **point)

    @property
    def jacobian(self) -> FeatureJacobian:
        """J; to make it costs one evaluation."""
        return FeatureJacobian(self.feature, self.trace.top)

    def energy(self) -> Float[Tensor, " r"]:
        """The share of the first 1, 2, ... squared singular values in the sum of all, in float64 on the CPU.

        The rest of the sum is estimated by 8 random probes, for 17 evaluations.
        """
        return _energy(self.jacobian, self, self.seed)

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings to the user, as sentences."""
        loose = (
            f"the basis has not converged: the space of the first {len(self)} directions is outside its tolerance, as "
            "where the next singular value is hardly smaller; single directions before the last may well be accurate"
        )
        return tuple(filter(None, ("" if self.converged else loose, self.note)))

    def direction(self, index: int, *, step: float = 1.0) -> Direction:
        """One basis vector as a direction: at ``level`` it moves the latent by ``step * v[index]``.

        Its displacement of the clean latent is ``step * v[index] / max(1 - level, 0.01)``, for ``1 - level`` is the
        share of x in ``z(s) = (1 - s) x + s e``. It moves no text. It stores ``u[index]``, the change of the feature
        that it makes here, by which `geometry.transport` carries it to other images.

        Raises:
            ConfigError: an index outside the basis.
        """
        if not 0 <= (index := _number(index)) < len(self):
            raise ConfigError(f"the basis has no vector {index}: the last is {len(self) - 1}")
        settings = {"index": index, "singular_value": float(self.singular_values[index])}
        return self.direction_along(self.v[index], self.u[index], settings, step=step, method="pullback")

    def direction_along(
        self,
        v: Float[Tensor, "*latent"],
        feature: Float[Tensor, "*feature"],
        settings: Mapping[str, Any],
        *,
        step: float,
        method: str,
        notes: Sequence[str] = (),
    ) -> Direction:
        """A displacement of unit length at this point, with the change of the feature that it makes, as a direction."""
        about = {name: getattr(self, name) for name in ("site", "pooling", "seed", "prompt", "steps")}
        about |= {"rank": len(self), "step": step, **settings}
        result = direction_at(self.latent, (step * v[None]).to(self.v), level=self.level, method=method, settings=about)
        text = tuple(dict.fromkeys((*notes, *self.notes)))
        return dataclasses.replace(result, feature=feature.to(self.v), notes=text)


@takes_latent
@explaining
@torch.no_grad()
@plain_default()
def local_basis(
    latent: JointLatent,
    *,
    site: str | None = None,
    rank: int = 10,
    energy: float | None = None,
    level: float = 0.85,
    prompt: str | None = None,
    steps: int = 28,
    pooling: Pooling = "none",
    seed: int = 0,
    progress: Progress | bool | None = True,
) -> LocalBasis:
    """The directions at a level in which a feature of one image changes most.

    An image that the model does not know is a `LatentEditWarning`.

    Args:
        latent: from `encode`, of one image.
        site: where the feature is, one of `Backbone.sites`; None is `Backbone.default_site`.
        rank: number of directions, from 1 up.
        energy: keep only as many of them as make this share of the sum of all squared singular values, in (0, 1); see
            `LocalBasis.energy`. Park et al. 2023 (arXiv 2302.12469) take half.
        level: noise level, in (0, 1]; cut to the model's highest level.
        prompt: text for the network; None is the image's own caption, "" no text. The papers have no text, or that
            of the edit, under which the basis is another one: 46 to 88 degrees from that under a caption.
        steps: of the model's full grid; the inversion walks the part below ``level``, from the image at level 0. Park
            et al. start at the schedule's first level, go up to the highest and plainly down to the level, where the
            latent is another one by 7 % and the leading directions are by 5 to 16 degrees.
        pooling: "space" sums the feature over tokens or pixels, "none" takes all of it.
        seed: of the search's random start.
        progress: True draws a bar, False is silent; or a function that is called after each step of the inversion
            ("integrate") and of the search ("basis").

    Raises:
        ConfigError, ShapeError: several images, or a level, rank, site or pooling that does not fit.
        ModelError: the network or its derivative returned values that are not finite.

    Cost:
        One evaluation per step below ``level``, then two evaluations per product; `LocalBasis.products` counts them.
        That of `check_familiarity` comes first.

    Source:
        Park et al. 2023 (arXiv 2307.12868), with our own search.
    """
    check_value(Count, rank=rank)
    check_value(Annotated[float | None, Field(gt=0, lt=1)], energy=energy)
    how: dict[str, Any] = {"site": site, "level": level, "prompt": prompt, "steps": steps, "pooling": pooling}
    with progress_bar(progress) as report:
        point = basis_point(latent, seed=seed, progress=report, **how)
        with point.latent.backbone.count() as cost:
            jacobian = point.jacobian
            svd = truncated_svd(jacobian, rank, generator=stream(seed, "local basis"), progress=report)
            shares = None if energy is None else _energy(jacobian, svd, seed)
    found = {field.name: getattr(svd, field.name) for field in dataclasses.fields(svd)}
    note = jacobian.note
    if energy is not None and shares is not None:
        count = int((shares < energy).sum()) + 1
        short = f"{rank} directions have {float(shares[-1]):.0%} of the energy; a higher rank would have more"
        note = "; ".join(filter(None, (note, short if count > rank else "")))
        found |= {name: found[name][:count] for name in ("u", "singular_values", "v", "residuals")}
    return dataclasses.replace(point, evaluations=point.evaluations + cost.evaluations, note=note, **found)


@torch.no_grad()
def basis_point(
    latent: JointLatent,
    *,
    site: str | None = None,
    level: float = 0.85,
    prompt: str | None = None,
    steps: int = 28,
    pooling: Pooling = "none",
    seed: int = 0,
    progress: Progress | None = None,
) -> LocalBasis:
    """The latent of one image at a level, as a basis without vectors: `pca` and the full Jacobian need no more."""
    check_value(Level, level=level)
    check_value(str | None, site=site, prompt=prompt)
    check_value(int, seed=seed)
    if len(latent) != 1:
        raise ConfigError(f"a local basis takes one image; got {len(latent)}. Compute one for each")
    backbone, grid = latent.backbone, latent.path(steps, level)
    where = backbone.default_site if site is None else site
    condition = latent.condition if prompt is None else latent.embed_with_references([prompt])
    FeatureMap(backbone=backbone, site=where, level=grid.levels[0], condition=condition, pooling=pooling)  # checks them
    warn_of_unknown(latent)
    with backbone.count() as cost:
        trace = invert(latent, grid, progress=progress)
    none = latent.z.new_zeros(0)
    return LocalBasis(
        u=none,
        singular_values=none,
        v=latent.z[:0],
        residuals=none,
        iterations=0,
        products=0,
        converged=True,
        latent=latent,
        trace=trace,
        site=where,
        level=trace.levels[-1],
        prompt=latent.captions[0] if prompt is None else prompt,
        condition=condition,
        steps=steps,
        seed=seed,
        evaluations=cost.evaluations,
        pooling=pooling,
    )


def _number(index: Any) -> int:
    try:
        return operator.index(index)
    except TypeError:
        what = f"the directions of a basis are numbered from 0; got {index!r}"
        raise ConfigError(f"{what}. Take the names of latentedit.discover to choose one") from None


def _energy(jacobian: FeatureJacobian, svd: TruncatedSVD, seed: int) -> Float[Tensor, " r"]:
    """See `LocalBasis.energy`."""
    squares, v = svd.singular_values.cpu().double().square(), svd.v.flatten(1)
    probes = torch.randn(_PROBES, *jacobian.in_shape, generator=stream(seed, "energy probes")).to(svd.v)
    # Only outside of the vectors' span: inside, the squares are known without an estimate.
    outside = probes.flatten(1) - (probes.flatten(1) @ v.T) @ v
    rest = jacobian.matmat(outside.reshape(probes.shape)).cpu().double().square().flatten(1).sum(1).mean()
    return squares.cumsum(0) / (squares.sum() + rest)


def direction_at(
    latent: JointLatent, v: Float[Tensor, "#b *latent"], *, level: float, method: str, settings: Mapping[str, Any]
) -> Direction:
    """A displacement of latents at a level, one for all images or one each, as a direction that moves no text.

    ``settings["steps"]`` is the number of steps of the model's full grid by which the level is reached.
    """
    check_value(Level, level=level)
    assert len(v) in (1, len(latent))
    return Direction(
        z=v / clean_share(level),
        condition=latent.condition.words[: len(v)] * 0.0,
        level=level,
        method=method,
        settings={"level": level, **settings},
        model_name=latent.backbone.name,
        model_fingerprint=latent.backbone.fingerprint,
        source_captions=latent.captions[: len(v)],
        images=tuple(frame.image.fingerprint for frame in latent.frames),
        instructed=latent.instructed,
    )


def random_units(latent: JointLatent, count: int, *, seed: int, first: int = 0) -> Float[Tensor, "k *latent"]:
    """Gaussian directions of unit length at any level: the control of those found."""
    drawn = [draw(latent.z.shape[1:], seed=seed, purpose="random direction", index=first + k) for k in range(count)]
    return unit_rows(torch.stack(drawn)).to(latent.z)
