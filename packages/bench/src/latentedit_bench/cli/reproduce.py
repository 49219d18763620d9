"""``latentedit reproduce``: the papers' claims on the bundled models. What is heavy is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from latentedit.cli import options
from latentedit.cli.console import print_json, print_rows, progress_bar, say, typed_command, warn
from latentedit.core.plugins import EXPERIMENTS


def reproduce(
    claims: Annotated[
        list[str] | None,
        typer.Argument(
            help="Which, as --list names them; all if none is named.",
            metavar="CLAIM...",
            autocompletion=EXPERIMENTS.complete,
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller plans: minutes in all, and less is decided.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Say what there is, and run nothing.")] = False,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The folder; a stopped run goes on there.", rich_help_panel=options.OUTPUT),
    ] = Path("out/claims"),
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            help="The page, NAME.md, with NAME.html beside it. Default: claims.md in the folder.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure what the papers claim, each by a plan that is written first, and say what holds.

    Examples:
        latentedit reproduce --list
        latentedit reproduce linear-strength --quick
        latentedit reproduce -o out/claims --page docs/claims.md
    """
    from latentedit.core.files.writing import check_place
    from latentedit_bench.experiments.base import make_experiment
    from latentedit_bench.experiments.page import page_files, write_claims_page
    from latentedit_bench.experiments.run import reproduce as run

    experiments = [make_experiment(name) for name in dict.fromkeys(claims or EXPERIMENTS.names())]
    if listed:
        for one in experiments:
            say(f"{one.name:<22}{one.paper}: {one.statement}" if one.paper else f"{one.name:<22}{one.title}")
        return
    if page is not None:
        for place in page_files(page):
            check_place(place)
    notes: list[str] = []
    with progress_bar(quiet=quiet or as_json) as progress:
        records = run(
            experiments,
            output,
            command=typed_command(),
            quick=quick,
            device=device,
            progress=progress,
            note=notes.append,
        )
    warn(() if quiet else notes)
    written = write_claims_page(output, page or output / "claims.md")
    if as_json:
        print_json({"experiments": records, "files": written})
    elif not quiet:
        for record in records:
            for head in record.heads:
                number = f"{head.text}, {head.samples} pictures; {head.model}: {head.measure}"
                say(f"{record.name}: {record.verdict(head)}: {number}")
            if not record.heads:
                say(f"{record.name}: {record.verdict()}{f': {record.failure}' if record.failure is not None else ''}")
        print_rows([("page", str(written[0])), ("", str(written[1]))])
    if any(record.failure is not None for record in records):
        raise typer.Exit(1)
