"""The tab *Edit* of ``latentedit app``, which keep's command adds; heavy imports are inside the function."""

import dataclasses
from typing import TYPE_CHECKING

from latentedit.cli.options import ModelChoice, chooses_model

if TYPE_CHECKING:
    from latentedit.app.tab import EditTab


@chooses_model
def edit_tab(*, choice: ModelChoice) -> "EditTab":
    """The tab, with the chosen model and all bundled ones."""
    from latentedit.app.models import Models
    from latentedit.app.tab import EditTab
    from latentedit.models.registry import bundled_names

    on_device = ModelChoice(device=choice.device, dtype=choice.dtype)
    others = {name: dataclasses.replace(on_device, model=name).load for name in bundled_names()}
    return EditTab(Models(choice.load(), others))
