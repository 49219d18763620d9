"""The model cards of the bundled models, written from the facts that are stored with each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentedit.models.settings_file import read_settings
from latentedit_keep.files import write_text
from latentedit_portraits.attributes import VALUES
from latentedit_portraits.fitting import read_plans
from latentedit_portraits.package_data import read_table

_CARDS = read_table("cards")

PIXEL_DATA: Mapping[str, str] = _CARDS["pixel_data"]
"""What each of the pixel models was trained on."""


def write_card(folder: Path, name: str) -> None:
    """Write ``folder/README.md`` from ``folder/latentedit.json``; its ``history`` says where the recipe was left.

    Args:
        folder: a finished and, where it understands captions, measured model.
        name: of the model.
    """
    write_text(folder / "README.md", card_text(read_settings(folder), name))


def card_text(settings: Mapping[str, Any], name: str) -> str:
    """The card of a model with these settings."""
    seconds = ", ".join(f"{stage} {value}" for stage, value in settings["training_seconds"].items())
    if name in PIXEL_DATA:
        plan = read_plans("pixels")[settings["recipe"]]
        fit = plan.fits["pixels"]
        told = f"{plan.pictures} pictures, {fit.steps} steps of {fit.batch}"
        facts = {"data": PIXEL_DATA[name], "plan": told, "seconds": seconds.removeprefix("pixels ")}
        return _CARDS["pixels"].format(name=name, recipe=settings["recipe"], **facts)
    return _CARDS["text_to_image"].format(
        **_CARDS[name],
        name=name,
        description=settings["description"][:1].upper() + settings["description"][1:],
        attributes=", ".join(f"{key.replace('_', ' ')} ({len(values)})" for key, values in VALUES.items()),
        words=len(settings["vocabulary"]),
        recipe=settings["recipe"],
        seconds=seconds,
        history=f" {settings['history']}" if "history" in settings else "",
        guidance=settings["guidance"],
        quality="\n".join(quality_table(title, numbers) for title, numbers in settings["quality"].items()),
    )


def quality_table(title: str, numbers: Mapping[str, Any]) -> str:
    """Some numbers that were measured, under their title."""
    names, values = " | ".join(numbers), " | ".join(f"{value:g}" for value in numbers.values())
    return f"**{title}**\n\n| {names} |\n|{'---|' * len(numbers)}\n| {values} |\n"
