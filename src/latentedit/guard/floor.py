"""The model's floor: how well a model redraws images that it generated itself, from each noise level.

With x the latent of an image, c its caption, D the decoder and R the denoising under c from level s down to 0::

    z_i = (1 - s) x + s e_i,  e_2 = -e_1;    x' = mean_i R(z_i, s);    error(s) = |D(x') - image|^2

Every editor that restarts from level s, and every refinement (`editors.refinement`), has this error at least.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.flow import uniform_grid
from latentedit.core.progress import Progress
from latentedit.core.rng import draw, stream
from latentedit.core.solvers import EulerSolver, sample
from latentedit.guard.calibration import check_calibrable, default_captions
from latentedit.latents.drawing import draw_images, in_8_bits
from latentedit.models.base import Backbone

LEVELS = (0.1, 0.2, 0.3, 0.5, 0.65, 0.8, 0.95)
_BATCH = 8
_DRAWS = 2000  # of the bootstrap


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FloorLevel:
    """The floor at one noise level, 0 for the codec alone: "mean" over images, "low" and "high" of its 95 % interval.

    ``error`` is the squared error over the variance of the image, 1 for its mean color; ``psnr_db`` is at most 100 dB.
    """

    level: float
    error: Mapping[str, float]
    psnr_db: Mapping[str, float]

    @property
    def text(self) -> str:
        """Error and PSNR with their intervals."""
        error = "error {mean:.3f} [{low:.3f}, {high:.3f}]".format_map(self.error)
        return error + ", PSNR {mean:.1f} [{low:.1f}, {high:.1f}] dB".format_map(self.psnr_db)


@torch.no_grad()
def model_floor(
    model: Backbone,
    *,
    captions: Sequence[str] = (),
    levels: Sequence[float] = LEVELS,
    images: int = 32,
    steps: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[FloorLevel]:
    """Measure the floor at rising levels, that of the codec first, on images that the model draws from captions.

    Levels above the model's highest become it; ``steps`` are evenly spaced, without guidance. A model without images or
    fingerprint is a `ConfigError`. It costs drawing the images, and ``2 * steps * len(levels)`` evaluations for each.
    """
    check_calibrable(model)
    texts, errors, relative = list(captions) or default_captions(model, images), list[Tensor](), list[Tensor]()
    rising = sorted({min(level, model.capabilities.s_max) for level in levels})
    for first in range(0, images, _BATCH):
        numbers = range(first, min(first + _BATCH, images))
        some = [texts[number % len(texts)] for number in numbers]
        image = in_8_bits(draw_images(model, some, seed=seed, first=first))
        z, text = model.encode(image), model.embed(some)
        noise = torch.stack([draw(z.shape[1:], seed=seed, purpose="floor", index=number) for number in numbers]).to(z)
        redrawn = (model.decode(one) for one in (z, *(_redrawn(model, z, noise, text, s, steps) for s in rising)))
        squares = [(in_8_bits(one.clamp(-1, 1)) - image).double().flatten(1).square().mean(1) for one in redrawn]
        errors.append(torch.stack(squares).cpu())
        relative.append(errors[-1] / image.double().flatten(2).var(2, correction=0).mean(1).cpu().clamp_min(1e-12))
        if progress is not None:
            progress("floor", numbers[-1] + 1, images)
    decibels = (10 * torch.log10(4 / torch.cat(errors, 1))).clamp(max=100)  # the range of pixels is 2
    rows = zip((0.0, *rising), torch.cat(relative, 1), decibels, strict=True)
    return [FloorLevel(level=level, error=_estimate(error), psnr_db=_estimate(db)) for level, error, db in rows]


def _redrawn(model: Backbone, z: Tensor, noise: Tensor, text: Condition, level: float, steps: int) -> Tensor:
    """The mean of the two latents that the antithetic pair of noises leads to."""
    moved = (1 - level) * torch.cat([z, z]) + level * torch.cat([noise, -noise])
    pair, known = text.repeat(2), model.capabilities

    def field(at: Tensor, s: Tensor) -> Tensor:
        return model.velocity(at, s.clamp(known.s_min, known.s_max), pair)

    final = sample(field, moved, uniform_grid(steps, start=level), EulerSolver())
    return final.unflatten(0, (2, len(z))).mean(0)


def _estimate(values: Float[Tensor, " b"]) -> dict[str, float]:
    drawn = torch.randint(len(values), (_DRAWS, len(values)), generator=stream(0, "floor"))
    low, high = values[drawn].mean(1).quantile(values.new_tensor([0.025, 0.975])).tolist()
    return {"mean": float(values.mean()), "low": low, "high": high}
