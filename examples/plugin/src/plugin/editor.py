"""An editor: a frozen dataclass of its settings, registered in pyproject.toml under its name."""

from typing import ClassVar

from latentedit.core import Level, settings
from latentedit.editors import Edit, Editor, Latents
from latentedit.numerics import level_batch


@settings
class OneStep(Editor):
    """``y = x - strength * level * (v(x, level, target) - v(x, level, source))``: one step, without any noise.

    Args:
        level: at which the two velocities are compared, in (0, 1].

    Raises:
        ConfigError: a setting outside its range.
    """

    name: ClassVar[str] = "plugin-editor"

    level: Level = 0.5

    def move(self, edit: Edit) -> Latents:
        s = level_batch(self.level, edit.x)
        source, target = (edit.backbone.velocity(edit.x, s, text) for text in edit.texts)
        return edit.x - edit.strength * self.level * (target - source)
