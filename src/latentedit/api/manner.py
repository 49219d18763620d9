"""How pictures are moved by directions: what was asked for, and what suits the model and the directions otherwise."""

import dataclasses
from collections.abc import Sequence

from latentedit.core.errors import ConfigError
from latentedit.core.settings import Count, check
from latentedit.directions.at_level import lives_at_level
from latentedit.directions.base import Direction
from latentedit.directions.composition import Mixing
from latentedit.editors.eim import EIM
from latentedit.editors.registry import stored_settings
from latentedit.editors.slider import Arm
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone

_SAME_LEVEL = 1e-6
"""Levels that differ by less are one; files keep them in decimals."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Manner:
    """How pictures are moved by directions.

    Args:
        arm: which part of the joint latent moves.
        level: how far up the text and joint arms go.
        steps: of the model's whole grid for those arms.
        mixing: how several directions are put together.
        local: keep the change to where it is strong.
    """

    arm: Arm
    level: float
    steps: int
    mixing: Mixing = "sum"
    local: bool = True

    @classmethod
    def of(
        cls,
        latent: JointLatent,
        directions: Sequence[Direction],
        *,
        arm: Arm | None = None,
        level: float | None = None,
        steps: int | None = None,
        mixing: Mixing = "sum",
        local: bool = True,
    ) -> "Manner":
        """What suits the model and the directions, where nothing else is said.

        Directions that live at the level at which they were found (`directions.at_level`) move pictures there, by the
        joint arm; others that are moved with them join them. Directions that were found on other pictures, and have
        words, move as ``latentedit.json`` says under "transfer".

        Raises:
            ConfigError: directions that live at different levels.
        """
        stored = stored_eim(latent.backbone)
        if living := [direction for direction in directions if lives_at_level(direction)]:
            stored = _at_their_level(living)
        elif _found_elsewhere(latent, directions):
            known = {"arm": stored.arm, "level": stored.level, "steps": stored.steps}
            stored = EIM.from_dict({**known, **latent.backbone.defaults.get("transfer", {})})
        return cls(
            arm=stored.arm if arm is None else arm,
            level=stored.level if level is None else level,
            steps=stored.steps if steps is None else steps,
            mixing=mixing,
            local=local,
        )

    @property
    def walk(self) -> tuple[Arm, float, int]:
        """What a slider depends on."""
        return self.arm, self.level, self.steps


def stored_eim(model: Backbone) -> EIM:
    """Encode, identify, manipulate with the settings that suit a model."""
    return EIM.from_dict(stored_settings(EIM.name, model))


def _at_their_level(directions: Sequence[Direction]) -> EIM:
    """The joint arm at the one level of directions that live at one; what they say may come from a file."""
    levels = [direction.level for direction in directions]
    if max(levels) - min(levels) > _SAME_LEVEL:
        told = ", ".join(f"{level:g}" for level in sorted(set(levels)))
        raise ConfigError(
            f"expected directions of one level to be moved by together; got levels {told}. "
            "Move by one after the other, each on the result of the one before"
        )
    steps = [direction.settings["steps"] for direction in directions]
    for count in steps:
        check(Count, steps=count)
    return EIM(arm="joint", level=levels[0], steps=max(steps))


def _found_elsewhere(latent: JointLatent, directions: Sequence[Direction]) -> bool:
    """None of these directions was found on these pictures, or made them, and all can be said in other captions."""
    here = {frame.picture.fingerprint for frame in latent.frames}
    return all(
        d.pictures and d.target_captions and here.isdisjoint(d.pictures) and d.target_captions != latent.captions
        for d in directions
    )
