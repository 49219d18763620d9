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
        return next((one.name for one in here if os.path.samestat(one.lstat(), output)), None)
    except OSError:
        return None


def check_apart(**places: Path | None) -> None:
    """Refuse two outputs, JSON files included, with one name."""
    from latentedit.editing.outputs import beside

    seen: dict[Path, str] = {}
    for option, place in places.items():
        files = () if place is None else (place.resolve(), beside(place).resolve())
        for file in files:
            if file in seen:
                raise OutputError(
                    f"--{seen[file]} and --{option}, or their JSON files, would be the same file; got {place} for "
                    f"the second. Choose another --{option}"
                )
        seen |= dict.fromkeys(files, option)


def open_checked(
    picture: Path,
    *,
    output: Path,
    sheet: Path | None = None,
    view: Path | None = None,
    mask: Path | None = None,
    beside: "Sequence[PictureLike]" = (),
    sweep: bool = False,
) -> "Picture":
    """Open the image, after checking that every other input can be read and every output written."""
    from latentedit.display.page import check_page, check_sweep_output
    from latentedit.editing.outputs import check_beside
    from latentedit.latents.pictures import Picture, check_output, open_mask

    opened = Picture.open(picture)
    if mask is not None:
        open_mask(mask, opened.size)
    others = [one for one in beside if isinstance(one, Path)]
    for other in others:
        Picture.open(other)
    read = [picture, *others, *filter(None, [mask])]
    for place in filter(None, (output, sheet)):
        for source in read:
            if sweep:
                check_sweep_output(place, source=source)
            else:
                check_output(place, source=source, transparent=opened.image.mode == "RGBA" and place == output)
        check_beside(place)
    if view is not None:
        for source in read:
            check_page(view, source=source)
    check_apart(output=output, sheet=sheet)
    return opened


def recorded_model(record: "RunRecord", choice: "ModelChoice") -> "ModelChoice":
    """The chosen model, or the record's if it is bundled: a file must not trigger a download."""
    from latentedit.models.registry import bundled_names

    if choice.model is None and record.model.name not in bundled_names():
        raise ConfigError(f"the record names {record.model.name!r}, which is not a bundled model. Give it with --model")
    return choice if choice.model is not None else dataclasses.replace(choice, model=record.model.name)
