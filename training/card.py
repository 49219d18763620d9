"""The model cards of the bundled models: ``cards/NAME.md`` with the facts that are stored with each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentedit.models.settings_file import read_settings
from latentedit_keep.files import write_text


def write_card(folder: Path, name: str) -> None:
    """Write ``folder/README.md`` from ``folder/latentedit.json``.

    Args:
        folder: a finished and, where it understands captions, measured model.
        name: of the model.
    """
    write_text(folder / "README.md", card_text(read_settings(folder), name))


def card_text(settings: Mapping[str, Any], name: str) -> str:
    """The card of a model with these settings; their ``history`` says where the recipe was left."""
    return (
        Path(__file__)
        .with_name("cards")
        .joinpath(f"{name}.md")
        .read_text("utf-8")
        .format(
            seconds=", ".join(f"{stage} {value}" for stage, value in settings["training_seconds"].items()),
            history=f" {settings['history']}" if "history" in settings else "",
            quality="\n".join(_table(title, numbers) for title, numbers in settings.get("quality", {}).items()),
        )
    )


def _table(title: str, numbers: Mapping[str, float]) -> str:
    names, values = " | ".join(numbers), " | ".join(f"{value:g}" for value in numbers.values())
    return f"**{title}**\n\n| {names} |\n|{'---|' * len(numbers)}\n| {values} |\n"
