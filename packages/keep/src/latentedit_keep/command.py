"""``latentedit keep``: an editor's change on the original's own pixels. Heavy imports are in the functions."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit_keep.base.console import complain, echo, print_json, print_rows, progress_bar, warn
from latentedit_keep.base.errors import ConfigError, LatentEditError, OutputError
from latentedit_keep.base.files import check_place, free_name, make_folder, sibling_path

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]

_EDITED = "The output of an editor, of any size; or a folder of images with the same names."
_OUTPUT = "Output file; by default a new one next to the original."
_MASK = "White where a change may be kept; of the original's size."
_ONLY = "Numbers of the separate changes to keep, such as 1,3."
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".ppm", ".heic", ".heif")


def keep(
    original: Annotated[Path, typer.Argument(help="The original, or a folder of images.", show_default=False)],
    edited: Annotated[Path, typer.Argument(help=_EDITED, show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help=_OUTPUT)] = None,
    mask: Annotated[Path | None, typer.Option("--mask", help=_MASK)] = None,
    strength: Annotated[float, typer.Option("--strength", help="From 0, the original, to 1, the whole change.")] = 1.0,
    only: Annotated[str | None, typer.Option("--only", help=_ONLY)] = None,
    view: Annotated[Path | None, typer.Option("--view", help="Also write a page (.html) that compares them.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep only an editor's change, on the original's own pixels: no shift, no color cast, no loss. Needs no model.

    Examples:
        latentedit keep photo.jpg edited.png -o photo.kept.png
        latentedit keep photo.jpg edited.png --only 1,3 --strength 0.7
        latentedit keep photo.jpg edited.png --mask mask.png --view compare.html
        latentedit keep originals/ edited/ -o kept/
    """
    if only is not None and not re.fullmatch(r"\s*\d{1,6}(\s*,\s*\d{1,6})*\s*", only):
        raise ConfigError(f"--only takes numbers with commas between them, such as 1,3; got {only!r}")
    numbers = None if only is None else tuple(int(number) for number in only.split(","))
    if original.is_dir() or edited.is_dir():
        for name, value in {"--mask": mask, "--only": only, "--view": view}.items():
            if value is not None:
                raise ConfigError(f"{name} is for a single image; got a folder. Name one image")
        _keep_folder(original, edited, output, strength=strength, as_json=as_json, quiet=quiet)
        return
    output = output if output is not None else free_name(sibling_path(original, "kept.png"))
    options: dict[str, Any] = {"mask": mask, "strength": strength, "only": numbers}
    with progress_bar(quiet=quiet or as_json) as progress:
        report = _keep_one(original, edited, output, view=view, progress=progress, **options)
    if as_json:
        print_json(report)
    elif not quiet:
        _print(report)
    if report["verdict"] == "different images":
        complain(f"{edited} shows nothing of {original}: the result is the original")
        raise typer.Exit(1)


def _keep_one(
    original: Path, edited: Path, output: Path, *, view: Path | None = None, mask: Path | None = None, **options: Any
) -> dict[str, Any]:
    """Write one result and return its measurements; takes the options of `keep`."""
    from latentedit_keep import api
    from latentedit_keep.base.images import read_pixels

    read = [place for place in (original, edited, mask) if place is not None]
    first = read_pixels(original)
    api.check_keep_output(first, output, inputs=read)
    if view is not None:
        if view.suffix.lower() not in (".html", ".htm"):
            raise OutputError(f"the page {view.name!r} must end with .html. Use .html")
        if view.resolve() in {place.resolve() for place in (output, *read)}:
            raise OutputError(f"the page {view} is one of the images. Choose another name")
        check_place(view)
    result, replaced = api.keep(first, edited, mask=mask, **options), output.exists()
    result.save(output)
    result = result.as_written(output)
    if view is not None:
        result.view().save(view)
    files = {"original": original, "edited": edited, "output": output, "view": view}
    return {**files, "replaced": replaced, **result.measures, "lines": result.lines}


def _print(report: dict[str, Any]) -> None:
    echo(f"{report['original']} + {report['edited']} -> {report['output']}")
    rows = [("verdict", report["verdict"]), *(("", line) for line in report["lines"])]
    for one in report["changes"][:9] if len(report["changes"]) > 1 else ():
        left, top, right, bottom = one.box
        where = f"{100 * one.share:.2f} % of the image, {left},{top} to {right},{bottom}"
        rows.append((f"change {one.number}", where))
    print_rows(rows if report["view"] is None else [*rows, ("view", str(report["view"]))])
    warn([*report["doubts"], *[f"{report['output']} was there before and was replaced"][: int(report["replaced"])]])


def _keep_folder(
    originals: Path, edited: Path, output: Path | None, *, strength: float, as_json: bool, quiet: bool
) -> None:
    """Keep each pair of images with the same name; failures are listed at the end."""
    if not (originals.is_dir() and edited.is_dir()):
        raise ConfigError(f"either both are folders or none is; got {originals} and {edited}")
    if output is None:
        raise ConfigError("a folder needs a folder for the results. Name one with -o")
    if output.resolve() in (originals.resolve(), edited.resolve()):
        raise OutputError(f"the folder {output} holds the images themselves. Choose another name")
    (pairs, failed), done = paired(originals, edited), list[dict[str, Any]]()
    make_folder(output)
    with progress_bar(quiet=quiet or as_json) as progress:
        for at, (name, pair) in enumerate(pairs.items(), start=1):
            try:
                done.append(_keep_one(*pair, output / f"{name}.png", strength=strength))
                if not (as_json or quiet):
                    _print(done[-1])
            except LatentEditError as error:
                failed[name] = str(error)
            if progress is not None:
                progress("images", at, len(pairs))
    if as_json:
        print_json({"results": done, "failed": failed})
    for name, why in failed.items():
        complain(f"{name}: {why}")
    if failed or any(one["verdict"] == "different images" for one in done):
        raise typer.Exit(1)


def paired(originals: Path, edited: Path) -> tuple[dict[str, tuple[Path, Path]], dict[str, str]]:
    """Images of two folders with the same name, and why others of the first are left out."""
    first, second = images_by_name(originals), images_by_name(edited)
    pairs = {name: (first[name], second[name]) for name in first if name in second}
    if not pairs:
        raise ConfigError(f"no image of {originals} has one of the same name in {edited}. Rename them alike")
    return pairs, {name: f"no image of this name in {edited}" for name in first if name not in second}


def images_by_name(folder: Path) -> dict[str, Path]:
    """Images of a folder by name without ending, sorted."""
    found: dict[str, Path] = {}
    for place in sorted(folder.iterdir()):
        if place.suffix.lower() not in _ENDINGS or place.name.startswith(".") or place.is_dir():
            continue
        if (other := found.setdefault(place.stem, place)) != place:
            both = f"{other.name} and {place.name} in {folder}"
            raise ConfigError(f"{both} differ in their endings only. Rename one of them")
    return found
