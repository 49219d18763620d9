"""What is compared: an editor with settings, how large and how local its change is made, and at which strengths."""

import dataclasses
from collections.abc import Sequence

from latentedit.core.errors import ConfigError
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One row of the ranking."""

    name: str  # in tables and on the command line
    editor: Editor  # with its settings
    # the change is kept to where it is strong (`editors.local_change`), as `latentedit edit` does with eim; the other
    # methods are left as their authors describe them
    local: bool = False
    gain: float = 1.0  # the change of the latents is multiplied by it, which costs nothing

    def allowed(self, latent: JointLatent, strengths: Sequence[float]) -> list[float]:
        """Those of the strengths that the editor takes."""
        found: list[float] = []
        for strength in strengths:
            try:
                self.editor.evaluations(latent, strength=strength)
            except ConfigError:
                continue
            found.append(strength)
        return found
