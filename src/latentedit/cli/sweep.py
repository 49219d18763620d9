"""``latentedit sweep``: one change at several strengths, as a sheet or an animation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli.console import Debug, Device, Json, Model, Quiet, Seed, print_json, print_rows, progress_bar, warn
from latentedit.cli.strengths import parse_strengths
from latentedit.errors import ConfigError

if TYPE_CHECKING:
    from latentedit.editing.result import EditResult


def sweep(
    picture: Annotated[Path, typer.Argument(help="The picture to edit.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="What the picture should show: a full caption.", show_default=False)],
    source: Annotated[
        str | None, typer.Option("--from", help="What it shows now; read from the picture if not given.")
    ] = None,
    strengths: Annotated[
        str, typer.Option("--strengths", help="LOW:HIGH:COUNT, such as -1:1:9, or a list, such as 0,0.5,1.")
    ] = "0:1:6",
    arm: Annotated[
        str | None, typer.Option("--arm", help="image, text or joint; what suits the model if not given.")
    ] = None,
    model: Model = "portraits",
    seed: Seed = 0,
    device: Device = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A sheet (.png, .jpg) or an animation (.gif, .webp)."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Sweep a change through strengths: 0 is the picture, 1 the whole change, -1 its opposite."""
    del debug
    wanted = parse_strengths(strengths)
    for option, text in (("--to", to), ("--from", source)):
        if text is not None and not text.strip():
            raise ConfigError(f"expected {option} to say what the picture shows; got an empty caption. Write one")
    output = output if output is not None else picture.with_name(f"{picture.stem}.sweep.png")
    # Cheap checks first: the picture and the names before the model, the model before the work.
    from latentedit.editing import verbs
    from latentedit.editing.slider import check_arm
    from latentedit.editing.strip import check_sweep_output
    from latentedit.encoding.encode import encode
    from latentedit.encoding.images import Picture

    opened = Picture.open(picture)
    check_sweep_output(output, source=picture)
    moved = None if arm is None else check_arm(arm)
    with progress_bar(quiet=quiet or as_json) as progress:
        latent = encode(verbs.load(model, device=device), opened, caption=source)
        direction = verbs.identify(latent, to=to.strip(), seed=seed, progress=progress)
        found = verbs.sweep(latent, direction, strengths=wanted, arm=moved, progress=progress)
    results = [result for result in found if not isinstance(result, list)]
    _draw(picture, results, output)
    notes = dict.fromkeys(note for result in results for note in result.notes)
    warn(() if quiet else tuple(notes))
    if as_json:
        print_json(_as_json(picture, output, results, seed))
    elif not quiet:
        print(f"{picture} -> {output}")
        print_rows([("caption", results[0].caption), ("target", results[0].target_caption), *_rows(results)])


def _draw(picture: Path, results: list["EditResult"], output: Path) -> None:
    from latentedit.editing.strip import save_sweep

    labels = [f"{result.strength:.2f}\n{_measured(result)}" for result in results]
    lines = (f"from: {results[0].caption}", f"to: {results[0].target_caption}")
    save_sweep([result.image for result in results], labels, output, title=picture.name, lines=lines)


def _measured(result: "EditResult") -> str:
    word = "damaged" if result.verdict.word == "damaged" else "measured"
    return word if result.measured_strength is None else f"{word} {result.measured_strength:.2f}"


def _rows(results: list["EditResult"]) -> list[tuple[str, str]]:
    rows = [
        (f"{result.strength:.2f}", f"{_measured(result)}; {result.verdict.word}: {result.verdict.reason}")
        for result in results
    ]
    cost = results[0].cost
    count = len(results)
    spent = f"{count * cost.evaluations:g} evaluations after the direction was known, {count * cost.seconds:.1f} s"
    return [*rows, ("cost", spent)]


def _as_json(picture: Path, output: Path, results: list["EditResult"], seed: int) -> dict[str, Any]:
    first = results[0]
    return {
        "picture": picture,
        "output": output,
        "caption": first.caption,
        "target": first.target_caption,
        "seed": seed,
        "strengths": [
            {
                "strength": result.strength,
                "measured_strength": result.measured_strength,
                "verdict": result.verdict,
                "effect": result.effect,
            }
            for result in results
        ],
        "cost": first.cost,
        "record": first.record,
    }
