"""``latentedit sweep``: one edit at several strengths, as a sheet or a page with a slider."""

from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit.cli import options
from latentedit.cli.edit import completed_rows, open_checked
from latentedit.cli.options import ModelChoice, Report, chooses_model, parse_strengths
from latentedit.core.files import existing, sibling_path


@chooses_model
def sweep(
    image: Annotated[Path, options.argument("The image to edit.", "IMAGE")],
    *,
    request: options.Sweep,
    strengths: Annotated[
        str,
        typer.Option("--strengths", help="Strengths: LOW:HIGH:COUNT, such as -1:1:9, or a list, such as 0,0.5,1."),
    ] = "0:1:6",
    choice: ModelChoice,
    output: Annotated[Path | None, options.output("A sheet (.png, .jpg) or a page with a slider (.html).")] = None,
    verbose: options.Verbose = False,
    report: Report,
) -> None:
    """Edit an image at several strengths: a sheet, or a page with a slider.

    0 is the original, 1 the full change; negative values reverse it. A change that adds, removes or
    exchanges a thing is off or on. Several changes or instructions share the strength;
    `latentedit edit` takes one --strength for each of them.

    Examples:
        latentedit sweep me.png --change "=> glasses"
        latentedit sweep me.png --change "=> glasses" --strengths=-1:1:9 -o grid.png
        latentedit sweep me.png --change "=> glasses" --strengths 0:1.5:7 -o me.html
        latentedit sweep me.png --direction glasses.safetensors --strengths 0,0.5,1
    """
    directions = request.direction
    request.check_target()
    values = parse_strengths(strengths)
    output = output if output is not None else sibling_path(image, "sweep.png")
    # Cheap checks come first: files and names before the model, the model before the edit.
    from latentedit.editing.result import SweepResult
    from latentedit.editing.verbs import read_directions, run

    opened = open_checked(image, output=output, mask=request.mask, references=request.references, sweep=True)
    request = read_directions(request)
    with report.progress() as progress:
        results = SweepResult(run(choice.load(), [opened], request, values, progress=progress)[0])
    replaced = existing(output)
    results.save(output)
    report.warn(results.notes, replaced)
    first, fields = results[0], ("strength", "verdict", "knowledge", "effect")
    facts: dict[str, Any] = {"image": image, "output": output, "seed": request.seed, "directions": directions}
    facts |= {"caption": first.caption, "target": first.target_caption, "method": first.method}
    facts["strengths"] = [{name: getattr(result, name) for name in fields} for result in results]
    facts |= {"cost": results.cost, "notes": results.notes, "completion": first.completion, "record": first.record}
    rows = [("change", first.change_text), *((f"{result.strength:.2f}", result.verdict.text) for result in results)]
    if verbose:
        rows += [
            ("caption", first.caption or "none"),
            ("target", first.target_caption or "no caption"),
            *completed_rows(first),
            ("method", first.method),
            ("cost", f"{results.cost.evaluations:g} evaluations, {results.cost.seconds:.1f} s"),
        ]
    report.result(facts, f"{image} -> {output}", rows)
