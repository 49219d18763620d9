"""What was typed, and the files that a command reads and writes, refused before anything is loaded."""

import dataclasses
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latentedit.core.errors import ConfigError, OutputError
from latentedit_keep.files import named_beside

if TYPE_CHECKING:
    from latentedit.cli.model_choice import ModelChoice
    from latentedit.latents.encode import PictureLike
    from latentedit.latents.pictures import Picture
    from latentedit.latents.record import RunRecord


def check_arrows(arguments: Sequence[str]) -> None:
    """Refuse a change whose arrow was not in quotes: of ``--change => glasses``, a shell leaves ``--change =``.

    Raises:
        ConfigError: with the file that the shell made, if it is in this folder.
    """
    for before, word in itertools.pairwise(arguments if "--change" in arguments else ()):
        if word[-1:] in ("=", "-") and (before == "--change" or len(word) == 1):
            old, made = word[:-1] if before == "--change" else before, _empty_output()
            raise ConfigError(
                "the shell took the > of an arrow without quotes, and made an empty file. Write --change "
                f'"{" ".join([*old.split(), "=>", made or "NEW"])}", and delete the file {made or "of that name"}'
            )


def _empty_output() -> str | None:
    """The file in this folder that standard output goes to, if it is empty."""
    try:
        output = os.fstat(1)
        here = Path().iterdir() if not output.st_size else ()
        return next((one.name for one in here if os.path.samestat(one.lstat(), output)), None)
    except OSError:
        return None


def all_changes(
    change: Sequence[str] | None, add: Sequence[str] | None, remove: Sequence[str] | None
) -> tuple[str, ...]:
    """The changes of ``--change``, ``--add`` and ``--remove``, in this order."""
    return (*(change or ()), *(f"=> {words}" for words in add or ()), *(f"{words} =>" for words in remove or ()))


def default_output(picture: Path, ending: str) -> Path:
    """Beside the picture, under its name with another ending; a very long name is shortened."""
    return named_beside(picture, ending)


def check_apart(**places: Path | None) -> None:
    """Refuse two outputs of one name, and outputs whose JSON files would be one.

    Raises:
        OutputError: two places that are one.
    """
    from latentedit.api.outputs import beside

    seen: dict[Path, str] = {}
    for option, place in places.items():
        if place is None:
            continue
        spots = place.resolve(), beside(place).resolve()
        for spot in spots:
            if spot in seen:
                raise OutputError(
                    f"--{seen[spot]} and --{option}, or the JSON files beside them, would be one file; got {place} for "
                    f"the second. Choose another --{option}"
                )
        seen |= dict.fromkeys(spots, option)


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
    """The picture, when everything that is to be read or written beside it (a sweep or an edited picture) can be.

    Raises:
        ImageError: no picture, or a mask that does not fit it.
        OutputError: a place that cannot be written to, or from which something is read.
    """
    from latentedit.api.outputs import check_beside
    from latentedit.display.page import check_page, check_sweep_output
    from latentedit.latents.masks import open_mask
    from latentedit.latents.pictures import Picture, check_output

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
    """The model that was named, or else the record's, if it comes with the package: a file has nothing downloaded.

    Raises:
        ConfigError: none was named, and the record's is not a bundled one.
    """
    from latentedit.models.registry import bundled_names

    if choice.model is None and record.model.name not in bundled_names():
        raise ConfigError(
            f"the record names {record.model.name!r}, which is no bundled model. Say where it is, with --model"
        )
    return choice if choice.model is not None else dataclasses.replace(choice, model=record.model.name)
