"""``latentedit bench``: editors against known answers. What is heavy is imported when a command runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit import cli
from latentedit.cli import ModelChoice, chooses_model
from latentedit.core import echo, print_json, print_rows, progress_bar, read_text, typed_command
from latentedit_bench.cli import bench_disentanglement, bench_keep, bench_run
from latentedit_bench.cli.bench_options import DATA, Captions, Data, Items, Methods, Split, goes_to, open_dataset

_BATCH = 12  # items that are edited together in tuning
app = typer.Typer(
    help="""Benchmark editors against known answers: tune settings, run, rank, report.

    Examples:
        latentedit bench run --items 24 --method eim --method flowedit -o out/run
        latentedit bench report out/run -o report.html
    """,
    no_args_is_help=True,
)


@app.command()
def methods(as_json: cli.Json = False) -> None:
    """List the methods that can be compared: name, editor, and in what each differs from the first with its editor.

    Each has 28 network evaluations an image, unless its row says otherwise, and its best of 16 settings.

    Examples:
        latentedit bench methods
        latentedit bench methods --json
    """
    from latentedit_bench.ranking.search_spaces import differences, search_spaces

    spaces = search_spaces()
    differs = differences(spaces)
    if as_json:
        names = {"name": "name", "editor": "editor", "tries": "tries", "evaluations": "budget"}
        found = [
            {name: getattr(one, field) for name, field in names.items()} | {"differs": differs[one.name]}
            for one in spaces
        ]
        print_json({"methods": found})
        return
    for one in spaces:
        echo(f"{one.name:<28}{one.editor:<20}{differs[one.name]}".rstrip())


@app.command()
def data(
    place: Data = DATA,
    output: Annotated[Path | None, goes_to("Write images, ground truth, masks and a manifest here.")] = None,
    split: Split = "test",
    captions: Captions = "full",
    items: Items = None,
    as_json: cli.Json = False,
) -> None:
    """Check every item of a data set and summarize it; with -o, write it as files with its ground truth.

    Examples:
        latentedit bench data manifest.csv
        latentedit bench data counterfactual-scenes -o scenes
    """
    from collections import Counter

    from latentedit_bench.data.loading import write_manifest

    found = open_dataset(place, split=split, captions=captions, items=items)
    kinds = Counter(item.kind for item in found.items)
    written = None if output is None else write_manifest(found.items, output)
    if as_json:
        print_json({**found.spec, "kinds": kinds, "manifest": written})
        return
    truths = sum(item.truth is not None for item in found.items)
    echo(f"{found.name}, version {found.version}: {len(found.items)} items, {truths} with a right answer")
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    places = [] if written is None else [("manifest", str(written))]
    print_rows([("kinds", counts), ("fingerprint", found.fingerprint), *places])


@app.command()
@chooses_model
def tune(
    place: Data = DATA,
    output: Annotated[Path, goes_to("The file with every setting tried.")] = Path("out/benchmark/tuning.json"),
    method: Methods = None,
    items: Items = 96,
    captions: Captions = "partial+full",
    evaluations: Annotated[
        int | None,
        typer.Option("--evaluations", min=1, help="Most network evaluations of an edit; default: the method's own."),
    ] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Also store the best settings in the model's latentedit.json.")
    ] = False,
    *,
    choice: ModelChoice,
    seed: cli.Seed = 1000,
    as_json: cli.Json = False,
    quiet: cli.Quiet = False,
) -> None:
    """Find each method's best settings on the calibration split, with equal tries and evaluations for each method.

    A stopped search continues: settings that the file has for this model and data are not tried again.

    Examples:
        latentedit bench tune --method flowedit
        latentedit bench tune --items 6 -o out/tuning.json
    """
    import dataclasses
    from itertools import groupby

    from latentedit_bench.ranking.search_spaces import check_names, search_space, search_spaces

    check_names(method or ())  # before anything heavy
    from latentedit.models import bundled_folder
    from latentedit_bench.data.prepared import prepare, same_size
    from latentedit_bench.tuning.tuning import Trials, left_to_tune, store_best, tune_gain, tune_method, write_tuning

    if store:
        bundled_folder(choice.name)  # fails before any work if there is none
    chosen = [search_space(name) for name in method] if method else search_spaces()
    if evaluations is not None:
        chosen = [dataclasses.replace(one, budget=evaluations) for one in chosen]
    found = open_dataset(place, split="calibration", captions=captions, items=items)
    backbone = choice.load()
    best: dict[str, Any] = {}
    with progress_bar(quiet=quiet or as_json) as progress:
        chosen = left_to_tune(output, backbone, found, chosen)
        batches = [prepare(backbone, some) for some in same_size(found.items, _BATCH)] if chosen else []
        for _, some in groupby(chosen, key=lambda one: (one.editor, one.candidates)):
            rows = list(some)
            trials = Trials(batches, {one.local for one in rows}, seed=seed)
            for one in rows:
                tried = tune_method(one, trials, progress=progress)
                gain, error = tune_gain(one, trials, tried[0], progress=progress)
                write_tuning(output, backbone, found, one, tried, gain=gain, command=typed_command())
                best[one.name] = {"error": error, "gain": gain, "settings": tried[0].settings}
                if not (quiet or as_json):
                    echo(f"{one.name:<46}error {error:.4f}, gain {gain:g}, best of {len(tried)}")
    if store:
        store_best(choice.name, output)
    if as_json:
        print_json({"file": output, "best": best})


@app.command()
@chooses_model
def calibrate(
    captions: Annotated[
        Path | None,
        typer.Option("--captions", help="A text file with one caption per line. Default: as for `models calibrate`."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="A folder of images to edit. Default: images sampled from the model."),
    ] = None,
    prefer: Annotated[
        bool, typer.Option("--prefer", help="Prefer these settings to those that come with the model.")
    ] = False,
    *,
    choice: ModelChoice,
    as_json: cli.Json = False,
    quiet: cli.Quiet = False,
) -> None:
    """Find the settings of `eim` for a model without ground truth, and calibrate its verdict with them.

    17 candidates edit images of the model; its own losses and the agreement between the edits choose. The result is
    stored as `latentedit models calibrate` stores it, and every command uses it.

    Examples:
        latentedit bench calibrate --model models/my-model/ --captions captions.txt
        latentedit bench calibrate --prefer
    """
    import dataclasses

    from latentedit.batch import images_in
    from latentedit.calibration import Calibration
    from latentedit.core import to_plain
    from latentedit_bench.tuning.without_truth import search_settings

    texts = [] if captions is None else [line for line in read_text(captions, limit=2**20).splitlines() if line.strip()]
    shown = () if images is None else images_in(images)
    model = choice.load()
    with progress_bar(quiet=quiet or as_json) as progress:
        found = search_settings(model, captions=texts, images=shown, progress=progress)
    found = dataclasses.replace(found, preferred=prefer)
    file = Calibration(fingerprint=model.fingerprint, settings=found).save()
    if as_json:
        print_json({"file": file, "settings": to_plain(found)})
    elif not quiet:
        echo(f"settings: {found.text}")
        echo(f"saved to {file}")


for command in (
    bench_run.run,
    bench_run.status,
    bench_run.report,
    bench_disentanglement.disentanglement,
    bench_keep.keep,
):
    app.command()(command)
