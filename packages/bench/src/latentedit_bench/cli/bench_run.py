"""``latentedit bench run``, ``resume``, ``status`` and ``report``: a run is a folder, and all of them look into it."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli import options
from latentedit.cli.options import ModelChoice, chooses_model, parse_strengths
from latentedit.cli.run_status import finish, status_json, status_rows
from latentedit.core.errors import ConfigError
from latentedit_bench.cli.bench_options import (
    DATA,
    Captions,
    Data,
    Items,
    Methods,
    Split,
    goes_to,
    lasting,
    open_dataset,
    parse_seeds,
)
from latentedit_keep.base.console import echo, print_json, print_rows, progress_bar, typed_command, warn

if TYPE_CHECKING:
    from latentedit.batch.executors import Executor
    from latentedit_bench.ranking.plan import Plan, Request

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
    skip: Annotated[int, typer.Option("--skip", min=0, help="Leave out this many items first.")] = 0,
    split: Split = "test",
    captions: Captions = "partial",
    strengths: Annotated[str, typer.Option("--strengths", help="1, LOW:HIGH:COUNT, or a list that includes 1.")] = "1",
    seeds: Annotated[
        str, typer.Option("--seeds", help="Each item is edited once with each seed; comparing methods takes five.")
    ] = "1,2,3,4,5",
    refine: Annotated[bool, typer.Option("--refine", help="Run every method with refinement too.")] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Items edited together; fewer take less memory.")] = 32,
    images: Annotated[bool, typer.Option("--images", help="Also write every edited image.")] = False,
    workers: options.Workers = None,
    ray: options.Ray = None,
    *,
    choice: ModelChoice,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Edit every item with every method at every strength, compare with the right answers, and rank.

    A method is an editor with settings, and optionally with locality (quote its name: "flowedit, local"). An editor
    without tuned settings runs with its defaults; `bench tune` finds better ones.

    A run is a folder; a stopped run continues there.

    Examples:
        latentedit bench run --items 24 --method eim --method flowedit -o out/run
        latentedit bench run manifest.csv --model models/my-model/ -o out/mine
        latentedit bench run --settings out/tuning.json --workers 2 -o out/run
    """
    from latentedit.batch.executors import Executor
    from latentedit_bench.ranking.evaluate import REFINED
    from latentedit_bench.ranking.plan import Plan, Request
    from latentedit_bench.tuning.tuning import stored_methods, tuned_methods

    executor = Executor(workers=workers, ray=ray)
    at, noises = (1.0,) if strengths.strip() == "1" else parse_strengths(strengths), parse_seeds(seeds)
    found = open_dataset(place, split=split, captions=captions, items=items, skip=skip)
    backbone = choice.load()
    chosen = tuned_methods(settings, backbone, method) if settings else stored_methods(backbone, method)
    if refine:
        chosen += [dataclasses.replace(one, name=one.name + REFINED, refined=True) for one in chosen]
    plan = Plan(model=backbone, dataset=found, methods=tuple(chosen), strengths=at, seeds=noises, batch=batch)
    request = Request(
        data=lasting(place), split=split, captions=captions, items=items, skip=skip, images=images, model=choice
    )
    _run(plan, output, request, choice, executor, as_json=as_json, quiet=quiet)


