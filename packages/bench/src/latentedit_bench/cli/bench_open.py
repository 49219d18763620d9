"""``latentedit bench score``, and the part of ``bench data`` that writes what it scores."""

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentedit.cli import options
from latentedit.core.errors import ConfigError
from latentedit.core.plugins import DOMAINS
from latentedit_keep.console import print_json, print_rows, progress_bar, say, warn

if TYPE_CHECKING:
    from latentedit_bench.open_task.leaderboard import Entry
    from latentedit_bench.open_task.outputs import Fault

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
Month = Annotated[
    str | None,
    typer.Option("--month", help="A fresh split, such as 2026-12, in place of the public one.", rich_help_panel=_OPEN),
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
Secret = Annotated[
    Path | None,
    typer.Option(
        "--secret",
        help="A file whose content seals the split: nobody else can make its answers. Made where there is none.",
        rich_help_panel=_OPEN,
    ),
]


def write_open_task(
    domain: str,
    output: Path | None,
    *,
    size: int | None,
    month: str | None,
    secret: Path | None,
    keep: bool,
    items: int | None,
    as_json: bool,
) -> None:
    """Write the task's folder and say what is in it.

    Raises:
        ConfigError: no folder, or see `TaskSpec.of`.
    """
    from latentedit_bench.open_task.folder import write_task
    from latentedit_bench.open_task.task import ITEMS, TaskSpec, check_secret, task_items

    if output is None:
        raise ConfigError("the task is a folder, and no place is given for it. Give -o FOLDER")
    size, items = _SIZE if size is None else size, ITEMS if items is None else items
    made = secret is not None and not secret.exists()
    key = None if secret is None else secrets.token_hex(32).encode() if made else check_secret(_read_secret(secret))
    asks = "keep" if keep else "edit"
    spec = TaskSpec.of(domain, size=size, month=month, secret=key, items=items, asks=asks)
    found = task_items(spec, key)
    if secret is not None and key is not None and made:
        _write_secret(secret, key)
    with progress_bar(quiet=as_json) as progress:
        write_task(spec, found, output, progress)
    if as_json:
        print_json({"folder": output, "task": spec.model_dump()})
        return
    say(f"{spec.title}: {spec.items} items in {output}")
    rows = [("enter", f"write {found[0].output_file(1.0)} and the others that {output / 'items.jsonl'} names")]
    sealed = f" --secret {secret}" if secret is not None else ""
    print_rows([*rows, ("score", f"latentedit bench score {output}{sealed}")])
    warn([f"the secret is in {secret}, and nowhere else. Keep it: without it nothing can be scored"] if made else [])


def score(
    folder: Annotated[Path, typer.Argument(help="The folder of a task, with edits in outputs/.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page; FOLDER/score.html by default.", rich_help_panel=options.OUTPUT),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the tool; the folder's by default.")] = None,
    made: Annotated[str, typer.Option("--made", help="How its pictures were made, such as a command.")] = "",
    secret: Annotated[Path | None, typer.Option("--secret", help="The file that a sealed task was made with.")] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Stored entries to rank it with; results/leaderboard.json where that is there."),
    ] = None,
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
    """Score a folder of edits that any tool made, file by file, and rank it.

    Writes score.json into the folder, and a page. A file that is missing counts as no edit.

    Examples:
        latentedit bench data --domain portraits --size 512 -o task
        latentedit bench score task
        latentedit bench score task --name my-tool --workers 4 -o my-tool.html
    """
    if workers < 1:
        raise ConfigError(f"--workers is {workers}, and must be 1 or more")
    from latentedit_bench.open_task.folder import read_task
    from latentedit_bench.open_task.leaderboard import entry_of, ranked, read_entries
    from latentedit_bench.open_task.outputs import stray_files
    from latentedit_bench.open_task.page import score_page
    from latentedit_bench.open_task.scoring import item_measures, score_items
    from latentedit_bench.open_task.task import check_secret, task_items
    from latentedit_keep.files import check_place, plain, write_text

    spec = read_task(folder)
    place = folder / "score.html" if output is None else output
    check_place(place)
    check_place(folder / "score.json")
    key = None if secret is None else check_secret(_read_secret(secret))
    stored, items = read_entries(table), task_items(spec, key)
    with progress_bar(quiet=quiet or as_json) as progress:
        keep = keep and spec.asks == "edit"
        rows, faults = score_items(items, folder, keep=keep, workers=workers, progress=progress)
    faults += stray_files(folder, items)
    measured = item_measures(rows)
    entry = entry_of(name or folder.resolve().name, made, spec, rows, measured)
    others, left_out = ranked(entry, stored)
    told = {"entry": entry, "faults": faults, "items": measured.to_dict("records")}
    write_text(folder / "score.json", f"{json.dumps(plain(told), indent=1, ensure_ascii=False)}\n")
    page = score_page(entry, others, left_out=left_out, rows=rows, items=items, faults=faults, folder=folder)
    write_text(place, page)
    if as_json:
        print_json({**told, "place": others.index(entry) + 1, "of": len(others), "page": place})
    elif not quiet:
        files = sum(len(item.files) for item in items)
        _tell(entry, others, faults, files=files, folder=folder, place=place)


def _tell(
    entry: "Entry", others: "list[Entry]", faults: "list[Fault]", *, files: int, folder: Path, place: Path
) -> None:
    from latentedit_bench.metrics.statistics import between
    from latentedit_bench.open_task.scoring import AS_IS, KEPT
    from latentedit_bench.open_task.task import IN_A_ROW, UNDONE, in_a_row

    say(f"{entry.name} on {entry.task.title}: place {others.index(entry) + 1} of {len(others)}")
    rows: list[tuple[str, str]] = []
    for scored in (AS_IS, KEPT, UNDONE, in_a_row(IN_A_ROW)):
        found = entry.measures.get(scored, {})
        told = [
            f"{word} {found[name].mean:.3f} {between(found[name].low, found[name].high)}".rstrip()
            for name, word in _TOLD.items()
            if name in found
        ]
        rows += [(scored, "; ".join(told))] if told else []
    print_rows([*rows, ("failed", f"{entry.failed} of {files} files"), ("page", str(place))])
    some = [f"{one.file} {one.what}" for one in faults[:_TOLD_FAULTS]]
    more = len(faults) - len(some)
    warn([*some, *([f"and {more} more, in {folder / 'score.json'}"] if more > 0 else [])])


def _read_secret(path: Path) -> bytes:
    from latentedit_keep.files import read_bytes

    return read_bytes(path, limit=1_000_000, error=ConfigError)


def _write_secret(path: Path, key: bytes) -> None:
    from latentedit_keep.files import write_text

    write_text(path, f"{key.decode()}\n")
    path.chmod(0o600)
