"""Score distillation filtered by the Hessian: a direction in the image latent, found from two texts.

This is **our own derivation**. The texts of Hessian score distillation sampling (arXiv 2411.08196) that we have do not
give its formula; nothing here should be cited as theirs.

A residual r says how the clean estimate changes with the text. With ``D = dx_hat/dz = I - s J_v`` the denoiser's
Jacobian under the source text, ``A = s^2 H = I - (1 - s) D`` is the Hessian of ``-log p_s(z | source)`` in units in
which noise is 1, and r is weighted by it. The one-product family

    d_gamma = r + gamma (1 - s) D r

keeps the Hessian at gamma = -1 (``A r``, the gradient of the score residual, but that the exact one has the target
text's Hessian), is delta denoising at 0, and the first step towards Newton's ``A^-1 r`` at +1; damped Newton and
Levenberg-Marquardt go further.

Residuals: the displacement that a change of text asks for at one level, from differences of clean estimates.

With ``x_s = (1-s) x + s e`` and ``y_s = (1-s) y + s e`` (one noise for both, y the edit as it stands), clean estimates
``x_hat = z - s v`` and the text direction ``n = c1 - c0``, the residual r is one of

    dds      x_hat(y_s, c1) - x_hat(x_s, c0) - (y - x)
    sds      x_hat(y_s, c1) - y
    mixed    [x_hat(y_s, c0 + h n) - x_hat(y_s, c0 - h n)] / 2h  +  x_hat(y_s, c0) - x_hat(x_s, c0) - (y - x)

All are displacements of the clean latent, not velocities and not scores.

The mixed residual has the derivative along the text, ``g = (d x_hat / dc) n``, in the place of delta denoising's
difference ``x_hat(y_s, c1) - x_hat(y_s, c0)``, of which it is the first order. The other terms pull back by
``s^2 H (y - x)`` to first order: without them, every step would add g again. At ``y = x`` they vanish, and the first
step needs no source branch; later, the mean of the two perturbed estimates stands for ``x_hat(y_s, c0)``, with an error
of the order of h^2, as the difference itself has.

Filters: three ways to weight a residual by the curvature A of the source text, whose eigenvalues are h <= 1:

    gamma                  r + gamma (I - A) r             weight 1 + gamma (1 - h)
    newton                 (A + mu I)^-1 r                 weight 1 / (h + mu)
    levenberg-marquardt    (A^2 + mu^2 I)^-1 A r           weight h / (h^2 + mu^2)

A falls to 0 and below where the source text leaves things free: Newton magnifies those directions, gamma = -1 shrinks
them, and Levenberg-Marquardt does either on the two sides of mu. The systems are solved by truncated conjugate
gradients, with r and A averaged over the shared noises first; the gamma family is linear and takes each noise's own A.
A is taken to be symmetric, which that of a trained network is only roughly.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError, Hinted, ModelError
from latentedit.core.flow import level_batch, per_element, shift_level
from latentedit.core.linalg.conjugate_gradient import conjugate_gradient
from latentedit.core.linalg.operator import Affine, LinearOperator, Mean, Product
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Count, Guidance, Levels, Positive, Share, check_pairs, settings
from latentedit.encoding.joint import JointLatent
from latentedit.models.derivatives import ROWS, VelocityJacobian
from latentedit.models.guidance import GuidedField, unguided

Residual = Literal["dds", "sds", "mixed"]
TARGET_BRANCHES = {"dds": 1, "sds": 1, "mixed": 2}  # estimates that each residual takes at y_s


def text_step(dtype: torch.dtype) -> float:
    """The step h of the mixed residual, as a share of the way from source to target text.

    A central difference errs by ``h^2 / 6`` of the third derivative along n and by ``noise / h`` of the estimate, least
    near the cube root of the noise: 6e-6 for float64, and 0.02 otherwise, for a relative noise of 1e-5. On the bundled
    model in float32, 0.02 gives what 0.001 to 0.005 give to 0.3 %, 0.05 is off by 1 % and 0.2 by 20 %. A share of n, so
    no scale of the embedding enters; networks that run in half precision round such a step coarsely.
    """
    return 6e-6 if dtype == torch.float64 else 0.02


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Residuals:
    """The residuals at one level, noise by noise."""

    residual: Float[Tensor, "m b *latent"]  # r; exactly zero for images whose source and target text are equal
    unexplained: Float[Tensor, "m b *latent"]  # ``x - x_hat(x_s, c0)``, the source reconstruction residual ("dds" only)
    velocity: Float[Tensor, "m b *latent"]  # the source branch's, ``v(x_s, c0)``; zero where it was not computed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distillation:
    """The residuals of one search, level by level; texts are one per image each."""

    latent: JointLatent
    target: Condition
    residual: Residual = "dds"
    guidance: float = 1.0  # of every branch; the Jacobian is never guided
    unconditional: Condition | None = None  # the empty text, where the weight is not 1

    def at(
        self,
        delta: Float[Tensor, "b *latent"] | None,
        level: float,
        noise: Float[Tensor, "m #b *latent"],
        *,
        contrast: float = 1.0,
    ) -> Residuals:
        """All residuals at one level, in one batched call cut into chunks; ``delta`` is ``y - x``, None at first.

        A noise and image costs an evaluation for each target branch (two of "mixed") and the source branch where
        `needs_source`, and one more where there is a ``delta`` and a contrast other than 1 (see `HSDS`); twice that
        under guidance.
        """
        x, source, count = self.latent.z, self.latent.condition, len(noise)
        x_s = self._noised(level, noise)
        y_s = x_s if delta is None else x_s + (1 - level) * delta.repeat(count, *[1] * (x.ndim - 1))
        points = [(y_s, text) for text in self._texts()]
        if needs_source(self.residual, first=delta is None):
            points.append((x_s, source))
        if contrast != 1 and delta is not None:  # before that, y_s is x_s
            points.append((y_s, source))
        v = self._velocities(points, level, count)
        branches = TARGET_BRANCHES[self.residual]
        source_v = v[branches] if len(v) > branches else torch.zeros_like(v[0])
        ahead = [v[-1] + contrast * (one - v[-1]) for one in v[:branches]] if contrast != 1 else v[:branches]
        residual = -level * self._change(ahead, source_v, delta, noise)
        # Rows of one batch may round differently, so what equal texts give is set to zero, not computed.
        changes = per_element(texts_differ(self.latent.condition, self.target), x)
        return Residuals(
            residual=torch.where(changes, residual, torch.zeros_like(residual)),
            unexplained=level * (source_v - noise + x),
            velocity=source_v,
        )

    def jacobian(self, level: float, noise: Float[Tensor, "m b *latent"]) -> VelocityJacobian:
        """Of the unguided velocity under the source text at x_s; rows noise by noise."""
        backbone, x_s = self.latent.backbone, self._noised(level, noise)
        plain = unguided(backbone, self.latent.condition).repeat(len(noise))
        return VelocityJacobian(backbone, x_s, level_batch(level, x_s), plain)

    def _noised(self, level: float, noise: Float[Tensor, "m #b *latent"]) -> Float[Tensor, "mb *latent"]:
        return ((1 - level) * self.latent.z + level * noise).flatten(0, 1)

    def _texts(self) -> list[Condition]:
        if self.residual != "mixed":
            return [self.target]
        source = self.latent.condition
        step = (self.target - source) * text_step(source.tokens.dtype)
        return [source + step, source - step]

    def _change(
        self, ahead: list[Tensor], source_v: Tensor, delta: Tensor | None, noise: Tensor
    ) -> Float[Tensor, "m b *latent"]:
        """``-r / s`` from the velocities of the target branches and of the source branch."""
        away = torch.zeros_like(self.latent.z) if delta is None else delta
        if self.residual == "sds":
            return ahead[0] - (noise - self.latent.z - away)
        if self.residual == "dds":
            return ahead[0] - source_v + away
        slope = (ahead[0] - ahead[1]) / (2 * text_step(self.latent.condition.tokens.dtype))
        return slope if delta is None else slope + (ahead[0] + ahead[1]) / 2 - source_v + away

    def _velocities(
        self, points: list[tuple[Tensor, Condition]], level: float, count: int
    ) -> list[Float[Tensor, "m b *latent"]]:
        """The guided velocity at each point, unflattened to noises and images."""
        z = torch.cat([latents for latents, _ in points])
        text = Condition.cat([text.repeat(count) for _, text in points])
        empty = self.unconditional
        if empty is not None:
            empty = empty.expand(len(self.latent)).repeat(len(points) * count)
        parts: list[Tensor] = []
        for start in range(0, len(z), ROWS):
            rows = slice(start, start + ROWS)
            field = GuidedField(
                backbone=self.latent.backbone,
                condition=text[rows],
                guidance=self.guidance,
                unconditional=None if empty is None else empty[rows],
            )
            parts.append(field(z[rows], level_batch(level, z[rows])))
        v = torch.cat(parts)
        check_finite(v, "velocity", self.latent.backbone.name, level)
        return list(v.unflatten(0, (len(points), count, -1)).unbind(0))


def needs_source(residual: Residual, *, first: bool) -> bool:
    """Whether a step needs the source branch: not for "sds" and the first "mixed" step."""
    return residual == "dds" or (residual == "mixed" and not first)


def check_finite(values: Tensor, what: str, model: str, level: float) -> None:
    """Raise a `ModelError` if a damaged or overflowing network returned values that are not finite."""
    if not bool(torch.isfinite(values).all()):
        raise ModelError(
            f"the {what} from the network {model} has values that are not finite, at level "
            f"s = {level:.4g}. Check its weights, or use a wider dtype: half precision may overflow"
        )


def texts_differ(source: Condition, target: Condition) -> Bool[Tensor, " b"]:
    """Whether the two texts of each image are different to the last bit."""
    tokens = (target.tokens != source.tokens).flatten(1).any(dim=1)
    return tokens | (target.pooled != source.pooled).any(dim=1)


Filter = Literal["gamma", "newton", "levenberg-marquardt"]


# A step's displacement, and images that kept r: their first direction has ``p^T (A + mu I) p <= 0``.
Solved = tuple[Float[Tensor, "b *latent"], Bool[Tensor, " b"]]


def apply_filter(
    kind: Filter,
    residual: Float[Tensor, "m b *latent"],
    hessian: LinearOperator | None,
    *,
    gamma: float,
    damping: float,
    iterations: int,
) -> Solved:
    """One filter by name, of residuals and A with rows ordered noise by noise; it takes `HSDS.products`.

    A may be None where there are none.
    """
    mean = residual.mean(0)
    none = torch.zeros(len(mean), dtype=torch.bool, device=mean.device)
    if hessian is None or (kind == "gamma" and gamma == 0):
        return mean, none
    if kind == "gamma":
        curved = hessian.matvec(residual.flatten(0, 1)).unflatten(0, residual.shape[:2])
        return gamma_family(residual, curved, gamma), none
    average = Mean(hessian, len(residual))
    method = newton if kind == "newton" else levenberg_marquardt
    return method(mean, average, damping=damping, iterations=iterations)


def gamma_family(
    residual: Float[Tensor, "m b *latent"], curved: Float[Tensor, "m b *latent"], gamma: float
) -> Float[Tensor, "b *latent"]:
    """``mean(r + gamma (r - A r))`` with each noise's own r and A: gamma -1 is A r, 1 the first step to Newton's."""
    return (residual + gamma * (residual - curved)).mean(0)


def newton(residual: Float[Tensor, "b *latent"], hessian: LinearOperator, *, damping: float, iterations: int) -> Solved:
    """``(A + mu I)^-1 r``, with weights of at most 1 / mu where A is not negative."""
    return _solved(Affine(hessian, 1.0, damping), residual, residual, iterations)


def levenberg_marquardt(
    residual: Float[Tensor, "b *latent"], hessian: LinearOperator, *, damping: float, iterations: int
) -> Solved:
    """``(A^2 + mu^2 I)^-1 A r``: Newton where ``h >> mu``, the Hessian ``A r / mu^2`` where ``h << mu``.

    The system is positive definite also where A is not, and its weight ``h / (h^2 + mu^2)`` is at most ``1 / (2 mu)``;
    along directions of negative curvature it points the other way, as A r does.
    """
    system = Affine(Product(hessian, hessian), 1.0, damping**2)
    return _solved(system, hessian.matvec(residual), residual, iterations)


def _solved(operator: LinearOperator, rhs: Tensor, residual: Tensor, iterations: int) -> Solved:
    """By conjugate gradients, to the rounding of the dtype or that many steps; r for images that stopped at once."""
    wide = torch.promote_types(rhs.dtype, torch.float32)
    solution = conjugate_gradient(operator, rhs, iterations=iterations, tolerance=torch.finfo(wide).eps)
    at_once = solution.negative_curvature & (solution.iterations == 0)
    return torch.where(per_element(at_once, residual), residual, solution.value), at_once


@settings
class HSDS(Hinted):
    """Settings of the search; our derivation, see the module.

    One step takes one residual; several at equal levels iterate; falling levels anneal. With the flow's own step size
    and nothing else, annealing is FlowEdit's path, written as delta denoising.

    Args:
        residual: "dds" follows the difference of the two texts, "sds" the target alone (it moves whatever the caption
            leaves open), "mixed" the derivative along the text at the source.
        filter: what is done with it: "gamma", "newton" or "levenberg-marquardt".
        gamma: weight of the Hessian term, in [-1, 1]; 0 needs no derivative, and is what the other filters want.
        gamma_levels: first and last level, falling, between which gamma counts; outside them it is 0.
        one_sided: ``(1 - s) D r`` is taken as ``x_hat(x_s + (1 - s) r) - x_hat(x_s)``: 1 evaluation in the place of 2,
            and D a mean over the way. For gamma, the residual "dds" and guidance 1 only.
        damping: mu, of Newton and Levenberg-Marquardt, in [0, 1000]; curvature is at most 1.
        iterations: of conjugate gradients, for the same two.
        levels: first and last level, falling or equal; a single step uses the first.
        shift: spacing of the levels, above 0: 1 is even, more spends more steps near the first level (SD3's shift).
        steps: number of residuals; from the second on they follow the edit as it grows.
        step_size: how far each of several steps goes; a single step goes all the way. None is the flow's own step from
            one level to the next, ``(s - s') / (s (1 - s'))``; it takes no residual at the last level itself.
        noises: noises averaged in each step, shared by all branches and images.
        antithetic: the noises come in pairs e and -e, whose errors of odd order cancel.
        keep_source: floor f of a soft mask: displacements are multiplied by ``p / (p + f max p)``, p their local energy
            (`hsds.change_share`), so that the source image is kept where they are weak; 0 is off.
        drop_residual: floor of the same mask; its square scales how much of the source reconstruction residual
            ``x - x_hat(x_s, c0)`` is dropped where the displacement is strong, of the part along the
            displacement (`identification.along`); 0 is off.
        gain: factor of the final displacement, to make up for what the masks take from it.
        contrast: weight w of the target branch in the first and the last step, ``v(y_s, c0) + w [v(y_s, c1) - v(y_s,
            c0)]``: above 1, what still shows the source text is removed more strongly. Any but 1 takes an evaluation
            more for each noise, in the last step, and works with the residual "dds" only. Between them it gains little.
        guidance: classifier-free guidance weight of every branch; 1 is the conditional velocity. The Jacobian is
            always that of the unguided velocity: a guided field is not the score of any density.

    Raises:
        ConfigError: a setting outside its range, or a gamma that the filter would not use.
    """

    residual: Residual = "dds"
    filter: Filter = "gamma"
    gamma: Annotated[float, Field(ge=-1, le=1)] = 0.0
    gamma_levels: Levels = (1.0, 0.0)
    one_sided: bool = False
    damping: Annotated[float, Field(ge=0, le=1000)] = 0.3
    iterations: Count = 3
    levels: Levels = (0.95, 0.3)
    shift: Positive = 1.0
    steps: Count = 16
    step_size: Annotated[float, Field(gt=0, le=10)] | None = 0.4
    noises: Count = 1
    antithetic: bool = False
    keep_source: Share = 0.0
    drop_residual: Share = 0.0
    gain: Positive = 1.0
    contrast: Positive = 1.0
    guidance: Guidance = 1.0

    @staticmethod
    def updated(values: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that a version before 28 November 2026 may have stored, by their names of today."""
        names = {"keep": "keep_source", "release": "drop_residual"}
        return {
            names.get(name, name): value for name, value in values.items() if (name, value) != ("projection", "none")
        }

    def __post_init__(self) -> None:
        check_pairs(self.noises, antithetic=self.antithetic)
        own_steps = self.step_size is None
        conflicts = {
            f"the filter {self.filter!r} does not use gamma; got {self.gamma}. Leave gamma at 0": (
                self.filter != "gamma" and self.gamma != 0
            ),
            # A step of given size ends with a residual at the last level; at level 0 that is 0, and the flow's own
            # steps divide by it.
            "the last of the levels must be above 0 with a step_size, which looks there; got 0": (
                not own_steps and self.levels[1] == 0
            ),
            f"the flow's own steps need falling levels; got {list(self.levels)}. Give a step_size": (
                own_steps and self.steps > 1 and self.levels[0] == self.levels[1]
            ),
            f"contrast works with the residual 'dds' only; got {self.residual!r}": (
                self.contrast != 1 and self.residual != "dds"
            ),
            # Only "dds" evaluates the source branch, whose reconstruction residual is dropped.
            f"drop_residual works with the residual 'dds' only; got {self.residual!r}": (
                self.drop_residual > 0 and self.residual != "dds"
            ),
            "one_sided needs the filter 'gamma', the residual 'dds' and guidance 1; "
            f"got {self.filter!r}, {self.residual!r} and {self.guidance:g}": (
                self.one_sided and (self.filter, self.residual, self.guidance) != ("gamma", "dds", 1)
            ),
        }
        for conflict, found in conflicts.items():
            if found:
                raise ConfigError(conflict)

    def path(self) -> list[tuple[float, float]]:
        """The level and the step size of each step."""
        flow = self.step_size is None
        first, last = self.levels
        even = torch.linspace(1, 0, self.steps + flow, dtype=torch.float64).tolist()
        nodes = [last + (first - last) * shift_level(share, self.shift) for share in even]
        # One step is the whole residual, whatever the step size of several.
        if self.steps == 1:
            return [(first, 1.0)]
        if self.step_size is not None:
            return [(s, self.step_size) for s in nodes]
        return [(s, (s - after) / (s * (1 - after))) for s, after in itertools.pairwise(nodes)]

    def gamma_at(self, level: float) -> float:
        """Weight of the Hessian term at a level."""
        first, last = self.gamma_levels
        return self.gamma if last <= level <= first else 0.0

    def contrast_at(self, index: int) -> float:
        """The contrast of a step."""
        return self.contrast if index in (0, self.steps - 1) else 1.0

    def products(self, gamma: float) -> int:
        """Products with A that a step with this gamma takes, a noise and image; see `apply_filter`."""
        if self.filter == "gamma":
            return int(gamma != 0)
        return 1 + 2 * self.iterations if self.filter == "levenberg-marquardt" else self.iterations

    def draw(self, z: Float[Tensor, "b *latent"], *, seed: Seed, index: int) -> Float[Tensor, "m b *latent"]:
        """The noises of a step."""
        pairs = self.antithetic
        return noise_like(z, seed=seed, purpose="hsds", index=index, count=self.noises, antithetic=pairs)

    def evaluations(self, *, guided: int = 2) -> int:
        """Network evaluations per image: ``noises * (branches * (2 if guided) + 2 * products)``; 1 where one-sided.

        A step has 1 ("dds", "sds") or 2 ("mixed") target branches, a source branch but for "sds" and the first
        "mixed" step; with contrast, the last of several has one more. Its products are 1 at gamma other than 0 at its
        level, and of K iterations K for "newton" and 1 + 2 K for "levenberg-marquardt". ``guided`` is 1 on models that
        take the guidance weight as an input, see `Capabilities.branches`.
        """
        sources = sum(needs_source(self.residual, first=step == 0) for step in range(self.steps))
        contrasts = int(self.contrast != 1 and self.steps > 1)
        branches = self.steps * TARGET_BRANCHES[self.residual] + sources + contrasts
        taken = sum(self.products(self.gamma_at(level)) for level, _ in self.path())
        price = 1 if self.one_sided else 2
        return self.noises * (branches * (1 if self.guidance == 1 else guided) + price * taken)


def check_search(method: object) -> None:
    """Refuse what is not settings of the search, such as the name of an editor."""
    if not isinstance(method, HSDS | None):
        raise ConfigError(f"`method` is settings of the search; got {method!r:.60}. Give latentedit.HSDS(...) or none")
