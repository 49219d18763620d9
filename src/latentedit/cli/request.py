"""What a command line asks for, refused here where it makes no sense, before anything is loaded."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latentedit.core.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from latentedit.api.record import RunRecord
    from latentedit.latents.pictures import Picture


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a picture should show.

    Args:
        to: a full caption, or None.
        changes: instead of that, one or several.
        caption: what it shows now; None to have it read.
        directions: instead of both, files of directions.
    """

    to: str | None
    changes: tuple[str, ...]
    caption: str | None
    directions: tuple[Path, ...] = ()

    @property
    def change(self) -> tuple[str, ...] | None:
        """The changes, or None where there is a caption."""
        return self.changes or None


def check_wanted(
    to: str | None, changes: Sequence[str] | None, caption: str | None, directions: Sequence[Path] | None = None
) -> Wanted:
    """Either a caption, or changes, or directions; and nothing empty.

    Args:
        to: a caption.
        changes: one or several.
        caption: what the picture shows.
        directions: files; None where the command takes none.

    Raises:
        ConfigError: two of them, none, an empty caption, a change that is none, or text that is none.
    """
    from latentedit.latents.captions.change import Change

    given = {"--to": to is not None, "--change": bool(changes), "--direction": bool(directions)}
    named = [option for option, there in given.items() if there]
    if not named:
        more = "" if directions is None else " or --direction FILE"
        raise ConfigError(
            f"expected --to CAPTION or --change 'OLD => NEW'{more}; got neither. Say what the picture should show"
        )
    if len(named) > 1:
        count = "both" if len(named) == 2 else "all"
        raise ConfigError(f"expected either {' or '.join(named)}; got {count}. Leave out what is not meant")
    check_texts({"--to": to, "--from": caption})
    for change in changes or ():
        _check_letters("--change", change)
    read = tuple(str(Change.parse(change)) for change in changes or ())
    return Wanted(
        to=None if to is None else to.strip(), changes=read, caption=caption, directions=tuple(directions or ())
    )


def check_texts(captions: Mapping[str, str | None]) -> None:
    """Refuse captions that say nothing.

    Args:
        captions: by the option that gave them; None where it was not given.

    Raises:
        ConfigError: an empty caption, or text that is none.
    """
    for option, text in captions.items():
        if text is None:
            continue
        if not text.strip():
            raise ConfigError(f"expected {option} to say what the picture shows; got an empty caption. Write one")
        _check_letters(option, text)


def _check_letters(option: str, text: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ConfigError(f"expected {option} in UTF-8; got bytes that are none. Check the terminal's encoding")


def check_strengths(strengths: Sequence[float] | None, changes: int) -> list[float]:
    """One strength a change, from one for all or one each; 1 where none is given.

    Raises:
        ConfigError: another number of strengths, or one that is not finite.
    """
    given = list(strengths or [1.0])
    for strength in given:
        if not math.isfinite(strength):
            raise ConfigError(f"expected --strength to be a finite number; got {strength}. Try 1.0")
    if len(given) not in (1, changes):
        raise ConfigError(
            f"expected --strength once, or once for each of {changes} changes; got it {len(given)} times. "
            "Give as many as there are changes"
        )
    return given * changes if len(given) == 1 else given


def default_output(picture: Path, ending: str) -> Path:
    """Beside the picture, under its name with another ending."""
    return picture.parent / f"{picture.stem}.{ending}"


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
                    f"expected different names for --{seen[spot]} and --{option}, and for the JSON files beside them; "
                    f"got {place} for the second. Choose another --{option}"
                )
        seen |= dict.fromkeys(spots, option)


def open_checked(picture: Path, *, output: Path, sheet: Path | None = None, mask: Path | None = None) -> "Picture":
    """The picture, when everything that is to be read or written beside it can be.

    Raises:
        ImageError: no picture, or a mask that does not fit it.
        OutputError: a place that cannot be written to, or from which something is read.
    """
    from latentedit.api.outputs import check_beside
    from latentedit.latents.masks import open_mask
    from latentedit.latents.pictures import Picture, check_output

    opened = Picture.open(picture)
    if mask is not None:
        open_mask(mask, opened.size)
    for place in filter(None, (output, sheet)):
        for source in filter(None, (picture, mask)):
            check_output(place, source=source, transparent=opened.image.mode == "RGBA" and place == output)
        check_beside(place)
    check_apart(output=output, sheet=sheet)
    return opened


def recorded_model(record: "RunRecord", named: str | None) -> str:
    """The model that was named, or else the record's, if it comes with the package: a file has nothing downloaded.

    Raises:
        ConfigError: none was named, and the record's is not a bundled one.
    """
    from latentedit.models.registry import bundled_names

    if named is None and record.model.name not in bundled_names():
        raise ConfigError(
            f"expected --model, for the record names {record.model.name!r}, which is no bundled model; got none. "
            "Say where it is"
        )
    return record.model.name if named is None else named
