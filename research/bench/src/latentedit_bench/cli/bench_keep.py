"""``latentedit bench keep``: `latentedit keep` or `latentedit check` on known pairs, or on pairs from real editors."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit import cli
from latentedit.core import ConfigError, echo, print_json, progress_bar, typed_command
from latentedit_bench.cli.bench_options import Processes, Split, goes_to


def keep(
    output: Annotated[Path, goes_to("The folder of the run; a stopped run continues.")] = Path("out/keep"),
    split: Split = "test",
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            help="Number of cases.",
            show_default="209; --check: 1100; --certainty: 240; --baselines: 7 of each size",
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Measure false alarms and misses of `check` instead.")] = False,
    certainty: Annotated[
        bool, typer.Option("--certainty", help="Count false statements of certainty of `check` and `keep` instead.")
    ] = False,
    rounds: Annotated[bool, typer.Option("--rounds", help="Measure eight edits of each photograph in a row.")] = False,
    timed: Annotated[
        bool, typer.Option("--baselines", help="Measure CPU seconds and memory beside the alternatives instead.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="With --baselines: src of another checkout, also measured."),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="Measure a folder of pairs from real editors with pairs.json instead."),
    ] = None,
    node: Annotated[
        Path | None,
        typer.Option("--diff-merge", help="With --pairs: flux_kontext_diff_merge.py from a clone, also measured."),
    ] = None,
    workers: Processes = 1,
    as_json: cli.Json = False,
    quiet: cli.Quiet = False,
) -> None:
    """Measure `latentedit keep` and its common alternatives on pairs with known changes and known damage.

    With --check, measure `latentedit check` instead; with --certainty, what is said with certainty and is not so; with
    --rounds, what is left of a photograph after eight edits in a row; with --baselines, what they cost.
    Pairs from real editors have no right answer: the results of all methods are written for inspection.

    Examples:
        latentedit bench keep --check --workers 2 -o out/check
        latentedit bench keep --certainty -o out/certainty
        latentedit bench keep --rounds -o out/rounds
        latentedit bench keep --baselines -o out/speed
        latentedit bench keep --pairs pairs/ -o out/pairs
    """
    from latentedit.batch import Executor
    from latentedit.core import plain, write_text
    from latentedit_bench.known_pairs import certainty as certain
    from latentedit_bench.known_pairs.check_rates import PAIRS, check_summary, check_work
    from latentedit_bench.known_pairs.measured import case_work, pair_summary
    from latentedit_bench.known_pairs.real_pairs import real_summary, real_work
    from latentedit_bench.known_pairs.rounds import rounds_summary, rounds_work
    from latentedit_bench.known_pairs.speed import speed_summary, speed_work

    if check + certainty + rounds + timed + (pairs is not None) > 1:
        raise ConfigError(
            "--check, --certainty, --rounds, --baselines and --pairs exclude each other. Pass one of them"
        )
    if against is not None and not timed:
        raise ConfigError("--against is another version for --baselines. Pass that too, or leave --against out")
    if timed and workers > 1:
        raise ConfigError("processes beside each other slow each other. Leave --workers out with --baselines")
    if pairs is not None:
        work, summarize = real_work(pairs, node), real_summary
    elif timed:
        work, summarize = speed_work(7 if count is None else count, against), speed_summary
    elif rounds:
        work, summarize = rounds_work(), rounds_summary
    elif check:
        work, summarize = check_work(split, PAIRS if count is None else count), check_summary
    elif certainty:
        work, summarize = (
            certain.certainty_work(split, certain.PAIRS if count is None else count),
            certain.certainty_summary,
        )
    else:
        work, summarize = case_work(split, 209 if count is None else count), pair_summary
    executor, command = Executor(workers=workers), typed_command()
    kind = "check" if check else "certainty" if certainty else "rounds" if rounds else "speed" if timed else "keep"
    with progress_bar(quiet=quiet or as_json) as progress:
        rows = work.rows(output, kind=kind, command=command, executor=executor, progress=progress)
    report: dict[str, Any] = {"command": command, **work.spec, **summarize(rows)}
    write_text(output / f"{kind}.json", f"{json.dumps(plain(report), indent=1)}\n")
    if as_json:
        print_json(report)
    elif not quiet:
        for one in report.get("overall", ()):
            echo(f"{one['name']:<46}{one['wrong']} of {one['of']}")
        for one in report.get("kinds", ()):
            echo(f"{one['kind']:<12}{one['name']:<34}{one['wrong']} of {one['of']}")
        for one in report.get("thresholds", ()):
            value = f"{one['value']:6.3f} ({one['threshold']:g} required)"
            cases = f"share of {one['cases']} cases"
            echo(f"{'holds' if one['holds'] else 'does not hold':<14}{value}  {one['statement']}: {cases}")
        for name, one in report.get("first and last better by", {}).items():
            echo(f"keep FIRST LAST is better than {name} by {one['mean']:.1f} dB [{one['low']:.1f}, {one['high']:.1f}]")
        for kind, right in report.get("expected", {}).items():
            echo(f"{kind:<14}verdict as expected in {right} of {report['of'][kind]}")
        for one in report.get("speed", ()):
            ratio = one["keep over it"]
            than = "" if ratio is None else " keep/it {value:.2f} [{low:.2f}, {high:.2f}]".format_map(ratio)
            echo(f"{one['size']:<15}{one['method']:<38}{one['seconds']:7.2f} s {one['mb']:6.0f} MB{than}")
