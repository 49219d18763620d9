"""``latentedit bench score``, and the part of ``bench data`` that writes a task."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentedit.cli import options
from latentedit.core.errors import ConfigError
from latentedit.core.plugins import DOMAINS
from latentedit_bench.cli.bench_options import Processes, goes_to
from latentedit_keep.base.console import echo, print_json, print_rows, progress_bar, warn

if TYPE_CHECKING:
    from latentedit_bench.open_task.scoring import Entry

_OPEN = "The open task"
_SIZE = 512
_PRINTED_FAULTS = 20
_PRINTED = {"error": "error", "done": "done", "still_error": "error where nothing is requested"}

DomainName = Annotated[
    str | None,
    typer.Option(
        "--domain",
        help="Write a task from this domain, such as portraits: any tool can enter it, and it has no answers.",
        autocompletion=DOMAINS.complete,
        rich_help_panel=_OPEN,
    ),
]
Size = Annotated[
    int | None, typer.Option("--size", help=f"Side of its images, in pixels; default: {_SIZE}.", rich_help_panel=_OPEN)
]
Keep = Annotated[
    bool,
    typer.Option(
        "--keep",
        help="Include an edit of each image, moved, recolored and blurred as editors do; the task is to keep only its "
        "change, on the image's own pixels.",
        rich_help_panel=_OPEN,
    ),
]


def write_open_task(
    domain: str, output: Path | None, *, size: int | None, keep: bool, items: int | None, as_json: bool
) -> None:
    """Write the task's folder and summarize it."""
    from latentedit_bench.open_task.task import ITEMS, TaskSpec, task_items, write_task

    if output is None:
        raise ConfigError("a task needs a folder. Add -o FOLDER")
    size, items = _SIZE if size is None else size, ITEMS if items is None else items
    spec = TaskSpec.of(domain, size=size, items=items, kind="keep" if keep else "edit")
    found = task_items(spec)
    with progress_bar(quiet=as_json) as progress:
        write_task(spec, found, output, progress)
    if as_json:
        print_json({"folder": output, "task": spec.model_dump()})
        return
    echo(f"{spec.title}: {spec.items} items in {output}")
    rows = [("enter", f"write {found[0].output_file(1.0)} and the others that {output / 'items.jsonl'} names")]
    print_rows([*rows, ("score", f"latentedit bench score {output}")])


def score(
    folder: Annotated[Path, typer.Argument(help="The folder of a task, with edits in outputs/.", show_default=False)],
    output: Annotated[Path | None, goes_to("The page; default: FOLDER/score.html.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the tool; default: the folder's name.")] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep/--no-keep", help="Also score each edit after `latentedit keep`, and report what had shifted."
        ),
    ] = True,
    workers: Processes = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score a folder of edits made by any tool, file by file.

    Writes score.json into the folder, and a page. A missing file counts as no edit.

    Examples:
        latentedit bench data --domain portraits --size 512 -o task
        latentedit bench score task
        latentedit bench score task --name my-tool --workers 4 -o my-tool.html
    """
    from latentedit_bench.open_task.scoring import Entry, faults, item_measures, score_items, score_page
    from latentedit_bench.open_task.task import read_task, task_items
    from latentedit_keep.base.files import check_place, plain, write_text

    spec = read_task(folder)
    place = folder / "score.html" if output is None else output
    check_place(place)
    check_place(folder / "score.json")
    items = task_items(spec)
    with progress_bar(quiet=quiet or as_json) as progress:
        rows = score_items(items, folder, keep=keep and spec.kind == "edit", workers=workers, progress=progress)
    measured, wrong = item_measures(rows), faults(rows, items, folder)
    entry = Entry.of(name or folder.resolve().name, spec, rows, measured)
    report = {"entry": entry, "faults": wrong, "items": measured.to_dict("records")}
    write_text(folder / "score.json", f"{json.dumps(plain(report), indent=1, ensure_ascii=False)}\n")
    write_text(place, score_page(entry, wrong))
    if as_json:
        print_json({**report, "page": place})
    elif not quiet:
        _print_entry(entry, files=sum(len(item.files) for item in items))
        print_rows([("page", str(place))])
        warn([f"{one['file']} {one['what']}" for one in wrong[:_PRINTED_FAULTS]])
        if len(wrong) > _PRINTED_FAULTS:
            warn([f"and {len(wrong) - _PRINTED_FAULTS} more, in {folder / 'score.json'}"])
    if entry.failed:
        raise typer.Exit(1)


def _print_entry(entry: "Entry", *, files: int) -> None:
    """The measures with their intervals, and how many files were missing or wrong."""
    from latentedit_bench.metrics.statistics import between

    echo(f"{entry.name} on {entry.task.title}")
    means: list[tuple[str, str]] = []
    for scored, found in entry.measures.items():
        known = {word: found[name] for name, word in _PRINTED.items() if name in found}
        numbers = [f"{word} {one.mean:.3f} {between(one.low, one.high)}".rstrip() for word, one in known.items()]
        means.append((scored, "; ".join(numbers)))
    print_rows([*means, ("failed", f"{entry.failed} of {files} files")])
