"""Delta denoising score, iterated: the difference of two noise estimates moves the picture, at random levels."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.flow import per_element
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like, stream
from latentedit.core.settings import Count, Guidance, Levels, Positive, settings
from latentedit.editors.base import Editor
from latentedit.editors.baselines.path_editor import two_fields
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone


def check_ascent(name: str, strength: float) -> None:
    """Refuse the negative strength of a descent: it would climb the same score, away from its fixed point.

    Raises:
        ConfigError: a negative strength.
    """
    if strength < 0:
        raise ConfigError(
            f"the strength of {name} must be 0 or above, since it scales the steps of a descent; got "
            f"{strength:g}. For signed strengths use eim or flowslider"
        )


def random_levels(
    backbone: Backbone, levels: tuple[float, float], steps: int, *, seed: int, purpose: str
) -> list[float]:
    """One level a step, uniform between the lowest and the highest, both cut to what the model knows.

    Args:
        levels: the highest and the lowest.
        steps: how many; the first ones do not depend on it.
    """
    known = backbone.capabilities
    high, low = (min(max(level, known.s_min), known.s_max) for level in levels)
    shares = torch.rand(steps, generator=stream(seed, purpose), dtype=torch.float64)
    return [low + (high - low) * float(share) for share in shares]


def levels_of_each(
    latent: JointLatent, levels: tuple[float, float], steps: int, *, seed: Seed, purpose: str
) -> Float[Tensor, "steps b"]:
    """`random_levels` of each picture, in float64; pictures share them where there is one seed for all."""
    seeds = [seed] * len(latent) if isinstance(seed, int) else seed
    each = [random_levels(latent.backbone, levels, steps, seed=one, purpose=purpose) for one in seeds]
    return torch.tensor(each, dtype=torch.float64).T


def level_weights(
    level: Float[Tensor, " b"], x: Float[Tensor, "b *latent"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b *ones"], Float[Tensor, "b *ones"]]:
    """A level a picture as the network takes it, and ``s`` and ``1 - s`` as factors of latents."""
    at = level.to(x.device, torch.promote_types(x.dtype, torch.float32))
    return at, per_element(level.to(x), x), per_element((1 - level).to(x), x)


@settings
class DDS(Editor):
    """``y <- y - strength step_size (e_hat_w(y_s, c1) - e_hat_w(x_s, c0))`` from y = x, at a random level each step.

    ``y_s = (1 - s) y + s e`` and ``x_s = (1 - s) x + s e`` have one fresh noise. With ``e_hat = z + (1 - s) v`` the
    bracket is ``(1 - s) (v_w(y_s, c1) - v_w(x_s, c0) + y - x)``: without its last part, the difference of velocities,
    it would be another method. The two branches are calls of one shape and ``y - x`` is what is kept, so equal texts
    leave exactly zero.

    It descends to where the two estimates agree, so the strength says how fast it gets there; steps so large that
    ``strength * step_size`` is beyond some 4 standard deviations of the data's narrowest axis overshoot.

    Args:
        levels: the highest and the lowest level; uniform between them, cut to what the model knows.
        steps: of the descent.
        step_size: of each step.
        guidance: classifier-free guidance weight of both branches.

    Source:
        Hertz et al. 2023, arXiv 2304.07090, which takes 200 steps of 0.049 at weight 7.5 and times uniform in the
        network's own clock; levels uniform in s are ours, the flow form is derived here.
    """

    name: ClassVar[str] = "dds"

    levels: Levels = (0.95, 0.05)
    steps: Count = 28
    step_size: Positive = 0.25
    guidance: Guidance = 2.0

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """``steps * 2``, twice that if guided."""
        return 0 if strength == 0 else self.steps * 2 * latent.backbone.capabilities.branches(self.guidance)

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        check_ascent(self.name, strength)
        x = latent.z
        source_field, target_field = two_fields(latent, target, self.guidance, self.guidance)
        moved = torch.zeros_like(x)
        levels = levels_of_each(latent, self.levels, self.steps, seed=seed, purpose="dds levels")
        for index, level in enumerate(levels):
            at, s, clean = level_weights(level, x)
            x_s = clean * x + s * noise_like(x, seed=seed, purpose="dds", index=index)
            y_s = x_s + clean * moved
            gradient = clean * (target_field(y_s, at) - source_field(x_s, at) + moved)
            moved = moved - strength * self.step_size * gradient
            if progress is not None:
                progress(self.name, index + 1, self.steps)
        return x + moved
