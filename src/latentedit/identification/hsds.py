"""Hessian score distillation sampling: the search of a direction in the image latent from two texts, and its settings.

This is **our own derivation**. The texts of Hessian score distillation sampling (arXiv 2411.08196) that we have do not
give its formula; nothing here should be cited as theirs.

A residual r (`residuals`) says how the clean estimate changes with the text; a filter (`filters`) weights it by the
curvature A of the source text. The one-product family, with D the denoiser's Jacobian,

    d_gamma = r + gamma (1 - s) D r

keeps the Hessian at gamma = -1 (``A r``, the gradient of the score residual, but that the exact one has the target
text's Hessian), is delta denoising at 0, and the first step towards Newton's ``A^-1 r`` at +1; damped Newton and
Levenberg-Marquardt go further.

The share of each position in the displacement so far (`locality.change_share`) is used in two ways, both derived here:

- *keep_source*: the displacement that a step aims at is multiplied by the share, so that what the texts hardly change
  goes back to what it is in the image.
- *drop_residual*: a change of text asks for ``x_hat(y_s, c1) + q`` with ``q = x - x_hat(x_s, c0)``, the new estimate
  and what the old one left unexplained of the image. The part of q along the displacement belongs to what is replaced
  (the outline of a mouth, for instance), so the squared share of it is subtracted. No text describes the part across
  it.
"""

import itertools
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, Hinted
from latentedit.core.setting import Count, Guidance, Levels, Positive, Share, check_pairs, settings, to_plain
from latentedit.encoding.joint import JointLatent
from latentedit.identification.direction import Direction
from latentedit.identification.filters import Filter, Solved, apply_filter, gamma_family
from latentedit.identification.locality import along, change_share
from latentedit.identification.residuals import (
    TARGET_BRANCHES,
    Distillation,
    Residual,
    Residuals,
    check_finite,
    needs_source,
)
from latentedit.models.derivatives import VelocityJacobian, curvature
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import shift_level
from latentedit.numerics.progress import note_estimate
from latentedit.numerics.rng import Seed, noise_like


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
            (`locality.change_share`), so that the source image is kept where they are weak; 0 is off.
        drop_residual: floor of the same mask; its square scales how much of the source reconstruction residual
            ``x - x_hat(x_s, c0)`` is dropped where the displacement is strong, of the part along the
            displacement (`locality.along`); 0 is off.
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


def find_direction(
    latent: JointLatent,
    target: Condition,
    config: HSDS,
    *,
    seed: Seed,
    progress: Progress | None = None,
) -> Direction:
    """The displacement of the clean latent that the change of text asks for.

    From ``y = x``, at each level: the residual r of `hsds` with one noise for both branches, d by one of
    its filters (averaged over the noises), ``y <- y + step * d``; a single step takes d whole. From the second step on,
    the masks ``keep_source`` and ``drop_residual`` apply. The direction is ``y - x``, exactly zero for images whose
    target text is their source text. Levels outside the model's range are cut to its highest or lowest.

    Args:
        latent: encoded images with their full captions.
        target: the target text, one or one an image; full captions too, for what a caption leaves out may change.
        seed: of the noises: one, which all images share, or one an image.

    Raises:
        ShapeError: neither one target nor one an image.
        ModelError: the network or its derivative returned values that are not finite.

    Cost:
        ``config.evaluations()`` an image.

    Source:
        Delta denoising score (Hertz et al. 2023) on rectified flow for "dds" at gamma 0, score distillation (Poole et
        al. 2023) for "sds" at gamma 0; the rest is our derivation.
    """
    target = target.expand(len(latent))
    distillation = Distillation(
        latent=latent,
        target=target,
        residual=config.residual,
        guidance=config.guidance,
        unconditional=None if config.guidance == 1 else latent.backbone.null(target),
    )
    moved = torch.zeros_like(latent.z)
    fell_back = torch.zeros(len(latent), dtype=torch.bool, device=latent.z.device)
    notes: dict[str, None] = {}
    known = latent.backbone.capabilities
    for index, (planned, step) in enumerate(config.path()):
        level = known.level(planned)
        # Gamma is that of the planned level: a model whose levels are cut has the Hessian in the same steps.
        noise, gamma = config.draw(latent.z, seed=seed, index=index), config.gamma_at(planned)
        residuals = distillation.at(moved if index else None, level, noise, contrast=config.contrast_at(index))
        jacobian = distillation.jacobian(level, noise) if config.products(gamma) else None
        residual = residuals.residual
        # Only the part along the displacement is dropped. The part across it is what no caption names, such as
        # identity; dropping that, too, was the largest source of unrequested changes (docs/concepts/hsds.md).
        if config.drop_residual:  # less the source reconstruction residual where the displacement is strong
            residual = residual - change_share(moved, config.drop_residual).square() * along(
                residuals.unexplained, moved
            )
        d, unfiltered = _filtered(residual, residuals, jacobian, config, level, gamma)
        fell_back |= unfiltered
        check_finite(d, "displacement", latent.backbone.name, level)
        # Not in the first step: nothing has moved yet, so the mask would be 0 everywhere and hold all of the image.
        if index and config.keep_source:  # positions that hardly change go back to the image
            d = change_share(moved, config.keep_source) * (moved + d) - moved
        moved = moved + step * d
        note_estimate(progress, latent.z, moved)
        if jacobian is not None and jacobian.note:
            notes[jacobian.note] = None
        if progress is not None:
            progress("identify", index + 1, config.steps)
    if bool(fell_back.any()):
        where = f"{int(fell_back.sum())} of {len(latent)} images"
        notes[f"negative curvature left the residual unfiltered in some steps of {where}"] = None
    return Direction(
        z=config.gain * moved,
        condition=(target - latent.condition).words,
        level=known.level(config.levels[0]),
        method="hsds",
        settings=to_plain(config) | {"seed": seed if isinstance(seed, int) else list(seed)},
        model_name=latent.backbone.name,
        model_fingerprint=latent.backbone.fingerprint,
        source_captions=latent.captions,
        images=latent.images,
        instructed=latent.instructed,
        notes=tuple(notes),
    )


def _filtered(
    residual: Float[Tensor, "m b *latent"],
    residuals: Residuals,
    jacobian: VelocityJacobian | None,
    config: HSDS,
    level: float,
    gamma: float,
) -> Solved:
    """The residual weighted by the Hessian, by the settings for this level."""
    if jacobian is not None and config.one_sided and gamma != 0:
        # ``A r = r - [x_hat(x_s + (1 - s) r) - x_hat(x_s)] = s (r + v(x_s + (1 - s) r) - v(x_s))``
        rows = (1 - level) * residual.flatten(0, 1)
        ahead = jacobian.difference(rows, residuals.velocity.flatten(0, 1)).unflatten(0, residual.shape[:2])
        value = gamma_family(residual, level * (residual + ahead), gamma)
        return value, torch.zeros(len(value), dtype=torch.bool, device=value.device)
    hessian = None if jacobian is None else curvature(jacobian, level)
    damping, iterations = config.damping, config.iterations
    return apply_filter(config.filter, residual, hessian, gamma=gamma, damping=damping, iterations=iterations)
