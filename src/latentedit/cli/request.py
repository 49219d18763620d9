"""Checks of arguments and files before anything is loaded."""

import dataclasses
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latentedit.core.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from latentedit.cli.model_choice import ModelChoice
    from latentedit.latents.encode import PictureLike
    from latentedit.latents.pictures import Picture
    from latentedit.latents.record import RunRecord


def check_arrows(arguments: Sequence[str]) -> None:
    """Refuse an unquoted arrow: of ``--change => glasses``, the shell keeps ``--change =`` and redirects the output."""
    for before, word in itertools.pairwise(arguments if "--change" in arguments else ()):
        if word[-1:] in ("=", "-") and (before == "--change" or len(word) == 1):
            old, made = word[:-1] if before == "--change" else before, _empty_output()
            raise ConfigError(
                "the shell took the > of an unquoted arrow as a redirection and created an empty file. Write --change "
                f'"{" ".join([*old.split(), "=>", made or "NEW"])}", and delete the file {made or "of that name"}'
            )


def _empty_output() -> str | None:
    """The empty file in this folder to which standard output is redirected."""
    try:
        output = os.fstat(1)
        here = Path().iterdir() if not output.st_size else ()
        return next((file.name for file in here if os.path.samestat(file.lstat(), output)), None)
    except OSError:
        return None


def open_checked(
    picture: Path,
    *,
    output: Path,
    sheet: Path | None = None,
    view: Path | None = None,
    mask: Path | None = None,
    references: "Sequence[PictureLike]" = (),
    sweep: bool = False,
) -> "Picture":
    """Open the image, after checking that every other input can be read and every output written."""
    from latentedit.display.page import check_page
    from latentedit.latents.pictures import Picture, open_mask

    opened = Picture.open(picture)
    if mask is not None:
        open_mask(mask, opened.size)
    others = [item for item in references if isinstance(item, Path)]
    for other in others:
        Picture.open(other)
    read = [picture, *others, *filter(None, [mask])]
    check_written(output, inputs=read, sweep=sweep, transparent=opened.image.mode == "RGBA")
    if sheet is not None:
        check_written(sheet, inputs=read)
    if view is not None:
        for source in read:
            check_page(view, source=source)
    if sheet is not None and _files(output) & _files(sheet):
        raise OutputError(
            f"--output and --sheet, or their JSON files, would be the same file; got {sheet} for the second. Choose "
            "another --sheet"
        )
    return opened


def check_written(output: Path, *, inputs: Sequence[Path], sweep: bool = False, transparent: bool = False) -> None:
    """Refuse a result that cannot be written, with its JSON file, or would replace an input."""
    from latentedit.display.page import check_page
    from latentedit.editing.outputs import check_json_path
    from latentedit.latents.pictures import check_output

    for source in inputs:
        if sweep:
            check_page(output, source=source, sheets=True)
        else:
            check_output(output, source=source, transparent=transparent)
    check_json_path(output)


def _files(output: Path) -> set[Path]:
    """An output and its JSON file."""
    from latentedit.editing.outputs import json_path

    return {output.resolve(), json_path(output).resolve()}


def recorded_model(record: "RunRecord", choice: "ModelChoice") -> "ModelChoice":
    """The chosen model, or the record's if it is bundled: a file must not trigger a download."""
    from latentedit.models.registry import bundled_names

    if choice.model is None and record.model.name not in bundled_names():
        raise ConfigError(f"the record names {record.model.name!r}, which is not a bundled model. Give it with --model")
    return choice if choice.model is not None else dataclasses.replace(choice, model=record.model.name)
