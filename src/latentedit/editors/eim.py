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

    It is identified by Hessian score distillation (our derivation, see `directions.hsds`), and moves one arm.

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
