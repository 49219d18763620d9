"""Models that differ in one member from the one that they copy."""

import dataclasses
from typing import Any, TypeVar

from latentedit.encoding.joint import JointLatent
from latentedit.numerics.flow import LevelGrid, shifted_grid

Model = TypeVar("Model")


def with_members(model: Model, **members: Any) -> Model:
    """A copy of a model, of its own subclass, with these members replaced."""
    twin: Any = object.__new__(type(type(model).__name__, (type(model),), members))
    twin.__dict__.update(vars(model))  # copying a backbone returns itself
    return twin


def on_shifted_grid(latent: JointLatent, shift: float) -> JointLatent:
    """The same images, with a grid shifted towards noise like that of FLUX."""

    def grid(model: Any, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        return shifted_grid(steps, shift)

    return dataclasses.replace(latent, backbone=with_members(latent.backbone, grid=grid))
