"""``latentedit keep``: an editor's change on the original's own pixels. Heavy imports are in the functions."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.core import options
from latentedit.core.console import complain, echo, print_json, print_rows, progress_bar, warn, were_replaced
from latentedit.core.errors import ConfigError, OutputError
from latentedit.core.files import check_place, existing, make_folder, sibling_path
from latentedit.core.strengths import read_strength
from latentedit.keeping.pairs import LISTS, Pair, each_pair, edits_of, is_image, pairs_of, slug_of

if TYPE_CHECKING:
    from latentedit.photo.provenance import Declaration

_LARGER = 3  # times the original's bytes, from which on a result is called large

_ORIGINAL = "The original image, a folder, or a list of pairs (.csv, .json)."
_EDITED = "The edited image, of any size; several, with -o FOLDER; or a folder of the same names. Omit it for a list."
_OUTPUT = "Output file, or folder for many pairs. Default: a new file next to the original, if anything changed."
_MASK = "Mask, white or in one color: all that is seen there is kept, no more; or a folder of masks of the same names."
_STRENGTH = "From 0 (the original) to 1 (the full change)."
_AI = "Say in the result's XMP that AI made the change, also if the edited file does not declare that."
_IN_A_ROW = "Each edit was made from the one before it, in this order: put the changes of all on the original."
_ONLY = "Numbers of the changes to keep, such as 1,3. Default: all but the faint ones."
_SAVE_MASK = "Also write the opacity of the change: .png, .tif or .bmp."
_SAVE_LAYER = "Also write the change as a layer over the original: .png, .ora or .tif."


def keep(
    original: Annotated[Path, options.argument(_ORIGINAL)],
    edited: Annotated[list[Path] | None, options.argument(_EDITED)] = None,
    output: Annotated[Path | None, options.output(_OUTPUT)] = None,
    mask: Annotated[Path | None, options.mask(_MASK)] = None,
    box: options.Box = None,
    in_a_row: Annotated[bool, typer.Option("--in-a-row", help=_IN_A_ROW)] = False,
    strength: Annotated[str, typer.Option("--strength", help=_STRENGTH, metavar="FLOAT")] = "1",
    only: Annotated[str | None, typer.Option("--only", help=_ONLY)] = None,
    ai: Annotated[bool, typer.Option("--ai", help=_AI)] = False,
    view: Annotated[Path | None, typer.Option("--view", help="Also write an HTML page that compares them.")] = None,
    save_mask: Annotated[Path | None, typer.Option("--save-mask", help=_SAVE_MASK)] = None,
    save_layer: Annotated[Path | None, typer.Option("--save-layer", help=_SAVE_LAYER)] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Copy only what an editor changed onto the original's own pixels.

    Exit codes: 0 done, 1 the images cannot be aligned or nothing changed inside the mask: then no result is written.

    Examples:
        latentedit keep photo.jpg edited.png --only 1,3 --save-layer change.ora
        latentedit keep photo.jpg edited.png --box 40,60,200,150 --view compare.html
        latentedit keep photo.jpg hat.png scarf.png -o kept/
        latentedit keep photo.jpg hat.png hat-and-scarf.png --in-a-row
        latentedit keep originals/ edited/ -o kept/
    """
    if only is not None and not re.fullmatch(r"\s*\d{1,6}(\s*,\s*\d{1,6})*\s*", only):
        raise ConfigError(f"--only takes numbers of changes separated by commas, such as 1,3; got {only!r}")
    numbers = None if only is None else tuple(int(number) for number in only.split(","))
    degree = read_strength(strength, "--strength", "Try 0.7", least=0, most=1)
    edits = edited or []
    is_many = original.is_dir() or original.suffix.lower() in LISTS or any(one.is_dir() for one in edits)
    if in_a_row and (is_many or len(edits) < 2):
        raise ConfigError("--in-a-row takes an original and two or more edits of it. Name these files, in their order")
    if is_many or (len(edits) > 1 and not in_a_row):
        single = {"--box": box, "--only": only, "--view": view, "--save-mask": save_mask, "--save-layer": save_layer}
        if box and "," not in box[0]:
            raise ConfigError("a --box has commas and no spaces. Give whole numbers such as 40,60,200,150")
        for name, value in single.items():
            if value is not None:
                raise ConfigError(f"{name} is for a single pair, not for many. Leave it out, or name two images")
        given: dict[str, Any] = {"strength": degree, "ai": ai}
        _keep_many(original, edits, mask, output, **given, as_json=as_json, quiet=quiet)
        return
    if not edits:
        raise ConfigError(
            "the edited image is missing. Name an original and an edited image; see `latentedit keep --help`"
        )
    given = {"between": edits[:-1], "mask": mask, "box": box or None, "strength": degree, "only": numbers, "ai": ai}
    given |= {"view": view, "mask_file": save_mask, "layer_file": save_layer}
    with progress_bar(quiet=quiet or as_json) as progress:
        report, failed = _keep_one(original, edits[-1], output, progress=progress, **given)
    if as_json:
        print_json(report)
    elif not quiet:
        _print(report)
        is_whole = report["recolored"] or report["found"] == "redrawn"
        if is_whole and report["changes"] and only is None and mask is None and not box:
            complain("hint: --only 1 keeps that change alone, and the original everywhere else")
        if output is None and (written := report["output"]) is not None:
            _compare_sizes(original, written)
    if failed:
        complain(failed)
        raise typer.Exit(1)