@chooses_model
def resume(
    folder: Folder,
    retry: Annotated[bool, typer.Option("--retry", help="Also repeat the parts in which something failed.")] = False,
    data: Annotated[
        str | None, typer.Option("--data", help="The files of the data set, if the run was started with files.")
    ] = None,
    workers: options.Workers = None,
    ray: options.Ray = None,
    *,
    choice: ModelChoice,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Continue a run that was stopped.

    Examples:
        latentedit bench resume out/run
        latentedit bench resume out/run --retry --workers 2
        latentedit bench resume out/mine --data manifest.csv
    """
    from latentedit.batch.executors import Executor
    from latentedit.batch.folder import RunFolder
    from latentedit.core.plugins import MODELS
    from latentedit_bench.data.counterfactual import PREFIX
    from latentedit_bench.ranking.plan import Plan, read_plan, read_request
    from latentedit_bench.tuning.tuning import planned_methods

    executor = Executor(workers=workers, ray=ray)
    opened = RunFolder.read(folder)
    spec, request = read_plan(opened), read_request(opened)
    begun = request.model
    if choice.model is None and begun.name not in MODELS.names():
        raise ConfigError(
            f"the run in {folder} was started with the model {begun.name!r}, which is not bundled, and resuming "
            f"downloads or opens only what you name. Add --model {shlex.quote(begun.name)}"
        )
    if data is None and not request.data.startswith(PREFIX):
        raise ConfigError(
            f"the run in {folder} was started with the files {request.data!r}, and resuming opens only what you name. "
            f"Add --data {shlex.quote(request.data)}"
        )
    if begun.lora and not choice.lora:
        named = " ".join(f"--lora {shlex.quote(one)}" for one in begun.lora)
        raise ConfigError(f"the run in {folder} was started with a LoRA, whose file you must name again. Add {named}")
    choice = choice.or_else(dataclasses.replace(begun, dtype=spec.network_dtype))
    plan = Plan(
        model=choice.load(),
        dataset=open_dataset(
            data or request.data, **request.model_dump(include={"split", "captions", "items", "skip"})
        ),
        methods=planned_methods([method.model_dump() for method in spec.methods]),
        strengths=tuple(spec.strengths),
        seeds=tuple(spec.seeds),
        batch=spec.batch,
    )
    if retry:
        for unit in [unit for unit, record in opened.records().items() if record.failures]:
            opened.forget(unit)
    _run(plan, folder, request, choice, executor, as_json=as_json, quiet=quiet)


def status(folder: Folder, as_json: options.Json = False) -> None:
    """Show the progress of a run, who is working on it, what failed, and the time it may still take.

    Examples:
        latentedit bench status out/run
        latentedit bench status out/run --json
    """
    from latentedit.batch.folder import RunFolder

    opened = RunFolder.read(folder)
    if as_json:
        print_json(status_json(opened))
        return
    echo(folder)
    print_rows(status_rows(opened))


def report(
    folder: Folder,
    output: Annotated[Path, goes_to("The page.")] = Path("report.html"),
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a run as one HTML page: ranking, curves, cost, and each method's best, median and worst images.

    Examples:
        latentedit bench report out/run
        latentedit bench report out/run -o report.html
    """
    from latentedit_bench.report.report import write_report
    from latentedit_keep.base.files import check_place

    check_place(output)
    write_report(folder, output)
    if as_json:
        print_json({"report": output})
    elif not quiet:
        echo(f"{folder} -> {output}")


def _run(
    plan: "Plan",
    output: Path,
    request: "Request",
    choice: ModelChoice,
    executor: "Executor",
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run or continue; then rank, draw and print the result."""
    from latentedit.batch.executors import Executor, suitable_workers
    from latentedit.batch.folder import RunFolder
    from latentedit_bench.ranking.run import run as run_plan
    from latentedit_bench.ranking.summaries import is_ranked
    from latentedit_bench.report.results import write_results, write_sheet, write_unranked

    if executor.ray is None and executor.workers is None:
        executor = Executor(workers=suitable_workers(plan.model.device, len(plan.dataset.items) // plan.batch + 1))
    how: dict[str, Any] = {"command": typed_command(), "request": request.model_dump(), "images": request.images}
    load = dataclasses.replace(choice, dtype=plan.spec["network_dtype"]).load
    with progress_bar(quiet=quiet or as_json) as progress:
        rows = run_plan(plan, output, load=load, executor=executor, progress=progress, **how)
    write_sheet(plan, output)
    ranked, opened = is_ranked(rows), RunFolder.read(output)
    comparisons = write_results(output, rows) if ranked else []
    left_out = [] if ranked else write_unranked(output, rows)
    if as_json:
        facts = {"comparisons": comparisons, "left_out": left_out, "failures": opened.failures()}
        print_json({"folder": output, "rows": len(rows), **facts})
    elif not quiet and ranked:
        echo(f"{len(rows)} rows; ranking in {output / 'ranking.md'}, curves in {output / 'curves.png'}")
        for one in comparisons[:3]:
            text = f"error above the codec's {one.ratio.mean:.2f} x that of {one.other}; difference {one.text}"
            print_rows([(one.ours, f"{text}: better {one.verdict}")])
    elif not quiet:
        echo(f"{len(rows)} rows, without right answers to rank by, in {output / 'rows.csv'}")
        warn([f"left out: {one}" for one in left_out])
    finish(opened)
