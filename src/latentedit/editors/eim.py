"""The method of this library: a direction identified from the text, and a slider along it."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Count, Level, settings
from latentedit.directions.direction import Direction
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import identify
from latentedit.editors.base import Editor, StrengthResult
from latentedit.editors.judge import Judge
from latentedit.editors.slider import Arm, Slider
from latentedit.latents.joint import JointLatent


@settings
class EIM(Editor):
    """Encode, identify, manipulate as one editor: find a direction from the text, then move along it.

    It is identified by Hessian score distillation (our derivation, see `directions.hsds`), and moves one arm. The
    settings stored for the bundled models use no Hessian and move the image latent x. With ``d = 0`` at first, and at
    falling levels s, the next being s', each with a noise e and its negative::

        x_s = (1 - s) x + s e,   y_s = x_s + (1 - s) d,   q = x - x_hat(x_s, c0)
        r = mean_e [x_hat(y_s, c1) + q - share(d, .3)^2 q_d] - x - d
        d <- d + (s - s') / (s (1 - s')) [share(d, .002) (d + r) - d]
        d <- 1.06 d;   refined: d <- d + M (mean_e z_0 - x - d)
        image <- image + 1.03 share(Y, .03) Y,   Y = decode(x + strength d) - decode(x)

    ``x_hat(z, c) = z - s v(z, s, c)``; ``share(d, f) = p / (p + f max p)`` with p the local energy of d, and 1 while
    d is 0; ``q_d`` is the part of q along d; M and z_0 are those of `Refinement`. Derived here from FlowEdit's path.

    Args:
        search: how the direction is identified.
        arm: which part of the joint latent moves; see `Slider`.
        level: how far up the text and joint arms go, in (0, 1].
        steps: of the model's full grid for those arms.
    """

    name: ClassVar[str] = "eim"
    localizes: ClassVar[bool] = True

    search: HSDS = dataclasses.field(default_factory=HSDS)
    arm: Arm = "image"
    level: Level = 0.75
    steps: Count = 28

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """The search's (none for the text arm), and the slider's."""
        if strength == 0:
            return 0
        guided = latent.backbone.capabilities.branches(self.search.guidance)
        search = 0 if self.arm == "text" else self.search.evaluations(guided=guided)
        unchanged = _text_direction(latent, latent.condition, self.level, seed=0)
        return search + self.slider(latent, unchanged, seed=0).evaluations(strength)

    def direction(
        self, latent: JointLatent, target: Condition, *, seed: Seed, progress: Progress | None = None
    ) -> Direction:
        """The direction from the pictures' text to another; for the text arm, the difference of the texts alone."""
        if self.arm == "text":
            return _text_direction(latent, target, self.level, seed=seed)
        return identify(latent, target, self.search, seed=seed, progress=progress)

    def slider(
        self, latent: JointLatent, direction: Direction, *, seed: Seed, progress: Progress | None = None
    ) -> Slider:
        """The slider along a direction."""
        return Slider(
            latent=latent,
            direction=direction,
            arm=self.arm,
            level=self.level,
            steps=self.steps,
            judge=Judge.of(latent.backbone),
            seed=seed,
            progress=progress,
        )

    def settings_along(self) -> dict[str, Any]:
        """The settings without the search."""
        return {name: value for name, value in self.to_dict().items() if name != "search"}

    def _edit_all(
        self,
        latent: JointLatent,
        target: Condition,
        strengths: Sequence[float],
        *,
        seed: Seed,
        progress: Progress | None,
    ) -> list[StrengthResult]:
        direction = self.direction(latent, target, seed=seed, progress=progress)
        return self.slider(latent, direction, seed=seed, progress=progress).edit(strengths)


def _text_direction(latent: JointLatent, target: Condition, level: float, *, seed: Seed) -> Direction:
    return Direction(
        z=torch.zeros_like(latent.z),
        condition=(target - latent.condition).words,
        level=level,
        method="text difference",
        settings={"seed": seed},
        model_name=latent.backbone.name,
        model_fingerprint=latent.backbone.fingerprint,
        source_captions=latent.captions,
        pictures=latent.pictures,
        instructed=latent.instructed,
    )
