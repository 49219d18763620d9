# %% [markdown]
"""
# An editor of your own

An editor is one class: a frozen dataclass of its settings with a method that moves latents. This file defines one,
edits an image with it, and tests it with the editor contract: `python examples/new_editor.py`, or for the contract
alone `python -m pytest examples/new_editor.py`.
"""

# %%
from pathlib import Path
from typing import ClassVar

import pytest

import latentedit as le
from latentedit.core import Level, settings
from latentedit.editors import Edit, Editor, Latents
from latentedit.numerics import level_batch
from latentedit.testing import EditorContract

# %% [markdown]
"""
The image is noised once to a level, `z = (1 - s) x + s e`, and moved by the difference of two velocities. The backbone
may be any model: it only provides `velocity(z, s, condition)`.
"""


# %%
@settings
class OneNoisyStep(Editor):
    """``y = x - strength * s * (v(z, s, target) - v(z, s, source))`` with ``z = (1 - s) x + s e``.

    Args:
        level: the noise level s, in (0, 1].
    """

    name: ClassVar[str] = "one-noisy-step"

    level: Level = 0.7

    def move(self, edit: Edit) -> Latents:
        z, s = edit.noised(self.level), level_batch(self.level, edit.x)
        source, target = (edit.backbone.velocity(z, s, text) for text in edit.texts)
        return edit.x - edit.strength * self.level * (target - source)


# %% [markdown]
"""
Its contract: the identity at strength 0, the same result for the same seed, independence of the rest of the batch, a
cost that is known before an edit, and more. The tests run on a small network with random weights.
"""


# %%
class TestOneNoisyStep(EditorContract):
    """The contract of `Editor`."""

    @pytest.fixture
    def editor(self) -> Editor:
        """The editor with its defaults."""
        return OneNoisyStep()


# %% [markdown]
"""
Edit an image, with the measures and the verdict of every editor. If you register the class in the `pyproject.toml` of a
package under `[project.entry-points."latentedit.editors"]`, as in `examples/plugin`, you can select it by name, with
`method="one-noisy-step"` or `latentedit edit --method`.
"""

# %%
if __name__ == "__main__":
    folder = Path("out/examples")
    folder.mkdir(parents=True, exist_ok=True)

    model = le.load("portraits")
    edit = le.edit(model, "docs/images/me.png", change="=> glasses", method=OneNoisyStep(level=0.8))
    edit.save(folder / "one-noisy-step.png")
    print(f"{edit.verdict.text}; {edit.cost.evaluations:g} evaluations")

# %%
if __name__ == "__main__" and "__file__" in globals():
    alone = ["-o", "addopts="]  # without this repository's own options
    pytest.main([__file__, "--quiet", "--disable-warnings", "-p", "no:cacheprovider", *alone])
