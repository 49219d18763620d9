"""Principal components of a feature over sampled latents: the baseline of local bases.

N latents are sampled down to a level, their features at a site are read, centred, and decomposed,

    F = [f_1 - mean, ..., f_N - mean] = U S W^T        component k: W_k, variance S_k^2 / (N - 1)

through the N x N matrix ``F F^T`` where there are more numbers in a feature than samples. A component moves pictures in
two ways: as it is, as a shift of the feature (`Asyrp`), or as the direction of latents ``J^T W_k`` in which the feature
at the picture grows along it fastest.
"""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.levels import LevelGrid
from latentedit.core.progress import Progress
from latentedit.core.rng import stream
from latentedit.core.settings import Count, Level, check
from latentedit.core.solvers.base import level_batch
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import integrate
from latentedit.directions.at_level import direction_at
from latentedit.directions.base import Direction
from latentedit.directions.distillation import check_finite
from latentedit.latents.inversion import InversionTrace
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.feature_jacobian import FeatureJacobian, FeatureMap
from latentedit.models.guidance import GuidedField

ROWS = 64
"""Most latents that are sampled in one batch."""

_SAMPLES = "feature pca samples"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeaturePCA:
    """Principal components of a feature.

    Args:
        site: where the feature is, one of `Backbone.sites`.
        level: of the latents.
        prompt: text under which they were sampled and read.
        steps: of the model's whole grid.
        seed: of the samples.
        samples: N.
        mean: of the features.
        components: orthonormal, by falling variance; of each, the entry of largest absolute value is positive.
        variances: of the features along each.
        total_variance: of the features, all components counted.
        evaluations: of the network.
    """

    site: str
    level: float
    prompt: str
    steps: int
    seed: int
    samples: int
    mean: Float[Tensor, "*feature"]
    components: Float[Tensor, "r *feature"]
    variances: Float[Tensor, " r"]
    total_variance: float
    evaluations: int

    def __len__(self) -> int:
        return len(self.components)

    @property
    def explained(self) -> Float[Tensor, " r"]:
        """Share of the total variance along each component, in [0, 1]."""
        return self.variances / max(self.total_variance, torch.finfo(torch.float64).tiny)

    def direction(self, latent: JointLatent, trace: InversionTrace, index: int, *, step: float = 1.0) -> Direction:
        """``step * normalise(J^T W)`` at a picture: how its latent moves for its feature to grow along a component.

        Args:
            latent: one picture.
            trace: its way up to the level of the components.
            index: of the component.
            step: length of the displacement of the latent at the level.

        Raises:
            ConfigError: an index outside the components, a trace to another level, or a component along which the
                feature of this picture does not move.
            ShapeError: several pictures.
            UnsupportedDerivativeError: a model without reverse-mode derivatives.

        Cost:
            Three evaluations.

        Source:
            The reverse-mode product stands for the "inverse Jacobian" of Park et al. 2023 (arXiv 2307.12868), whose
            code takes the same step with the other sign.
        """
        if not 0 <= index < len(self):
            raise ConfigError(f"expected the index of one of {len(self)} components; got {index}")
        if len(latent) != 1:
            raise ShapeError(f"expected one picture; got {len(latent)}")
        if abs(trace.levels[-1] - self.level) > 1e-6:
            raise ConfigError(f"expected a trace up to level {self.level:g}; got one up to {trace.levels[-1]:g}")
        feature = FeatureMap(
            backbone=latent.backbone, site=self.site, level=self.level, condition=latent.backbone.embed([self.prompt])
        )
        v = FeatureJacobian(feature, trace.top).rmatmat(self.components[index : index + 1])
        length = float(torch.linalg.vector_norm(v))
        if length == 0:
            raise ConfigError(f"expected a component that the latent moves; number {index} is none. Choose another")
        told = {name: getattr(self, name) for name in ("steps", "site", "prompt", "samples", "seed")}
        return direction_at(
            latent,
            step * v / length,
            level=self.level,
            method="feature pca",
            settings={**told, "index": index, "variance": float(self.variances[index]), "step": step},
        )


