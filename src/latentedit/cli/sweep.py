"""``latentedit sweep``: one edit at several strengths, as a sheet or a page with a slider."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli import options
from latentedit.cli.model_choice import ChangeChoice, ModelChoice, chooses_model
from latentedit.cli.request import default_output, open_checked
from latentedit.cli.strengths import parse_strengths
from latentedit_keep.console import print_json, print_rows, progress_bar, say, warn

if TYPE_CHECKING:
    from latentedit.api.result import EditResult


@chooses_model
def sweep(
    picture: Annotated[Path, typer.Argument(help="The image to edit.", show_default=False, metavar="PICTURE")],
    *,
    words: ChangeChoice,
    direction: options.Directions = None,
    mask: options.Mask = None,
    strengths: Annotated[
        str,
        typer.Option(
            "--strengths",
            help="Strengths: LOW:HIGH:COUNT, such as -1:1:9, or a list, such as 0,0.5,1.",
            rich_help_panel=options.CHANGE,
        ),
    ] = "0:1:6",
    arm: Annotated[
        str | None,
        typer.Option(
            "--arm",
            help="Part of the joint latent that eim moves: image, text or joint. Default: chosen for the model.",
            autocompletion=options.completed(*options.ARMS),
            rich_help_panel=options.CHANGE,
        ),
    ] = None,
    method: options.Method = None,
    local: options.Local = None,
    choice: ModelChoice,
    seed: options.Seed = 0,
    anyway: options.Anyway = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A sheet (.png, .jpg) or a page with a slider (.html).",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Edit an image at several strengths: 0 is the original, 1 the full change, negative values reverse it.

    The results are written side by side to a sheet, or to a page with a slider.

    Examples:
        latentedit sweep me.png --change "=> glasses"
        latentedit sweep me.png --change "=> glasses" --strengths=-1:1:9 -o me.png
        latentedit sweep me.png --change "=> glasses" --strengths 0:1.5:7 -o me.html
        latentedit sweep me.png --change "=> glasses" --method flowslider
        latentedit sweep me.png --direction glasses.safetensors --strengths 0,0.5,1
    """
    request = words.request(
        direction=tuple(direction or ()),
        mask=mask,
        method=method,
        local=local,
        seed=seed,
        settings={} if arm is None else {"arm": arm},
        anyway=anyway,
    )
    request.check_wanted()
    values = parse_strengths(strengths)
    output = output if output is not None else default_output(picture, "sweep.png")
    # Cheap checks come first: files and names before the model, the model before the edit.
    from latentedit.api.result import write_sweep
    from latentedit.api.verbs import read_directions, run
    from latentedit.editors.slider import check_arm

    opened = open_checked(picture, output=output, mask=mask, beside=request.beside, sweep=True)
    files, request = request.direction, read_directions(request)
    if arm is not None:
        check_arm(arm)
    with progress_bar(quiet=quiet or as_json) as progress:
        (results,) = run(choice.load(), [opened], request, values, progress=progress)
    write_sweep(results, output)
    notes = dict.fromkeys(note for result in results for note in result.notes)
    warn(() if quiet else tuple(notes))
    if as_json:
        about = {"picture": picture, "output": output, "seed": seed, "directions": files}
        print_json({**about, **sweep_json(results)})
    elif not quiet:
        say(f"{picture} -> {output}")
        target = results[0].target_caption or "no caption"
        about = [("caption", results[0].caption or "none"), ("target", target), ("method", results[0].method)]
        print_rows([*about, *sweep_rows(results)])


def sweep_rows(results: list["EditResult"]) -> list[tuple[str, str]]:
    """One row per strength, and the cost."""
    rows = [(f"{result.strength:.2f}", result.verdict.text) for result in results]
    cost, count = results[0].cost, len(results)
    return [*rows, ("cost", f"{count * cost.evaluations:g} evaluations, {count * cost.seconds:.1f} s")]


def sweep_json(results: list["EditResult"]) -> dict[str, Any]:
    """The report as JSON."""
    first = results[0]
    return {
        "caption": first.caption,
        "target": first.target_caption,
        "method": first.method,
        "strengths": [
            {
                "strength": result.strength,
                "verdict": result.verdict,
                "knowledge": result.knowledge,
                "effect": result.effect,
            }
            for result in results
        ],
        "cost": first.cost,
        "record": first.record,
    }
