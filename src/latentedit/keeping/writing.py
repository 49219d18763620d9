"""Writing a result of `keep`: which files, and why none is written."""

from pathlib import Path

from latentedit.keeping.api import INVERTED, KeepResult
from latentedit.photo.parts import MetadataReport


def write(
    result: KeepResult, output: Path | None, mask_file: Path | None, layer_file: Path | None
) -> tuple[KeepResult, MetadataReport]:
    """Write what is named of a result; returns it as it was written, and what became of the file's metadata."""
    if layer_file is not None:  # before all else, since not every change can be a layer
        result.save_layers(layer_file)
    if mask_file is not None:
        result.save_mask(mask_file)
    if output is None:
        return result, MetadataReport()
    metadata = result.save(output)
    return result.as_written(output), metadata


def failure(result: KeepResult, original: Path, edited: Path, mask: Path | None) -> str:
    """Why no result is written; empty if one can be."""
    if result.found == "different images":
        return (
            f"{edited} cannot be aligned with {original}; no result was written. If they belong together, edit again, "
            "or take the edit as it is"
        )
    if result.record.strength > 0 and (INVERTED in result.doubts or (result.changes and not result.differs)):
        return f"nothing changed inside {f'the mask {mask}' if mask else 'the box'}; no result was written"
    return ""


def is_copy(result: KeepResult) -> bool:
    """Whether a result is the original again, which is written only under a name that was asked for."""
    return result.record.strength > 0 and not result.differs
