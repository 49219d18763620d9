"""Model folders: stock diffusers folders with our settings and a model card."""

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from latentedit.core import OutputError, unwritable
from latentedit.models import change_json, quiet_libraries, write_settings


@contextlib.contextmanager
def explain_write_errors(path: Path) -> Generator[None]:
    """Raise an `OutputError` that names the path for a write that fails inside a library."""
    try:
        yield
    except OutputError:
        raise
    except (OSError, SafetensorError) as error:
        raise unwritable(path, error) from error


def write_pipeline(folder: Path, pipeline: Any, settings: Mapping[str, Any]) -> None:
    """Write a stock diffusers folder in half precision, and our settings.

    Args:
        folder: the model's folder.
        pipeline: a diffusers pipeline; its networks are moved to the CPU and halved in place.
        settings: content of ``latentedit.json``.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    for network in networks.values():
        network.cpu().half()
    with quiet_libraries(), explain_write_errors(folder):
        pipeline.save_pretrained(folder, safe_serialization=True)
    for part in networks:
        if part.startswith("text_encoder"):  # otherwise transformers 5 would load it in half precision
            change_json(folder / part / "config.json", {"dtype": "float32"})
    write_settings(folder, settings)


def card_text(settings: Mapping[str, Any], name: str) -> str:
    """The card of a model with these settings; ``history`` describes deviations from the recipe."""
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
