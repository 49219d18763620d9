"""``latentedit reproduce``: the papers' claims on the bundled models. What is heavy is imported when it runs."""

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from latentedit import cli
from latentedit.core import EXPERIMENTS, MODELS, ConfigError, echo, print_json, print_rows, progress_bar, typed_command
from latentedit_bench.cli.bench_options import goes_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentedit_bench.experiments.experiment import Experiment


_WIDTH = 100  # letters in a line of the list


def reproduce(
    outcomes: Annotated[
        list[str] | None,
        typer.Argument(
            help="Claims to measure; without any, list them.", metavar="CLAIM...", autocompletion=EXPERIMENTS.complete
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Measure all claims.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller plans, which take minutes and are less conclusive.")
    ] = False,
    output: Annotated[Path, goes_to("The folder; a stopped run continues there.")] = Path("out/claims"),
    page: Annotated[
        Path | None,
        typer.Option("--page", help="The page, NAME.md, and NAME.html. Default: claims.md in the folder."),
    ] = None,
    device: cli.Device = None,
    as_json: cli.Json = False,
    quiet: cli.Quiet = False,
) -> None:
    """Measure the papers' claims, each by a plan fixed in advance, and report which hold.

    Without arguments, list the claims and how long each takes.

    Examples:
        latentedit reproduce
        latentedit reproduce linear-strength --quick
        latentedit reproduce --all -o out/claims --page docs/claims.md
    """
    from latentedit.core import check_place
    from latentedit.numerics import existing_device
    from latentedit_bench.experiments.experiment import make_experiment
    from latentedit_bench.experiments.page import page_files, write_claims_page
    from latentedit_bench.experiments.run import reproduce as run

    if outcomes and every:
        raise ConfigError(f"--all and {outcomes[0]} exclude each other. Leave one of them out")
    experiments = [make_experiment(name) for name in dict.fromkeys(outcomes or EXPERIMENTS.names())]
    if not (outcomes or every):
        if as_json:
            fields = ("name", "paper", "claim", "minutes")
            print_json({"claims": [{field: getattr(one, field) for field in fields} for one in experiments]})
        elif not quiet:
            _list(experiments)
        return
    existing_device(device)
    for name in MODELS.missing():
        if any(name in one.source.models for one in experiments):
            raise MODELS.unknown(name)
    if page is not None:
        for place in page_files(page):
            check_place(place)
    if not (quiet or as_json):
        claims = "1 claim" if len(experiments) == 1 else f"{len(experiments)} claims"
        shorter = " (quick plans take much less)" if quick and any(one.minutes for one in experiments) else ""
        echo(f"{claims} to measure; full plans on two CPU cores: {_duration(experiments)}{shorter}")
    with progress_bar(quiet=quiet or as_json) as progress:
        command = typed_command()
        records = run(experiments, output, command=command, quick=quick, device=device, progress=progress)
    written = write_claims_page(output, page or output / "claims.md")
    if as_json:
        print_json({"experiments": records, "files": written})
    elif not quiet:
        for record in records:
            for one in record.primary:
                where = one.model if record.quick else f"{one.model}, {one.images} images"
                echo(f"{record.sentence}: {record.verdict(one)}; {one.measure} {one.text} ({where})")
            if record.failure is not None:
                echo(f"{record.name}: failed: {record.failure}")
        print_rows([("page", str(written[0])), ("", str(written[1]))])
    if any(record.failure is not None for record in records):
        raise typer.Exit(1)


def _list(experiments: "Sequence[Experiment]") -> None:
    """The claims of each paper; of a variant, in what it differs."""
    for paper in sorted({one.paper for one in experiments}):
        of_paper = [one for one in experiments if one.paper == paper]
        width = max(len(one.name) for one in of_paper) + 2
        echo(paper)
        for one in of_paper:
            start = f"  {one.name:<{width}}{_duration([one]):>9}  "
            lines = wrap(f"the same: {one.how}" if one.how else one.claim, _WIDTH - len(start))
            for index, line in enumerate(lines):
                echo(f"{' ' * len(start) if index else start}{line}")
    echo("Times are for two CPU cores. Measure a claim by name (--quick: a smaller plan), or all with --all")


def _duration(experiments: "Sequence[Experiment]") -> str:
    """The time that their full plans take on two CPU cores."""
    minutes, unknown = sum(one.minutes for one in experiments), sum(not one.minutes for one in experiments)
    if not minutes:
        return "not timed"
    known = f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
    return f"{known}, {unknown} not timed" if unknown else known
