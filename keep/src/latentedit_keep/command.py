"""``latentedit keep``: an editor's change on the original's own pixels. Heavy imports are in the functions."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit_keep import options
from latentedit_keep.base.console import complain, echo, print_json, print_rows, progress_bar, warn, were_replaced
from latentedit_keep.base.errors import ConfigError, OutputError
from latentedit_keep.base.files import check_place, existing, make_folder, sibling_path
from latentedit_keep.base.strengths import read_strength
from latentedit_keep.pairs import each_pair, is_image, paired

if TYPE_CHECKING:
    from latentedit_keep.base.provenance import Declaration

_EDITED = "The edited image, of any size, or a folder of images with the same names."
_OUTPUT = "Output file, or folder for folders. Default: a new file next to the original."
_MASK = "Mask, white or in one color where changes may be kept."
_STRENGTH = "From 0 (the original) to 1 (the full change)."
_AI = "Say in the result's XMP that AI made the change, also if the edited file does not declare that."
_SIGN = "Add content credentials (C2PA), signed with the certificates and the key in this PEM file."
_ONLY = "Numbers of the changes to keep, such as 1,3. Default: all."
_SAVE_MASK = "Also write the opacity of the change: .png, .tif or .bmp."
_SAVE_LAYER = "Also write the change as a layer over the original: .png, .ora or .tif."


def keep(
    original: Annotated[Path, options.argument("The original image, or a folder of images.")],
    edited: Annotated[Path, options.argument(_EDITED)],
    output: Annotated[Path | None, options.output(_OUTPUT)] = None,
    mask: Annotated[Path | None, options.mask(_MASK)] = None,
    strength: Annotated[str, typer.Option("--strength", help=_STRENGTH, metavar="FLOAT")] = "1",
    only: Annotated[str | None, typer.Option("--only", help=_ONLY)] = None,
    ai: Annotated[bool, typer.Option("--ai", help=_AI)] = False,
    sign: Annotated[Path | None, typer.Option("--sign", help=_SIGN)] = None,
    view: Annotated[Path | None, typer.Option("--view", help="Also write an HTML page that compares them.")] = None,
    save_mask: Annotated[Path | None, typer.Option("--save-mask", help=_SAVE_MASK)] = None,
    save_layer: Annotated[Path | None, typer.Option("--save-layer", help=_SAVE_LAYER)] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Copy only what an editor changed onto the original's own pixels.

    Examples:
        latentedit keep photo.jpg edited.png -o photo.kept.png
        latentedit keep photo.jpg edited.png --only 1,3 --strength 0.7
        latentedit keep photo.jpg edited.png --mask mask.png --view compare.html
        latentedit keep photo.jpg edited.png --save-layer change.ora
        latentedit keep originals/ edited/ -o kept/
    """
    if only is not None and not re.fullmatch(r"\s*\d{1,6}(\s*,\s*\d{1,6})*\s*", only):
        raise ConfigError(f"--only takes numbers of changes separated by commas, such as 1,3; got {only!r}")
    numbers = None if only is None else tuple(int(number) for number in only.split(","))
    degree = read_strength(strength, "--strength", "Try 0.7", least=0, most=1)
    if original.is_dir() or edited.is_dir():
        saved = {"--view": view, "--save-mask": save_mask, "--save-layer": save_layer}
        for name, value in ({"--mask": mask, "--only": only} | saved).items():
            if value is not None:
                raise ConfigError(f"{name} is for a single pair, not for folders. Leave it out, or name two images")
        _keep_folder(original, edited, output, strength=degree, ai=ai, sign=sign, as_json=as_json, quiet=quiet)
        return
    from latentedit_keep.api import INVERTED

    output = output if output is not None else sibling_path(original, "kept.png")
    given: dict[str, Any] = {"mask": mask, "strength": degree, "only": numbers, "ai": ai, "sign": sign}
    given |= {"view": view, "mask_file": save_mask, "layer_file": save_layer}
    with progress_bar(quiet=quiet or as_json) as progress:
        report = _keep_one(original, edited, output, progress=progress, **given)
    none = INVERTED in report["doubts"] or bool(report["changes"] and not report["changed_share"])  # in the mask
    missed = mask is not None and degree > 0 and none
    if as_json:
        print_json(report)
    elif not quiet:
        _print(report, missed=missed, only=numbers)
        if report["found"] == "colors changed" and report["changes"] and only is None:
            complain("hint: --only 1 keeps that change alone, and the original's colors everywhere else")
    if report["found"] == "different images":
        complain(f"{edited} cannot be aligned with {original}; the result is the unchanged original")
    if missed or report["found"] == "different images":
        raise typer.Exit(1)


