"""``latentedit check``: whether an edit happened and what else changed. Heavy imports are in the functions."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli.keep import check_page, declared_rows
from latentedit.core import options
from latentedit.core.console import complain, echo, print_json, print_rows, progress_bar, warn
from latentedit.core.errors import ConfigError
from latentedit.keeping.pairs import LISTS

if TYPE_CHECKING:
    from latentedit.keeping.checking import Report

_ORIGINAL = "The original image, a folder, or a list of pairs (.csv, .json)."
_EDITED = "The edited image, or a folder of images with the same names. Omit it for a list."
_MASK = "Mask, white or in one color where the image may change; or a folder of masks with the same names."
_OUTSIDE = "Share that may change outside the mask, such as 0.1%, the default with a mask; without one, anywhere."
_OUTPUT = "Page (.html) on a pair, or folder for the reports on many; run again to resume."
_WORKERS = "Number of processes for many pairs. Default: one per core."
_CODES = {"failed": 1, "unsure": 3, "passed": 0, "measured": 0}  # the worst first, which many pairs exit with


def check(
    original: Annotated[Path, options.argument(_ORIGINAL)],
    edited: Annotated[Path | None, options.argument(_EDITED)] = None,
    mask: Annotated[Path | None, options.mask(_MASK)] = None,
    box: options.Box = None,
    max_outside: Annotated[str | None, typer.Option("--max-outside", help=_OUTSIDE)] = None,
    expect_size: Annotated[bool, typer.Option("--expect-size", help="Fail if the sizes differ.")] = False,
    panel: Annotated[Path | None, typer.Option("--panel", help="Write an image that outlines the changes.")] = None,
    output: Annotated[Path | None, options.output(_OUTPUT)] = None,
    workers: Annotated[int | None, typer.Option("--workers", help=_WORKERS)] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure what an editor changed, and compare it with a mask or a limit.

    Exit codes: 0 passed or only measured, 1 failed, 3 unsure. Without a mask or a limit nothing can fail: the command
    cannot know what was requested.

    Examples:
        latentedit check photo.jpg edited.png
        latentedit check photo.jpg edited.png --mask mask.png --max-outside 0.1%
        latentedit check photo.jpg edited.png -o report.html
        latentedit check originals/ edited/ -o report/
        latentedit check pairs.csv -o report/
    """
    from latentedit.keeping import checking
    from latentedit.photo.saving import check_output, save_image

    limit, many = None if max_outside is None else share(max_outside, "--max-outside"), original.is_dir()
    limits: dict[str, Any] = {"max_outside": limit, "expect_size": expect_size}
    if many or original.suffix.lower() in LISTS:
        from latentedit.keeping.check_folder import NOT_CHECKED, check_many, counted

        if box:
            raise ConfigError("--box is for a single pair, not for many. Leave it out, or name two images")
        if panel is not None:
            raise ConfigError("--panel is for a single pair; reports on many pairs include panels. Leave it out")
        if many and edited is not None and not edited.is_dir():
            raise ConfigError(f"{original} is a folder and {edited} is not. Name two images, or two folders and -o")
        if output is None:
            raise ConfigError("many pairs need an output folder for the reports. Name one with -o")
        with progress_bar(quiet=quiet or as_json) as progress:
            printed = check_many(original, edited, mask, output, workers=workers, progress=progress, **limits)
        words = {name: checking.outcome(report) for name, report in printed["results"].items()}
        if as_json:
            print_json(printed)
        elif not quiet:
            for name, word in words.items():
                echo(f"{word}  {name}: {printed['results'][name]['verdict']}")
            counts = counted([*words.values(), *[NOT_CHECKED] * len(printed["failed"])])
            echo(f"{counts}; see {output / 'index.html'} and {output / 'check.csv'}")
        for name, why in printed["failed"].items():
            complain(f"{name}: {why}")
        found = {"passed", *words.values()} | ({"failed"} if printed["failed"] else set())
        raise typer.Exit(next(code for word, code in _CODES.items() if word in found))
    if edited is None:
        raise ConfigError(
            "the edited image is missing. Name an original and an edited image; see `latentedit check --help`"
        )
    if workers is not None:
        raise ConfigError("--workers is for many pairs. Leave it out")
    inputs = (original, edited, *([] if mask is None else [mask]))
    if panel is not None:
        for source in inputs:
            check_output(panel, source=source)
    if output is not None:
        check_page(output, "--output", *inputs, *([] if panel is None else [panel]))
    with progress_bar(quiet=quiet or as_json) as progress:
        result = checking.check(original, edited, mask=mask, box=box or None, **limits, progress=progress)
    word = checking.outcome(result.report.values)
    if panel is not None:
        save_image(result.panel, panel)
    if output is not None:
        result.kept.view().save(output)
    if as_json:
        print_json(result.report.values)
    elif not quiet:
        _print(word, result.report)
    raise typer.Exit(_CODES[word])


def share(text: str, name: str) -> float:
    """The share that a text such as 0.1% states; only 0 needs no %. Errors name the argument."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", text)
    part = float(found[1]) / 100 if found and (found[2] or not float(found[1])) else 2.0
    if part > 1:
        bare = float(found[1]) if found and not found[2] else 101.0
        as_share = f"{100 * bare:g}% or " if bare <= 1 else ""  # Python and agents write 0.5 for 50%
        remedy = f"Write {as_share}{bare:g}%" if bare <= 100 else "Write 0.1%"
        raise ConfigError(f"{name} must be from 0% to 100%; got {text!r}. {remedy}")
    return part


def _print(word: str, report: "Report") -> None:
    rows = [(word, report.verdict), *(("also", text) for text in report.also)]
    for region in report.regions[:9]:
        outside = f", {100 * region.outside:.2f} % outside" if region.outside else ""
        where = "{:.2f} % of the image, {},{} to {},{}".format(100 * region.share, *region.box)
        rows.append((f"region {region.number}", where + outside))
    levels = "" if report.rest_levels is None else f", {report.rest_levels:.1f} levels after alignment"
    rest = report.rest
    if report.rest_db is not None:
        rest = f"{report.rest_db:.1f} dB in the edited image{levels}"
    rows += [*([] if rest == "empty" else [("the rest", rest)]), *declared_rows(report.declares)]
    print_rows([*rows, ("next", report.next_step)])
    warn(report.doubts)
