"""``latentedit bench``: editors against known answers. What is heavy is imported when a command runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli.console import (
    Debug,
    Device,
    Json,
    Model,
    Quiet,
    Seed,
    print_json,
    print_rows,
    progress_bar,
    typed_command,
    warn,
)
from latentedit.cli.strengths import parse_strengths
from latentedit.errors import ConfigError

if TYPE_CHECKING:
    from latentedit.backbones.base import Backbone
    from latentedit.benchmark.items import Dataset
    from latentedit.benchmark.ranking import Comparison

app = typer.Typer(help="Editors against known answers: choose settings, run, rank.", no_args_is_help=True)

_DATA = "counterfactual-portraits"

Data = Annotated[
    str,
    typer.Argument(
        help=f"{_DATA} (rendered, with right answers), a manifest (CSV, JSON, YAML), PIE-Bench's folder or FlowEdit's "
        "YAML file."
    ),
]
Split = Annotated[str, typer.Option("--split", help="Of the rendered set: calibration to choose, test to report.")]
Captions = Annotated[str, typer.Option("--captions", help="Of the rendered set: full, or partial.")]
Items = Annotated[int | None, typer.Option("--items", help="The first items only; the kinds of change take turns.")]
Methods = Annotated[
    list[str] | None, typer.Option("--method", help="A method of `bench methods`; repeatable. Default: all.")
]
Precision = Annotated[
    str | None, typer.Option("--dtype", help="Of the network: float32, bfloat16 or float16; what suits the device.")
]


@app.command()
def methods(as_json: Json = False, debug: Debug = False) -> None:
    """What can be compared: names, editors, and how many settings are tried of each."""
    del debug
    from latentedit.benchmark.candidates import CONTENDERS

    told = [
        {"name": one.name, "editor": one.editor, "candidates": len(one.candidates), "evaluations": one.budget}
        for one in CONTENDERS
    ]
    if as_json:
        print_json({"methods": told})
        return
    for one in told:
        print(f"{one['name']:<24}{one['editor']:<20}{one['candidates']:>3} settings, {one['evaluations']} evaluations")


@app.command()
def data(
    place: Data = _DATA,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write pictures, truths, masks and a manifest here.")
    ] = None,
    split: Split = "test",
    captions: Captions = "full",
    items: Items = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check a data set, all of it, and say what is in it; or write it out as files."""
    del debug
    from collections import Counter

    from latentedit.benchmark.manifest import write_manifest

    found = _dataset(place, split, captions, items)
    kinds = Counter(item.kind for item in found.items)
    written = None if output is None else write_manifest(found.items, output)
    if as_json:
        told = {"name": found.name, "version": found.version, "items": len(found.items), "kinds": kinds}
        print_json({**told, "fingerprint": found.fingerprint, "manifest": written})
        return
    truths = sum(item.truth is not None for item in found.items)
    print(f"{found.name}, version {found.version}: {len(found.items)} items, {truths} with a right answer")
    print_rows([("kinds", ", ".join(f"{count} {kind}" for kind, count in kinds.items()))])
    print_rows([("fingerprint", found.fingerprint)])
    if written is not None:
        print_rows([("manifest", str(written))])


@app.command()
def tune(
    place: Data = _DATA,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file of all that was tried.")] = Path(
        "out/benchmark/tuning.json"
    ),
    method: Methods = None,
    items: Items = 24,
    captions: Captions = "full",
    store: Annotated[
        bool, typer.Option("--store", help="Also make the best of each the model's own, in its latentedit.json.")
    ] = False,
    model: Model = "portraits",
    dtype: Precision = None,
    seed: Seed = 0,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find each method's best settings on the calibration split: as many tries and evaluations for each."""
    del debug
    from latentedit.backbones.registry import bundled_folder
    from latentedit.benchmark.candidates import CONTENDERS, contender
    from latentedit.benchmark.tuning import prepare_all, store_best, tune_method, write_tuning

    if store:
        bundled_folder(model)  # refused before any work where there is none
    chosen = [contender(name) for name in method] if method else list(CONTENDERS)
    found = _dataset(place, "calibration", captions, items)
    backbone = _load(model, device, dtype)
    best: dict[str, Any] = {}
    with progress_bar(quiet=quiet or as_json) as progress:
        batches = prepare_all(backbone, found)
        for one in chosen:
            tried = tune_method(one, batches, seed=seed, progress=progress)
            write_tuning(output, backbone, found, one, tried, command=typed_command())
            best[one.name] = {"error": tried[0].score, "settings": tried[0].settings}
            if not (quiet or as_json):
                print(f"{one.name:<24}error {tried[0].score:.4f}, the best of {len(tried)}", flush=True)
    if store:
        store_best(model, output)
    if as_json:
        print_json({"file": output, "best": best})