def feature_pca(
    backbone: Backbone,
    *,
    site: str | None = None,
    components: int = 10,
    samples: int = 64,
    level: float = 0.7,
    prompt: str = "",
    steps: int = 28,
    size_px: tuple[int, int] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> FeaturePCA:
    """Sample latents down to a level and take the principal components of a feature of theirs.

    Args:
        backbone: the model.
        site: where the feature is; None is `Backbone.default_site`.
        components: how many are kept.
        samples: latents that are sampled, at least 2.
        level: at which they are read, in (0, 1]; cut to the model's highest level.
        prompt: text under which they are sampled and read; "" is none.
        steps: of the model's whole grid; the samples walk the part above the level.
        size_px: height and width of the pictures; the model's preferred size by default.
        seed: of the samples.
        progress: told after each step.

    Raises:
        ConfigError: settings outside their range, an unknown site, or more components than there can be.
        ModelError: the network gave values that are not finite.

    Cost:
        For each sample one evaluation a step above the level, and one.

    Source:
        Härkönen et al. 2020 (GANSpace) on diffusion features, as in Haas et al. 2024 (arXiv 2303.11073).
    """
    _check(components, samples, level)
    text = backbone.embed([prompt])
    height, width = (backbone.capabilities.sizes[1],) * 2 if size_px is None else size_px
    grid = backbone.grid(steps, height_px=height, width_px=width)
    level = min(level, grid.levels[0])
    z = backbone.draw_start((samples, *backbone.latent_shape(height, width)), generator=stream(seed, _SAMPLES))
    site = backbone.default_site if site is None else site
    with backbone.count() as cost:
        features = torch.cat([_read(backbone, part, grid, level, text, site, progress) for part in z.split(ROWS)])
    flat = features.flatten(1).to("cpu", torch.float64)
    variances, vectors = _principal(flat, components)
    return FeaturePCA(
        site=site,
        level=level,
        prompt=prompt,
        steps=steps,
        seed=seed,
        samples=samples,
        mean=flat.mean(0).reshape(features.shape[1:]).to(features),
        components=vectors.reshape(components, *features.shape[1:]).to(features),
        variances=variances[:components],
        total_variance=float(variances.sum()),
        evaluations=cost.evaluations,
    )


def _check(components: int, samples: int, level: float) -> None:
    check(Count, components=components)
    check(Count, samples=samples)
    check(Level, level=level)


def _read(
    backbone: Backbone,
    z: Tensor,
    grid: LevelGrid,
    level: float,
    text: Condition,
    site: str,
    progress: Progress | None,
) -> Tensor:
    levels = (*(node for node in grid.levels if node > level + 1e-9), level)
    field = GuidedField(backbone=backbone, condition=text)
    top = integrate(field, z, levels, EulerSolver(), progress=progress).final
    features = backbone.features(top, level_batch(level, top), text, site)
    check_finite(features, "feature", backbone.name, level)
    return features


def _principal(features: Float[Tensor, "n d"], components: int) -> tuple[Float[Tensor, " all"], Float[Tensor, "r d"]]:
    """All variances, falling, and the first components; the smaller of the two Gram matrices is decomposed."""
    samples, numbers = features.shape
    if components > (most := min(samples - 1, numbers)):
        raise ConfigError(
            f"expected at most {most} components of {samples} samples of {numbers} numbers; got {components}"
        )
    centred = features - features.mean(0)
    if samples < numbers:
        values, left = torch.linalg.eigh(centred @ centred.mT)
        vectors = left.mT @ centred
        vectors = vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_min(1e-300)
    else:
        values, right = torch.linalg.eigh(centred.mT @ centred)
        vectors = right.mT
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return values.flip(0).clamp_min(0) / (samples - 1), (vectors * largest.sign()).flip(0)[:components]
