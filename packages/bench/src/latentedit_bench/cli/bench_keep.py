"""``latentedit bench keep``: `latentedit keep` against pairs whose answer is known, or that real editors made."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit.cli import options
from latentedit_bench.cli.bench_options import Split, goes_to
from latentedit_keep.base.console import echo, print_json, progress_bar, typed_command


def keep(
    output: Annotated[Path, goes_to("The folder of the run; a stopped run continues.")] = Path("out/keep"),
    split: Split = "test",
    count: Annotated[int, typer.Option("--count", help="Number of cases.")] = 209,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="Measure a folder of pairs from real editors with pairs.json instead."),
    ] = None,
    node: Annotated[
        Path | None,
        typer.Option("--diff-merge", help="With --pairs: flux_kontext_diff_merge.py of a clone, to measure as well."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Number of processes.")] = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure `latentedit keep` and its common alternatives on pairs with known changes and known damage.

    Pairs from real editors have no right answer: the results of all methods are written for inspection.

    Examples:
        latentedit bench keep
        latentedit bench keep --split calibration --workers 2 -o out/keep
        latentedit bench keep --pairs pairs/ -o out/pairs
    """
    from latentedit.batch.executors import Executor, run_work
    from latentedit.batch.folder import RunFolder
    from latentedit_bench.known_pairs.measured import case_work, summary
    from latentedit_bench.known_pairs.real_pairs import real_summary, real_work
    from latentedit_bench.ranking.run import table_of
    from latentedit_keep.base.files import plain, write_text

    work = case_work(split, count) if pairs is None else real_work(pairs, node)
    executor, command = Executor(workers=workers), typed_command()
    run = RunFolder.start(output, work.spec, kind="keep", units=work.units, command=command, request={})
    with progress_bar(quiet=quiet or as_json) as progress:
        run_work(run, work, executor=executor, progress=progress)
    run.write_table()
    report: dict[str, Any] = {"command": command, **work.spec}
    report |= summary(table_of(run)) if pairs is None else real_summary(table_of(run))
    write_text(output / "keep.json", f"{json.dumps(plain(report), indent=1)}\n")
    if as_json:
        print_json(report)
    elif not quiet and pairs is None:
        for row in report["thresholds"]:
            word = "holds" if row["holds"] else "does not hold"
            required = f"{row['threshold']:g} required"
            echo(f"{word:<14}{row['value']:6.3f} ({required})  {row['statement']}: share of {row['cases']} cases")
    elif not quiet:
        for kind, right in report["expected"].items():
            echo(f"{kind:<14}verdict as expected in {right} of {report['of'][kind]}")
