"""Does normalizing the clean estimate after a step keep the contrast of the edited image? The paper's ablation."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit import Backbone, Condition
from latentedit.encoding import retrace
from latentedit.geometry import effect_of, random_units
from latentedit.numerics import alpha_sigma_from_level, clean_estimate, level_batch, noise_estimate
from latentedit_bench.experiments.declare import (
    UNSUPERVISED,
    Difference,
    Dots,
    Images,
    Measure,
    Rows,
    Study,
    experiment,
)

Normalized = Literal["none", "estimate", "kappa"]
NORMALIZED: tuple[Normalized, ...] = ("none", "estimate", "kappa")

_CONTRAST = Measure(
    name="change of the edited image's contrast, |log of the ratio of standard deviations|",
    column="contrast",
    where={"kind": "local basis", "level": "highest"},
    differences=(Difference("normalized", "none", "kappa"),),
)
_ESTIMATE = (Difference("normalized", "none", "estimate"),)


@experiment(
    "geometry-normalization",
    paper=UNSUPERVISED,
    claim="normalization by kappa = .99 keeps the contrast of an edited image nearer to that of the original",
    source=Images(models=("pixels-portraits",), seed=833, images=16, levels=(0.95, 0.7), rank=2, steps=14, twins=False),
    primary=_CONTRAST,
    secondary=(
        _CONTRAST.variant(differences=_ESTIMATE),
        _CONTRAST.variant(f"{_CONTRAST.name}, level .7", level=0.7),
        _CONTRAST.variant(f"{_CONTRAST.name}, level .7", level=0.7, differences=_ESTIMATE),
        _CONTRAST.variant(f"{_CONTRAST.name}, random direction", kind="random"),
        _CONTRAST.variant(f"{_CONTRAST.name}, random direction", kind="random", differences=_ESTIMATE),
        *_CONTRAST.variant("effect on the clean latent", column="effect").each("normalized", *NORMALIZED),
    ),
    plots=(Dots(x="contrast", y="normalized", by="kind", label="|log of the ratio of standard deviations|"),),
    quick={"images": 6, "levels": (0.95,), "models": ("pixels-portraits",)},
    minutes=2,
)
@torch.no_grad()
def normalization(
    study: Study, level: float, image: int, *, reach: float = 0.4, steps: int = 4, kappa: float = 0.99
) -> Rows:
    """Four steps along the first direction of an image's basis, each followed by a normalization or by none.

    A step changes the contrast of the clean estimate P(z). The normalized estimate P' keeps the mean that the step gave
    it, and gets the standard deviation that P had before. "Kappa" moves z to it as the paper is described: the noise
    estimate is taken to follow x_t with a factor of .99, so ``z += (1 - s) / (1 - kappa sigma) (P' - P)`` (this form is
    derived here). That assumption is one of levels near pure noise, so the highest level decides. "Estimate" puts P' in
    the place of P and leaves the noise estimate, ``z = (1 - s) P' + s e_hat``. Images move by the same length, two
    fifths of the latent's norm in all, in both signs, and are compared with the decoded original after the way back. A
    random direction of that length is the control. Contrast alone does not tell whether the edit is left, so its effect
    is reported as well. Length and levels were chosen on three other images (seed 830), where "kappa" made it worse.
    After "kappa" the clean latent has moved about twice as far as without, so some of its contrast is that of a larger
    edit: along these directions the noise estimate follows x_t by less than .99, and the step overshoots.
    """
    basis = study.walkable(study.basis(image, level))
    latent, trace = basis.latent, basis.trace
    units = torch.cat([basis.v[:1], random_units(latent, 1, seed=study.seed, first=image)])
    length = reach * float(torch.linalg.vector_norm(trace.top))
    both = torch.cat([units, -units])
    rows, walk = latent.repeat(len(both)), trace.repeat(len(both))
    deviation = float(_decoded(latent.backbone, latent.z).std())
    for one in NORMALIZED:
        z = walk.top
        for _ in range(steps):
            moved = z + length / steps * both.to(z)
            z = normalized(latent.backbone, z, moved, trace.levels[-1], rows.condition, how=one, kappa=kappa)
        back = retrace(rows, walk, rows.condition, offset=z - walk.top)
        logs = (_decoded(latent.backbone, back).flatten(1).std(1) / deviation).log().abs()
        effects = effect_of(back.unflatten(0, (2, 2)), latent.z)
        for index, kind in enumerate(("local basis", "random")):
            yield {
                "kind": kind,
                "normalized": one,
                "contrast": float(logs[index::2].mean()),
                "effect": float(effects[index]),
            }


def normalized(
    backbone: Backbone,
    before: Float[Tensor, "b *latent"],
    moved: Float[Tensor, "b *latent"],
    level: float,
    condition: Condition,
    *,
    how: Normalized,
    kappa: float,
) -> Float[Tensor, "b *latent"]:
    """The moved latents, so changed that the clean estimate has the standard deviation that it had before."""
    if how == "none":
        return moved
    s = level_batch(level, moved)
    old = clean_estimate(before, s, backbone.velocity(before, s, condition))
    velocity = backbone.velocity(moved, s, condition)
    new, noise = clean_estimate(moved, s, velocity), noise_estimate(moved, s, velocity)
    wanted = with_deviation_of(new, old)
    if how == "estimate":
        return (1 - level) * wanted + level * noise
    sigma = float(alpha_sigma_from_level(s[:1])[1])
    return moved + (1 - level) / (1 - kappa * sigma) * (wanted - new)


def with_deviation_of(x: Float[Tensor, "b *latent"], like: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *latent"]:
    """Each element with its own mean and the standard deviation of its like."""
    rows, other = x.flatten(1), like.flatten(1)
    mean = rows.mean(1, keepdim=True)
    return (mean + (rows - mean) * other.std(1, keepdim=True) / rows.std(1, keepdim=True)).reshape(x.shape)


def _decoded(backbone: Backbone, z: Float[Tensor, "b *latent"]) -> Float[Tensor, "b 3 h w"]:
    return backbone.decode(z).clamp(-1, 1)
