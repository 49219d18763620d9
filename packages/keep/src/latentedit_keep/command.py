"""``latentedit keep``: any editor's change on the original's own pixels. The heavy imports wait for the command."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit_keep.console import complain, print_json, print_rows, progress_bar, say, warn
from latentedit_keep.errors import ConfigError, LatentEditError, OutputError
from latentedit_keep.files import named_beside

if TYPE_CHECKING:
    from latentedit_keep.api import KeepResult
    from latentedit_keep.progress import Progress

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]

_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".ppm")


def keep(
    original: Annotated[
        Path, typer.Argument(help="The picture as it was, or a folder of them.", show_default=False, metavar="ORIGINAL")
    ],
    edited: Annotated[
        Path,
        typer.Argument(
            help="What an editor made of it, of any size; or a folder with pictures of the same names.",
            show_default=False,
            metavar="EDITED",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the result goes; beside the original by default.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="Where a change may be kept: of the original's size, white for yes.")
    ] = None,
    strength: Annotated[float, typer.Option("--strength", help="From 0, the original, to 1, the whole change.")] = 1.0,
    only: Annotated[
        str | None, typer.Option("--only", help="Numbers of the separate changes to be kept, such as 1,3.")
    ] = None,
    view: Annotated[Path | None, typer.Option("--view", help="Also write a page (.html) that compares them.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep only what any editor changed, on the original's own pixels: no shift, no cast, no rot. Needs no model.

    Examples:
        latentedit keep photo.jpg edited.png -o photo.kept.png
        latentedit keep photo.jpg edited.png --only 1,3 --strength 0.7
        latentedit keep photo.jpg edited.png --mask mask.png --view compare.html
        latentedit keep originals/ edited/ -o kept/
    """
    numbers = None if only is None else _numbers(only)
    if original.is_dir() or edited.is_dir():
        alone = {"--mask": mask, "--only": only, "--view": view}
        given = [name for name, value in alone.items() if value is not None]
        if given:
            raise ConfigError(f"{given[0]} is for a single picture; got a folder. Name one picture")
        _keep_folder(original, edited, output, strength=strength, as_json=as_json, quiet=quiet)
        return
    output = output if output is not None else named_beside(original, "kept.png")
    with progress_bar(quiet=quiet or as_json) as progress:
        told = _keep_one(
            original, edited, output, mask=mask, strength=strength, only=numbers, view=view, progress=progress
        )
    if as_json:
        print_json(told)
    elif not quiet:
        _print(told)
    if told["verdict"] == "different pictures":
        complain(f"{edited} shows nothing of {original}: the result is the original")
        raise typer.Exit(1)


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\s*\d{1,6}(\s*,\s*\d{1,6})*\s*", text):
        raise ConfigError(f"--only takes numbers with commas between them, such as 1,3; got {text!r}")
    return tuple(int(number) for number in text.split(","))


def _keep_one(
    original: Path,
    edited: Path,
    output: Path,
    *,
    mask: Path | None = None,
    strength: float,
    only: tuple[int, ...] | None = None,
    view: Path | None = None,
    progress: "Progress | None" = None,
) -> dict[str, Any]:
    """Write one result, and what is to be said of it."""
    from latentedit_keep.api import check_keep_output
    from latentedit_keep.api import keep as keep_change
    from latentedit_keep.files import check_place
    from latentedit_keep.pictures import read_pixels

    read = [place for place in (original, edited, mask) if place is not None]
    first = read_pixels(original)
    check_keep_output(first, output, inputs=read)
    if view is not None:
        _check_view(view, output, read)
        check_place(view)
    result = keep_change(first, edited, mask=mask, strength=strength, only=only, progress=progress)
    result.save(output)
    result = result.as_written(output)
    if view is not None:
        result.view().save(view)
    return {"original": original, "edited": edited, "output": output, "view": view, **_told(result)}


def _check_view(view: Path, output: Path, read: list[Path]) -> None:
    if view.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"the page {view.name!r} has no ending of a page. Use .html")
    if view.resolve() in {place.resolve() for place in (output, *read)}:
        raise OutputError(f"the page {view} is one of the pictures. Choose another name")


def _told(result: "KeepResult") -> dict[str, Any]:
    return {**result.measures, "lines": result.lines}


def _print(told: dict[str, Any]) -> None:
    say(f"{told['original']} + {told['edited']} -> {told['output']}")
    print_rows([("verdict", told["verdict"])])
    print_rows([("", line) for line in told["lines"]])
    if len(told["changes"]) > 1:
        for one in told["changes"][:9]:
            left, top, right, bottom = one.box
            where = f"{100 * one.share:.2f} % of the picture, {left},{top} to {right},{bottom}"
            print_rows([(f"change {one.number}", where)])
    if told["view"] is not None:
        print_rows([("view", str(told["view"]))])
    warn(told["doubts"])


def _keep_folder(
    originals: Path, edited: Path, output: Path | None, *, strength: float, as_json: bool, quiet: bool
) -> None:
    """Pairs by name, whatever the endings; what fails is listed at the end."""
    from latentedit_keep.files import make_folder

    if not (originals.is_dir() and edited.is_dir()):
        raise ConfigError(f"either both are folders or none is; got {originals} and {edited}")
    if output is None:
        raise ConfigError("a folder needs a folder for the results. Name one with -o")
    if output.resolve() in (originals.resolve(), edited.resolve()):
        raise OutputError(f"the folder {output} holds the pictures themselves. Choose another name")
    first, second = _by_name(originals), _by_name(edited)
    pairs = [name for name in first if name in second]
    if not pairs:
        raise ConfigError(f"no picture of {originals} has one of the same name in {edited}. Rename them alike")
    make_folder(output)
    done: list[dict[str, Any]] = []
    failed: dict[str, str] = {name: f"no picture of this name in {edited}" for name in first if name not in second}
    with progress_bar(quiet=quiet or as_json) as progress:
        for at, name in enumerate(pairs, start=1):
            try:
                done.append(_keep_one(first[name], second[name], output / f"{name}.png", strength=strength))
            except LatentEditError as error:
                failed[name] = str(error)
            else:
                if not (as_json or quiet):
                    _print(done[-1])
            if progress is not None:
                progress("pictures", at, len(pairs))
    if as_json:
        print_json({"results": done, "failed": failed})
    for name, why in failed.items():
        complain(f"{name}: {why}")
    if failed or any(one["verdict"] == "different pictures" for one in done):
        raise typer.Exit(1)


def _by_name(folder: Path) -> dict[str, Path]:
    """Pictures of a folder by their names without ending, in order."""
    found: dict[str, Path] = {}
    for place in sorted(folder.iterdir()):
        if place.suffix.lower() not in _ENDINGS or place.name.startswith(".") or place.is_dir():
            continue
        other = found.setdefault(place.stem, place)
        if other != place:
            raise ConfigError(
                f"{other.name} and {place.name} in {folder} have one name but for their endings. Rename one of them"
            )
    return found
