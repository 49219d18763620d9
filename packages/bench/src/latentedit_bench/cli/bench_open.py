"""``latentedit bench score``, and the part of ``bench data`` that writes what it scores."""

import json
from pathlib import Path
from typing import Annotated

import typer

from latentedit.cli import options
from latentedit.core.errors import ConfigError
from latentedit.core.plugins import DOMAINS
from latentedit_bench.cli.bench_options import goes_to
from latentedit_keep.console import print_json, print_rows, progress_bar, say, warn

_OPEN = "The open task"
_SIZE = 512
_TOLD_FAULTS = 20
_TOLD = {"error": "error", "done": "done", "still_error": "error where nothing is asked"}

World = Annotated[
    str | None,
    typer.Option(
        "--domain",
        help="Write a task that any tool can enter, without answers, from this domain, such as portraits.",
        autocompletion=DOMAINS.complete,
        rich_help_panel=_OPEN,
    ),
]
Size = Annotated[
    int | None,
    typer.Option("--size", help=f"Of its pictures, in pixels a side; {_SIZE} by default.", rich_help_panel=_OPEN),
]
Keep = Annotated[
    bool,
    typer.Option(
        "--keep",
        help="Also give an edit of each picture, moved, recoloured and blurred as editors do: only its change is to be "
        "kept, on the picture's own pixels.",
        rich_help_panel=_OPEN,
    ),
]


def write_open_task(
    domain: str, output: Path | None, *, size: int | None, keep: bool, items: int | None, as_json: bool
) -> None:
    """Write the task's folder and say what is in it."""
    from latentedit_bench.open_task.task import ITEMS, TaskSpec, task_items, write_task

    if output is None:
        raise ConfigError("the task is a folder, and no place is given for it. Give -o FOLDER")
    size, items = _SIZE if size is None else size, ITEMS if items is None else items
    spec = TaskSpec.of(domain, size=size, items=items, asks="keep" if keep else "edit")
    found = task_items(spec)
    with progress_bar(quiet=as_json) as progress:
        write_task(spec, found, output, progress)
    if as_json:
        print_json({"folder": output, "task": spec.model_dump()})
        return
    say(f"{spec.title}: {spec.items} items in {output}")
    rows = [("enter", f"write {found[0].output_file(1.0)} and the others that {output / 'items.jsonl'} names")]
    print_rows([*rows, ("score", f"latentedit bench score {output}")])


def score(
    folder: Annotated[Path, typer.Argument(help="The folder of a task, with edits in outputs/.", show_default=False)],
    output: Annotated[Path | None, goes_to("The page; FOLDER/score.html by default.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the tool; the folder's by default.")] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep/--no-keep", help="Also score what `latentedit keep` makes of each edit, and say what was moved."
        ),
    ] = True,
    workers: Annotated[int, typer.Option("--workers", help="Processes.")] = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score a folder of edits that any tool made, file by file.

    Writes score.json into the folder, and a page. A file that is missing counts as no edit.

    Examples:
        latentedit bench data --domain portraits --size 512 -o task
        latentedit bench score task
        latentedit bench score task --name my-tool --workers 4 -o my-tool.html
    """
    if workers < 1:
        raise ConfigError(f"--workers is {workers}, and must be 1 or more")
    from latentedit_bench.metrics.statistics import between
    from latentedit_bench.open_task.scoring import Entry, faults, item_measures, score_items, score_page
    from latentedit_bench.open_task.task import read_task, task_items
    from latentedit_keep.files import check_place, plain, write_text

    spec = read_task(folder)
    place = folder / "score.html" if output is None else output
    check_place(place)
    check_place(folder / "score.json")
    items = task_items(spec)
    with progress_bar(quiet=quiet or as_json) as progress:
        rows = score_items(items, folder, keep=keep and spec.asks == "edit", workers=workers, progress=progress)
    measured, wrong = item_measures(rows), faults(rows, items, folder)
    entry = Entry.of(name or folder.resolve().name, spec, rows, measured)
    told = {"entry": entry, "faults": wrong, "items": measured.to_dict("records")}
    write_text(folder / "score.json", f"{json.dumps(plain(told), indent=1, ensure_ascii=False)}\n")
    write_text(place, score_page(entry, wrong))
    if as_json:
        print_json({**told, "page": place})
    if as_json or quiet:
        return
    say(f"{entry.name} on {entry.task.title}")
    means: list[tuple[str, str]] = []
    for scored, found in entry.measures.items():
        known = {word: found[name] for name, word in _TOLD.items() if name in found}
        numbers = [f"{word} {one.mean:.3f} {between(one.low, one.high)}".rstrip() for word, one in known.items()]
        means.append((scored, "; ".join(numbers)))
    failed = f"{entry.failed} of {sum(len(item.files) for item in items)} files"
    print_rows([*means, ("failed", failed), ("page", str(place))])
    warn([f"{one['file']} {one['what']}" for one in wrong[:_TOLD_FAULTS]])
    if len(wrong) > _TOLD_FAULTS:
        warn([f"and {len(wrong) - _TOLD_FAULTS} more, in {folder / 'score.json'}"])
