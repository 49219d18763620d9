"""``latentedit bench run``, ``status`` and ``report``: commands on the folder of a run."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from latentedit import cli
from latentedit.cli import ModelChoice, chooses_model, finish, parse_strengths, status_json, status_rows
from latentedit.core import ConfigError, echo, print_json, print_rows, progress_bar, typed_command, warn, were_replaced
from latentedit_bench.cli.bench_options import DATA, Captions, Data, Items, Methods, Split, goes_to, open_dataset

# A comparison of errors in words; undecided ones stay as they are.
_VERDICTS = {"holds": "smaller", "does not hold": "not smaller"}


def parse_seeds(text: str) -> tuple[int, ...]:
    """Whole numbers between commas."""
    try:
        seeds = tuple(int(part) for part in text.removesuffix(",").split(","))
    except ValueError:
        raise ConfigError(f"--seeds must be integers separated by commas, such as 1,2,3; got {text!r}") from None
    if seeds == (seeds[0],) and seeds[0] > 1 and "," not in text:
        listed = ",".join(map(str, range(1, min(seeds[0], 9) + 1)))
        raise ConfigError(f"--seeds lists seeds, and {text} is one seed. Give {listed}, or {text}, for that one")
    return seeds


Folder = Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)]


@chooses_model
def run(
    place: Data = DATA,
    output: Annotated[Path, goes_to("The folder of the run; a stopped run continues.")] = Path("out/benchmark/run"),
    method: Methods = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="A file from `bench tune`; default: the model's own settings.")
    ] = None,
    items: Items = None,
    skip: Annotated[int, typer.Option("--skip", min=0, help="Skip this many items.")] = 0,
    split: Split = "test",
    draw: Annotated[
        int | None, typer.Option("--draw", help="Draw other scenes and changes of the rendered set.")
    ] = None,
    captions: Captions = "partial",
    strengths: Annotated[str, typer.Option("--strengths", help="1, LOW:HIGH:COUNT, or a list that includes 1.")] = "1",
    seeds: Annotated[
        str, typer.Option("--seeds", help="Each item is edited once with each seed; comparing methods requires five.")
    ] = "1,2,3,4,5",
    refine: Annotated[bool, typer.Option("--refine", help="Run every method with refinement too.")] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Items edited together; fewer use less memory.")] = 32,
    images: Annotated[bool, typer.Option("--images", help="Also write every edited image.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Repeat finished parts with failures.")] = False,
    workers: cli.Workers = None,
    ray: cli.Ray = None,
    *,
    choice: ModelChoice,
    as_json: cli.Json = False,
    quiet: cli.Quiet = False,
) -> None:
    """Edit every item with every method at every strength, compare with the ground truth, and rank.

    A method is an editor with settings, and optionally with locality (quote its name: "flowedit, local"). An editor
    without tuned settings runs with its defaults and as many steps as the others; `bench tune` finds better settings.

    The same command continues a stopped run in its folder; add --retry to repeat parts with failures.

    Examples:
        latentedit bench run --items 24 --method eim --method flowedit -o out/run
        latentedit bench run manifest.csv --model models/my-model/ -o out/mine
        latentedit bench run --settings out/tuning.json --workers 2 -o out/run
    """
    from latentedit_bench.ranking.search_spaces import check_names

    check_names(method or () if settings is None else ())  # before anything heavy; a file may have other names
    from latentedit.batch import Executor, RunFolder, suitable_workers
    from latentedit_bench.ranking.evaluate import REFINED
    from latentedit_bench.ranking.plan import Plan
    from latentedit_bench.ranking.run import run_ranking
    from latentedit_bench.ranking.summaries import has_edits, is_ranked
    from latentedit_bench.report.results import write_results, write_sheet, write_unranked
    from latentedit_bench.tuning.tuning import tuned_methods

    executor = Executor(workers=workers, ray=ray)
    at, noises = parse_strengths(strengths, least=1), parse_seeds(seeds)
    found = open_dataset(place, split=split, captions=captions, items=items, skip=skip, draw=draw)
    backbone = choice.load()
    chosen = tuned_methods(backbone, found, method, path=settings)
    if refine:
        chosen += [dataclasses.replace(one, name=one.name + REFINED, refined=True) for one in chosen]
    plan = Plan(model=backbone, dataset=found, methods=tuple(chosen), strengths=at, seeds=noises, batch=batch)
    if executor.ray is None and executor.workers is None:
        executor = Executor(workers=suitable_workers(backbone.device, len(found.items) // batch + 1))
    load = dataclasses.replace(choice, dtype=plan.spec["network_dtype"]).load
    with progress_bar(quiet=quiet or as_json) as progress:
        rows = run_ranking(
            plan,
            output,
            command=typed_command(),
            images=images,
            retry=retry,
            load=load,
            executor=executor,
            progress=progress,
        )
    opened = RunFolder.read(output)
    if not has_edits(rows):
        first = opened.failures()[0]
        raise ConfigError(f"every edit failed, of {first.item} by {first.what}: {first.why}")
    write_sheet(plan, output)
    ranked = is_ranked(rows)
    comparisons = write_results(output, rows) if ranked else []
    left_out = [] if ranked else write_unranked(output, rows)
    if as_json:
        facts = {"comparisons": comparisons, "left_out": left_out, "failures": opened.failures()}
        print_json({"folder": output, "rows": len(rows), **facts})
    elif not quiet and ranked:
        echo(f"{found.name}, {len(found.items)} items; seeds {', '.join(map(str, noises))}")
        echo(f"{len(rows)} rows; ranking in {output / 'ranking.md'}, curves in {output / 'curves.png'}")
        for one in comparisons[:3]:
            text = f"error above the codec's {one.ratio.mean:.2f} x that of {one.other}; difference {one.text}"
            print_rows([(one.ours, f"{text}: {_VERDICTS.get(one.verdict, one.verdict)}")])
    elif not quiet:
        echo(f"{found.name}, {len(found.items)} items")
        echo(f"{len(rows)} rows, without right answers to rank by, in {output / 'rows.csv'}")
        warn([f"left out: {one}" for one in left_out])
    finish(opened)


def status(folder: Folder, as_json: cli.Json = False) -> None:
    """Show the progress of a run, who is working on it, what failed, and the estimated time left.

    Examples:
        latentedit bench status out/run
        latentedit bench status out/run --json
    """
    from latentedit.batch import RunFolder

    opened = RunFolder.read(folder)
    if as_json:
        print_json(status_json(opened))
        return
    echo(folder)
    print_rows(status_rows(opened))


def report(
    folder: Folder,
    output: Annotated[Path, goes_to("The page.")] = Path("report.html"),
    as_json: cli.Json = False,
    quiet: cli.Quiet = False,
) -> None:
    """Write a run as one HTML page: ranking, curves, cost, and each method's best, median and worst images.

    Examples:
        latentedit bench report out/run
        latentedit bench report out/run -o report.html
    """
    from latentedit.core import check_place, existing
    from latentedit_bench.report.report import write_report

    check_place(output)
    replaced = existing(output)
    write_report(folder, output)
    if as_json:
        print_json({"report": output})
    elif not quiet:
        echo(f"{folder} -> {output}")
    warn(were_replaced(replaced))
