"""What the editors that walk the model's own levels have in common."""

import abc
import dataclasses

from latentedit.core.condition import Condition
from latentedit.core.levels import LevelGrid
from latentedit.core.settings import Count, Level, settings
from latentedit.editors.base import Editor, weights_of_one
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import GuidedField


@settings
class PathEditor(Editor):
    """An editor whose cost depends on how many steps of the model's grid lie below its level.

    Subclasses write `_cost` instead of `evaluations`.

    Args:
        level: where the path starts, any number in (0, 1].
        steps: of the model's whole grid; an edit walks the part below ``level``.
    """

    level: Level = 0.9
    steps: Count = 28

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """That of `_cost` for the steps of this model's grid below ``level``."""
        if strength == 0:
            return 0
        one_branch = latent.backbone.capabilities.branches(0.0) == 1
        asked = dataclasses.replace(self, **weights_of_one(type(self))) if one_branch else self
        return asked._cost(self._path(latent).steps)

    @abc.abstractmethod
    def _cost(self, k: int) -> int:
        """Network evaluations a picture of an edit in k steps, on a model with classifier-free guidance."""

    def _path(self, latent: JointLatent) -> LevelGrid:
        return latent.path(self.steps, self.level)


def branches(guidance: float) -> int:
    """Evaluations of a velocity under classifier-free guidance: two, but one at weight 1, the conditional velocity."""
    return 1 if guidance == 1 else 2


def two_fields(
    latent: JointLatent, target: Condition, source_guidance: float, target_guidance: float, *, times: int = 1
) -> tuple[GuidedField, GuidedField]:
    """The velocities under the pictures' text and under the target, which share one empty text where one is guided.

    Args:
        target: the other text, one a picture.
        source_guidance: classifier-free guidance weight of the first.
        target_guidance: of the second.
        times: how often the batch is repeated.
    """
    backbone = latent.backbone
    unguided = source_guidance == target_guidance == 1
    empty = None if unguided else backbone.null(target).expand(len(latent)).repeat(times)

    def field(text: Condition, guidance: float) -> GuidedField:
        return GuidedField(backbone=backbone, condition=text.repeat(times), guidance=guidance, unconditional=empty)

    return field(latent.condition, source_guidance), field(target, target_guidance)


def towards(latent: JointLatent, target: Condition, strength: float) -> Condition:
    """``c0 + strength (c1 - c0)``: the text between that of the pictures and the target, or beyond."""
    return latent.condition + strength * (target - latent.condition)