def _keep_one(
    original: Path,
    edited: Path,
    output: Path,
    *,
    view: Path | None = None,
    mask_file: Path | None = None,
    layer_file: Path | None = None,
    mask: Path | None = None,
    sign: Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Write one result and return its measurements; takes the options of `keep`."""
    from latentedit_keep import api
    from latentedit_keep.base.images import read_pixels
    from latentedit_keep.base.saving import check_keep_output
    from latentedit_keep.layers import check_extras
    from latentedit_keep.signing import read_signer

    read = [place for place in (original, edited, mask) if place is not None]
    first = read_pixels(original)
    check_keep_output(first, output, inputs=read)
    if sign is not None:
        read_signer(sign)  # before the work
    if view is not None:
        if view.suffix.lower() not in (".html", ".htm"):
            raise OutputError(f"--view writes an HTML page; got {view.name!r}. Use the extension .html")
        if view.resolve() in {place.resolve() for place in (output, *read)}:
            raise OutputError(f"the page {view} would overwrite an image. Choose another name")
        check_place(view)
    check_extras(mask_file, layer_file, output, *read, *([sign] if sign is not None else ()))
    result, replaced = api.keep(first, edited, mask=mask, **options), existing(output, view, mask_file, layer_file)
    if layer_file is not None:  # before all else, since not every change can be a layer
        result.save_layers(layer_file)
    if mask_file is not None:
        result.save_mask(mask_file)
    fate = result.save(output, sign=sign)
    result = result.as_written(output)
    if view is not None:
        result.view().save(view)
    files = {"original": original, "edited": edited, "output": output, "view": view}
    files |= {"mask_file": mask_file, "layer_file": layer_file}
    return {**files, "replaced": replaced, **result.measures, "lines": result.lines, **dataclasses.asdict(fate)}


def _print(report: dict[str, Any], *, missed: bool = False, only: Sequence[int] | None = None) -> None:
    echo(f"{report['original']} + {report['edited']} -> {report['output']}")
    but = ", but nothing inside the mask: the result is the unchanged original"
    rows = [("found", report["found"] + but * missed), *(("", line) for line in report["lines"])]
    for one in report["changes"][:9] if len(report["changes"]) > 1 else ():
        where = "{:.2f} % of the image, {},{} to {},{}".format(100 * one.share, *one.box)
        rows.append((f"change {one.number}", where + ", left out" * (only is not None and one.number not in only)))
    rows += declared_rows(report["declares"])
    also = {"view": report["view"], "mask": report["mask_file"], "layer": report["layer_file"]}
    print_rows([*rows, *((what, str(place)) for what, place in also.items() if place is not None)])
    warn([*report["doubts"], *were_replaced(report["replaced"])])


def declared_rows(declares: Mapping[Any, "Declaration | None"]) -> list[tuple[str, str]]:
    """A row for each image whose file says something of its own making."""
    return [(role, one.words) for role, one in declares.items() if one is not None]


def _keep_folder(
    originals: Path,
    edited: Path,
    output: Path | None,
    *,
    strength: float,
    ai: bool,
    sign: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Keep each pair of images with the same name; failures are listed at the end."""
    if missing := [place for place in (originals, edited) if not place.exists()]:
        raise ConfigError(f"there is no folder {missing[0]}. Check its name")
    if not (originals.is_dir() and edited.is_dir()):
        raise ConfigError(f"original and edited image must be two files or two folders; got {originals} and {edited}")
    if output is None:
        raise ConfigError("folders of images need an output folder. Name one with -o")
    if is_image(output):
        raise OutputError(f"-o names the folder of the results here; got {output}. Leave the extension out")
    if output.resolve() in (originals.resolve(), edited.resolve()):
        raise OutputError(f"the output folder {output} is an input folder. Choose another one")
    (pairs, failed), done = paired(originals, edited), list[dict[str, Any]]()
    make_folder(output)

    def kept(task: tuple[str, tuple[Path, Path]]) -> dict[str, Any]:
        name, pair = task
        return _keep_one(*pair, output / f"{name}.png", strength=strength, ai=ai, sign=sign)

    with progress_bar(quiet=quiet or as_json) as progress:
        for name, report in each_pair(pairs, lambda: kept, kind="images", progress=progress):
            if isinstance(report, str):
                failed[name] = report
                continue
            done.append(report)
            if not (as_json or quiet):
                _print(report)
    if as_json:
        print_json({"results": done, "failed": failed})
    lines = [f"{name}: {why}" for name, why in failed.items()]
    if quiet and not done and len(lines) > 1:  # probably for one reason
        lines = [f"none of {len(lines)} images was kept; the first is {lines[0]}"]
    for line in lines:
        complain(line)
    if failed or any(one["found"] == "different images" for one in done):
        raise typer.Exit(1)