@app.command()
def run(
    place: Data = _DATA,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder of the run; a stopped one goes on.")
    ] = Path("out/benchmark/run"),
    method: Methods = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="A file of `bench tune`; by default what the model's folder has.")
    ] = None,
    items: Items = None,
    split: Split = "test",
    captions: Captions = "full",
    strengths: Annotated[
        str, typer.Option("--strengths", help="LOW:HIGH:COUNT or a list; 1 among them.")
    ] = "0.5,1,1.5,2",
    batch: Annotated[int, typer.Option("--batch", help="Items edited together; less where memory is short.")] = 32,
    pictures: Annotated[bool, typer.Option("--pictures", help="Also write every edited picture.")] = False,
    model: Model = "portraits",
    dtype: Precision = None,
    seed: Seed = 0,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Edit every item by every method at every strength, measure against the right answers, and rank."""
    del debug
    from latentedit.benchmark.candidates import CONTENDERS, OURS
    from latentedit.benchmark.results import write_results
    from latentedit.benchmark.run import SHOWN_ITEMS, Plan, shown
    from latentedit.benchmark.run import run as run_plan
    from latentedit.benchmark.sheet import draw_edits
    from latentedit.benchmark.tuning import stored_methods, tuned_methods
    from latentedit.benchmark.unranked import write_unranked

    if batch < 1:
        raise ConfigError(f"expected --batch to be 1 or more; got {batch}")
    found, at = _dataset(place, split, captions, items), parse_strengths(strengths)
    backbone = _load(model, device, dtype)
    chosen = stored_methods(backbone, method) if settings is None else tuned_methods(settings, backbone, method)
    plan = Plan(model=backbone, dataset=found, methods=tuple(chosen), strengths=at, seed=seed)
    with progress_bar(quiet=quiet or as_json) as progress:
        rows = run_plan(plan, output, command=typed_command(), batch=batch, pictures=pictures, progress=progress)
    edited, first = shown(plan, output), found.items[:SHOWN_ITEMS]
    draw_edits(first, edited, output / "pictures.png", title=f"{found.name}: strength 1, every method")
    ranked = "effect" in rows and bool(rows["effect"].notna().any())
    baselines = [one.name for one in CONTENDERS if one.baseline]
    comparisons = write_results(output, rows, ours=OURS, baselines=baselines) if ranked else []
    left_out = [] if ranked else write_unranked(output, rows)
    if as_json:
        print_json({"folder": output, "rows": len(rows), "comparisons": comparisons, "left_out": left_out})
    elif not quiet:
        _tell(output, len(rows), comparisons, ranked=ranked)
        warn([f"left out: {one}" for one in left_out])


def _tell(folder: Path, rows: int, comparisons: "Sequence[Comparison]", *, ranked: bool) -> None:
    if not ranked:
        print(f"{rows} rows, without right answers to rank by, in {folder / 'rows.csv'}")
        return
    print(f"{rows} rows; ranking in {folder / 'ranking.md'}, curves in {folder / 'curves.png'}")
    for one in comparisons[:3]:
        difference = f"{one.difference.mean:.4f} [{one.difference.low:.4f}, {one.difference.high:.4f}]"
        said = f"matched error {one.ratio:.2f} x that of {one.other}; difference {difference}"
        print_rows([(one.ours, f"{said}: better {one.verdict}")])


def _dataset(place: str, split: str, captions: str, items: int | None) -> "Dataset":
    from latentedit.benchmark.loading import load_dataset

    if items is not None and items < 1:
        raise ConfigError(f"expected --items to be 1 or more; got {items}")
    found = load_dataset(place, split=split, captions=captions)
    return found if items is None else found.head(items)


def _load(name: str, device: str | None, dtype: str | None) -> "Backbone":
    import torch

    from latentedit.editing.verbs import load

    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype is not None and dtype not in kinds:
        raise ConfigError(f"expected --dtype to be one of {', '.join(kinds)}; got {dtype!r}")
    return load(name, device=device, dtype=None if dtype is None else kinds[dtype])
