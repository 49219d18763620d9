"""The search of Hessian score distillation, with the settings `HSDS`: from two texts to a displacement."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.linalg.operator import Affine, LinearOperator, Mean
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import to_plain
from latentedit.directions.direction import Direction
from latentedit.directions.distillation import Distillation, Residuals, check_finite
from latentedit.directions.filters import Filtered, apply_filter, gamma_family, solve
from latentedit.directions.hsds import HSDS
from latentedit.directions.preserve import along, change_share, project
from latentedit.latents.joint import JointLatent
from latentedit.models.derivatives import curvature


def identify(
    latent: JointLatent,
    target: Condition,
    config: HSDS,
    *,
    seed: Seed,
    preserve: Sequence[Condition] = (),
    progress: Progress | None = None,
) -> Direction:
    """The displacement of the clean latent that the change of text asks for.

    From ``y = x``, at each level: the residual r of `distillation` with one noise for both branches, d by one of
    `filters` (averaged over the noises), ``y <- y + step * d``; a single step takes d whole. From the second step on,
    the masks ``keep`` and ``release`` apply (`preserve`). The direction is ``y - x``, exactly zero for pictures whose
    target text is their source text. Levels outside the model's range are cut to its highest or lowest.

    Args:
        latent: encoded pictures with their full captions.
        target: the target text, one or one a picture; full captions too, for what a caption leaves out may change.
        seed: of the noises: one, which all pictures share, or one a picture.
        preserve: full captions that each differ from the source caption in one attribute to keep, one text or one a
            picture each; every step is projected to ``d^T r_j = 0``, r_j being the change that caption j asks for.

    Raises:
        ConfigError: captions to preserve without a projection, or a projection without them.
        ShapeError: neither one target nor one a picture.
        ModelError: the network or its derivative returned values that are not finite.

    Cost:
        ``config.evaluations(len(preserve))`` a picture.

    Source:
        Delta denoising score (Hertz et al. 2023) on rectified flow for "dds" at gamma 0, score distillation (Poole et
        al. 2023) for "sds" at gamma 0; the rest is our derivation.
    """
    if config.projection == "none" and preserve:
        raise ConfigError(f"projection 'none' preserves no captions; got {len(preserve)}. Use 'null-space' or 'kkt'")
    if config.projection != "none" and not preserve:
        raise ConfigError(
            f"projection {config.projection!r} needs captions to preserve; got none. Use projection 'none'"
        )
    target = target.expand(len(latent))
    distillation = Distillation(
        latent=latent,
        target=target,
        preserve=tuple(text.expand(len(latent)) for text in preserve),
        residual=config.residual,
        guidance=config.guidance,
        unconditional=None if config.guidance == 1 else latent.backbone.null(target),
    )
    moved = torch.zeros_like(latent.z)
    fell_back = torch.zeros(len(latent), dtype=torch.bool, device=latent.z.device)
    notes: dict[str, None] = {}
    known = latent.backbone.capabilities
    for index, (planned, step) in enumerate(config.path()):
        level = min(max(planned, known.s_min), known.s_max)
        residuals = distillation.at(moved if index else None, level, config.draw(latent.z, seed=seed, index=index))
        hessian = curvature(residuals.jacobian, level)
        residual = residuals.residual
        if config.release:  # less the source reconstruction residual where the displacement is strong
            residual = residual - change_share(moved, config.release).square() * along(residuals.unexplained, moved)
        filtered = _filtered(residual, residuals, hessian, config, level, config.gamma_at(planned))
        fell_back |= filtered.fell_back
        d = _projected(filtered.value, residuals, hessian, config)
        check_finite(d, "displacement", latent.backbone.name, level)
        if index and config.keep:  # what hardly changes goes back to the picture
            d = change_share(moved, config.keep) * (moved + d) - moved
        moved = moved + step * d
        notes |= dict.fromkeys(filter(None, [residuals.jacobian.note]))
        if progress is not None:
            progress("identify", index + 1, config.steps)
    if bool(fell_back.any()):
        where = f"{int(fell_back.sum())} of {len(latent)} pictures"
        notes[f"negative curvature left the residual unfiltered in some steps of {where}"] = None
    return Direction(
        z=config.gain * moved,
        condition=(target - latent.condition).words,
        level=min(config.levels[0], known.s_max),
        method="hsds",
        settings=to_plain(config) | {"seed": seed if isinstance(seed, int) else list(seed)},
        model_name=latent.backbone.name,
        model_fingerprint=latent.backbone.fingerprint,
        source_captions=latent.captions,
        pictures=latent.pictures,
        instructed=latent.instructed,
        notes=tuple(notes),
    )


def _filtered(
    residual: Float[Tensor, "m b *latent"],
    residuals: Residuals,
    hessian: LinearOperator,
    config: HSDS,
    level: float,
    gamma: float,
) -> Filtered:
    """The residual weighted by the Hessian, by the settings for this level."""
    if config.one_sided and gamma != 0:
        return gamma_family(residual, _one_sided(residual, residuals, level), gamma)
    damping, iterations = config.damping, config.iterations
    return apply_filter(config.filter, residual, hessian, gamma=gamma, damping=damping, iterations=iterations)


def _one_sided(
    residual: Float[Tensor, "m b *latent"], residuals: Residuals, level: float
) -> Float[Tensor, "m b *latent"]:
    """``A r = r - [x_hat(x_s + (1 - s) r) - x_hat(x_s)] = s (r + v(x_s + (1 - s) r) - v(x_s))``."""
    rows = (1 - level) * residual.flatten(0, 1)
    ahead = residuals.jacobian.difference(rows, residuals.velocity.flatten(0, 1))
    return level * (residual + ahead.unflatten(0, residual.shape[:2]))


def _projected(
    filtered: Tensor, residuals: Residuals, hessian: LinearOperator, config: HSDS
) -> Float[Tensor, "b *latent"]:
    """The displacement of one step without what changes the attributes to keep."""
    if config.projection == "none":
        return filtered
    kept = torch.stack([change.mean(0) for change in residuals.preserved])
    if config.projection == "null-space":
        return project(filtered, kept, kept)
    metric = Affine(Mean(hessian, len(residuals.residual)), 1.0, config.damping)
    raised = [solve(metric, column, iterations=config.iterations).value for column in kept]
    return project(filtered, kept, torch.stack(raised))