def _compare_sizes(original: Path, written: Path) -> None:
    """A hint where a JPEG's result is a much larger PNG."""
    from latentedit.photo.saving import format_of

    before, after = (place.stat().st_size / 1e6 for place in (original, written))
    if format_of(original) == "JPEG" and after > max(_LARGER * before, 1):
        sizes = f"{written.name} has {after:.1f} MB, {original.name} {before:.1f} MB"
        complain(f"hint: {sizes}. -o {written.with_suffix('.jpg').name} makes it small, and costs a little everywhere")


def _keep_one(
    original: Path,
    edited: Path,
    output: Path | None,
    *,
    stem: Path | None = None,
    view: Path | None = None,
    mask_file: Path | None = None,
    layer_file: Path | None = None,
    between: Sequence[Path] = (),
    mask: Path | None = None,
    strength: float = 1.0,
    **options: Any,
) -> tuple[dict[str, Any], str]:
    """Write one result, and return its measurements and why there is none; takes the options of `keep`.

    Without an output, it is written under the stem with the usual ending, or next to the original if it differs.
    """
    from latentedit.keeping import api
    from latentedit.keeping.writing import failure, is_copy, write
    from latentedit.photo.images import read_pixels
    from latentedit.photo.layers import check_extras
    from latentedit.photo.saving import check_keep_output, usual_ending

    api.check_only(options.get("only"))
    read = [one for one in (original, *between, edited, mask) if one is not None]
    first = read_pixels(original)
    ending = usual_ending(first)
    usual = sibling_path(original, f"kept.{ending}") if stem is None else Path(f"{stem}.{ending}")
    place = output or usual
    check_keep_output(first, place, inputs=read)
    if view is not None:
        check_page(view, "--view", place, *read)
    check_extras(mask_file, layer_file, place, *read)
    result = api.keep(first, edited, between=between, mask=mask, strength=strength, **options)
    failed = failure(result, original, edited, mask)
    written = None if failed or (output is stem is None and is_copy(result)) else place
    replaced = existing(written, view, mask_file, layer_file)
    result, metadata = write(result, written, mask_file, layer_file)
    if view is not None:
        result.view().save(view)
    files: dict[str, Any] = {"original": original, "edited": edited, "output": written, "view": view}
    files |= {"between": between} if between else {}
    files |= {"mask_file": mask_file, "layer_file": layer_file}
    measured = {**result.measures, "lines": result.lines, **dataclasses.asdict(metadata)}
    return {**files, "replaced": replaced, **measured}, failed


def check_page(page: Path, name: str, *inputs: Path) -> None:
    """Raise an `OutputError` if no HTML page can be written, or it would overwrite an image."""
    if page.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{name} writes an HTML page; got {page.name!r}. Use the extension .html")
    if page.resolve() in {place.resolve() for place in inputs}:
        raise OutputError(f"the page {page} would overwrite an image. Choose another name")
    check_place(page)


