"""The model card of `scenes`, written from the facts that are stored with it."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from latentedit.models.settings_file import read_settings
from latentedit_keep.files import write_text
from latentedit_portraits.card import quality_table
from latentedit_scenes.attributes import VALUES


def write_card(folder: Path) -> None:
    """Write ``folder/README.md`` from ``folder/latentedit.json``; its ``history`` says where the recipe was left.

    Args:
        folder: a finished and measured model.
    """
    write_text(folder / "README.md", card_text(read_settings(folder)))


def card_text(settings: Mapping[str, Any]) -> str:
    """The card of the model with these settings."""
    template = resources.files("latentedit_scenes").joinpath("card.md").read_text("utf-8")
    return template.format(
        description=settings["description"][:1].upper() + settings["description"][1:],
        attributes=", ".join(f"{name.replace('_', ' ')} ({len(values)})" for name, values in VALUES.items()),
        words=len(settings["vocabulary"]),
        recipe=settings["recipe"],
        pictures=settings["pictures"],
        seconds=", ".join(f"{stage} {value}" for stage, value in settings["training_seconds"].items()),
        history=f" {settings['history']}" if "history" in settings else "",
        guidance=settings["guidance"],
        quality="\n".join(quality_table(title, numbers) for title, numbers in settings["quality"].items()),
    )
