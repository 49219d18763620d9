"""Directions that live at one level: displacements of the latent there, found without words.

At a level s a latent is ``Z = (1 - s) x + s e``, so a displacement v of Z is written as the displacement
``v / (1 - s)`` of the clean latent x; near s = 1, where a latent shows no more of x, the share ``1 - s`` is taken as
0.01. `Slider` multiplies by the same share again, so what is added at the level is v itself. Derived here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.rng import draw
from latentedit.directions.base import Direction
from latentedit.latents.joint import JointLatent

LEAST_SHARE = 0.01
"""Least share of the clean latent in a latent at a level, so that level 1 works."""


def clean_share(level: float) -> float:
    """The share of the clean latent in a latent at a level: ``1 - level``, but no less than 0.01."""
    return max(1 - level, LEAST_SHARE)


def direction_at(
    latent: JointLatent,
    v: Float[Tensor, "#b *latent"],
    *,
    level: float,
    method: str,
    settings: Mapping[str, Any],
) -> Direction:
    """A displacement of latents at a level as a direction, which moves no text.

    Args:
        latent: the pictures on which it was found.
        v: displacement of ``Z`` at the level, one for all pictures or one a picture.
        level: where it lives, in (0, 1].
        method: how it was found.
        settings: of that method; "steps" says on how many steps of the model's whole grid the level is reached.

    Raises:
        ConfigError: a level outside (0, 1].
        ShapeError: a displacement of another shape than the latents'.
    """
    if not 0 < level <= 1:
        raise ConfigError(f"the level must lie in (0, 1]; got {level}")
    if v.shape[1:] != latent.z.shape[1:] or len(v) not in (1, len(latent)):
        raise ShapeError(
            f"the displacement does not fit latents of shape {list(latent.z.shape)}; got one of {list(v.shape)}"
        )
    return Direction(
        z=v / clean_share(level),
        condition=latent.condition.words[: len(v)] * 0.0,
        level=level,
        method=method,
        settings={"level": level, **settings},
        model_name=latent.backbone.name,
        model_fingerprint=latent.backbone.fingerprint,
        source_captions=latent.captions[: len(v)],
        pictures=tuple(frame.picture.fingerprint for frame in latent.frames),
        instructed=latent.instructed,
    )


def lives_at_level(direction: Direction) -> bool:
    """Whether a direction moves pictures at its own level: it moves no text, and says in how many steps to go there.

    So do local bases, principal components and random directions, and what is composed of them.
    """
    condition = direction.condition
    return "steps" in direction.settings and not bool(condition.tokens.any()) and not bool(condition.pooled.any())


def found_under_no_text(directions: Sequence[Direction]) -> bool:
    """Whether directions were all found at a level, under no text: no caption of the pictures has a part in them."""
    return bool(directions) and all(
        lives_at_level(one) and one.source_captions and not any(one.source_captions) for one in directions
    )


def random_direction(
    latent: JointLatent, *, level: float, steps: int = 28, step: float = 1.0, seed: int, index: int = 0
) -> Direction:
    """A direction of any old kind, the control of those that were found: Gaussian, and ``step`` long at its level.

    Args:
        latent: the pictures; the direction is one for all.
        level: where it lives, in (0, 1].
        steps: of the model's whole grid, on which the level is reached.
        step: length of the displacement of the latent at the level.
        index: which of several from one seed.
    """
    noise = draw(latent.z.shape[1:], seed=seed, purpose="random direction", index=index).to(torch.float64)
    v = (step * noise / torch.linalg.vector_norm(noise)).to(latent.z.device, latent.z.dtype)
    settings = {"steps": steps, "step": step, "seed": seed, "index": index}
    return direction_at(latent, v[None], level=level, method="random", settings=settings)