def _print(report: dict[str, Any]) -> None:
    images = (report["original"], *report.get("between", ()), report["edited"])
    echo(f"{' + '.join(map(str, images))} -> {report['output'] or 'not written'}")
    rows = [("found", report["verdict"]), *(("", line) for line in report["lines"])]
    is_listed = len(report["changes"]) > 1 or report["changes_left_out"] or report["found"] == "redrawn"
    for one in report["changes"][:9] if is_listed else ():
        where = "{:.2f} % of the image, {},{} to {},{}".format(100 * one.share, *one.box)
        where += ", faint" * one.faint + ", left out" * (one.number in report["changes_left_out"])
        rows.append((f"change {one.number}", where))
    rows += declared_rows(report["declares"])
    also = {"view": report["view"], "mask": report["mask_file"], "layer": report["layer_file"]}
    print_rows([*rows, *((what, str(place)) for what, place in also.items() if place is not None)])
    warn([*report["doubts"], *were_replaced(report["replaced"])])


def declared_rows(declares: Mapping[Any, "Declaration | None"]) -> list[tuple[str, str]]:
    """A row for each image whose file says something of its own making."""
    return [(role, one.words) for role, one in declares.items() if one is not None]


def _keep_many(
    originals: Path,
    edits: Sequence[Path],
    mask: Path | None,
    output: Path | None,
    *,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Keep each pair of a list, of two folders or of one image with its edits; failures are listed at the end."""
    if missing := [place for place in (originals, *edits) if not place.exists()]:
        raise ConfigError(f"there is no {str(missing[0])!r}. Check its name, or give an output with -o")
    several = len(edits) > 1 and not any(place.is_dir() for place in (originals, *edits))
    if edits and not several and not (len(edits) == 1 and originals.is_dir() and edits[0].is_dir()):
        raise ConfigError(f"original and edited image must be two files or two folders; got {originals} and {edits[0]}")
    if output is None:
        row = ", or give --in-a-row if each edit was made from the one before" if several else ""
        raise ConfigError(f"many pairs need an output folder. Name one with -o{row}")
    if is_image(output):
        raise OutputError(f"-o names the folder of the results here; got {output}. Leave the extension out")
    if several:
        pairs, failed = edits_of(originals, edits, mask), dict[str, str]()
    else:
        pairs, failed = pairs_of(originals, next(iter(edits), None), mask)
    done = list[dict[str, Any]]()
    inputs = {originals, *(place.parent for pair in pairs.values() for place in pair if place is not None)}
    if output.resolve() in {place.resolve() for place in inputs}:
        raise OutputError(f"the output folder {output} is an input folder. Choose another one")
    if edits and originals.is_dir() and originals.resolve() == edits[0].resolve():
        where = "Put the edited images into a folder of their own, or name the pairs in a list"
        raise ConfigError(f"{originals} is named twice, so each image would be its own edit. {where}")
    make_folder(output)

    def kept(task: tuple[str, Pair]) -> tuple[dict[str, Any], str]:
        name, (first, second, mask) = task
        stem = output / (name if originals.is_dir() else slug_of(name))
        return _keep_one(first, second, None, stem=stem, mask=mask, **options)

    with progress_bar(quiet=quiet or as_json) as progress:
        for name, found in each_pair(pairs, lambda: kept, kind="images", progress=progress):
            if isinstance(found, str):
                failed[name] = found
                continue
            report, why = found
            done.append(report)
            if why:
                failed[name] = why
            if not (as_json or quiet):
                _print(report)
    if as_json:
        print_json({"results": done, "failed": failed})
    lines = [f"{name}: {why}" for name, why in failed.items()]
    if quiet and len(lines) > 1 and pairs.keys() <= failed.keys():  # probably for one reason
        lines = [f"none of {len(lines)} images was kept; the first is {lines[0]}"]
    for line in lines:
        complain(line)
    if failed:
        raise typer.Exit(1)
