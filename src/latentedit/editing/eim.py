"""Encode, identify, manipulate: move the image latent, the text, or both by one direction."""

import dataclasses
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.directions.base import Direction
from latentedit.directions.hsds import HSDS, identify
from latentedit.directions.settings import check_count, check_number
from latentedit.editing.base import Editor, check_strength
from latentedit.encoding.inversion import invert, replay
from latentedit.encoding.joint import JointLatent
from latentedit.errors import ConfigError
from latentedit.types import Condition, Progress

Arm = Literal["image", "text", "joint"]


def check_arm(arm: str) -> None:
    """Refuse an arm that does not exist.

    Raises:
        ConfigError: not one of image, text and joint.
    """
    if arm not in get_args(Arm):
        raise ConfigError(f"expected the arm to be one of {', '.join(get_args(Arm))}; got {arm!r}")


def manipulate(
    latent: JointLatent,
    direction: Direction,
    *,
    strength: float,
    arm: Arm,
    level: float,
    steps: int,
    progress: Progress | None = None,
) -> Float[Tensor, "b *latent"]:
    """Move encoded pictures by a direction.

    - image: ``z + strength * d``.
    - text: invert under c0 up to ``level``, return aligned under ``c0 + strength * n``.
    - joint: the same, started from ``Z_level + (1 - level) * strength * d``.

    Args:
        latent: encoded pictures.
        direction: what to move by, one a picture or one for all.
        strength: any real number; 0 returns ``latent.z`` itself.
        arm: which part of the joint latent moves.
        level: how far up the text and joint arms go.
        steps: of the model's whole grid; the arms walk the part below ``level``.
        progress: told after each step.

    Raises:
        ConfigError: a direction of another model, an unknown arm, or a strength that is no number.

    Cost:
        None for the image arm; otherwise two evaluations a step below ``level``.

    Source:
        The arms are those of Encode-Identify-Manipulate (arXiv 2411.08196); level, aligned return and the scale
        ``1 - level`` (the share of x in ``z(s)``) are ours.
    """
    check_strength(strength)
    check_arm(arm)
    direction.check_model(latent.backbone.name, latent.backbone.fingerprint)
    if strength == 0:
        return latent.z
    if arm == "image":
        return latent.z + strength * direction.z
    trace = invert(latent, latent.path(steps, level), progress=progress)
    text = latent.condition + direction.condition.expand(len(latent)) * strength
    offset = (1 - trace.levels[-1]) * strength * direction.z if arm == "joint" else None
    return replay(latent, trace, text, offset=offset, progress=progress)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EIM(Editor):
    """Identify with the one-JVP family (our derivation, see `directions.hsds`), then manipulate one arm.

    Args:
        arm: which part of the joint latent moves.
        level: how far up the text and joint arms go, in (0, 1].
        manipulate_steps: steps of the whole grid for those arms.
        gamma: see `HSDS`, as are the following.
        levels: first and last level of the search.
        steps: of the search.
        step_size: of each of several steps.
        noises: averaged in each step.
        guidance: of both branches of the search; the way back is unguided.

    Raises:
        ConfigError: a setting outside its range.
    """

    name: ClassVar[str] = "eim"

    arm: Arm = "image"
    level: float = 0.75
    manipulate_steps: int = 28
    gamma: float = 0.0
    levels: tuple[float, float] = (0.95, 0.3)
    steps: int = 16
    step_size: float = 0.4
    noises: int = 1
    guidance: float = 1.0

    def __post_init__(self) -> None:
        check_arm(self.arm)
        check_number("level", self.level, 0, 1, above=True)
        check_count("manipulate_steps", self.manipulate_steps)
        self.method()

    def method(self) -> HSDS:
        """How the direction is identified."""
        fields: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(HSDS)}
        return HSDS(**fields)

    @property
    def keeps_equal_texts(self) -> bool:
        """Both branches of the search see the same rows, and the way back is aligned."""
        return True

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """``search`` (image), ``2 k`` (text) or ``search + 2 k`` (joint), k steps of the grid below ``level``."""
        if strength == 0:
            return 0
        search = 0 if self.arm == "text" else self.method().evaluations()
        walk = 0 if self.arm == "image" else 2 * latent.path(self.manipulate_steps, self.level).steps
        return search + walk

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: int, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        if self.arm == "text":  # nothing to search for: the text's displacement is the difference itself
            direction = Direction(
                z=torch.zeros_like(latent.z),
                condition=target - latent.condition,
                level=self.level,
                method="text difference",
                settings={},
                fingerprint=latent.backbone.fingerprint,
            )
        else:
            direction = identify(latent, target, self.method(), seed=seed, progress=progress)
        return manipulate(
            latent,
            direction,
            strength=strength,
            arm=self.arm,
            level=self.level,
            steps=self.manipulate_steps,
            progress=progress,
        )
