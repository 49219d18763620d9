"""``latentedit edit``: edit an image, a folder or a manifest. Heavy imports are inside the command."""

from pathlib import Path
from typing import Annotated

from latentedit.cli import options
from latentedit.cli.edit_folder import edit_many, is_many, refuse
from latentedit.cli.model_choice import EditChoice, ModelChoice, Report, chooses_model
from latentedit.cli.reporting import replay_command, result_json, result_rows
from latentedit.cli.request import open_checked
from latentedit.cli.strengths import parse_strength
from latentedit_keep.files import named_beside


@chooses_model
def edit(
    picture: Annotated[Path, options.argument("The image to edit, or a folder or manifest of images.", "PICTURE")],
    *,
    chosen: EditChoice,
    strength: options.Strengths = None,
    combine: options.Combine = "sum",
    choice: ModelChoice,
    output: options.Output = None,
    sheet: Annotated[
        Path | None,
        options.option(
            options.OUTPUT, "--sheet", help="Also write a sheet: source, result and difference side by side."
        ),
    ] = None,
    view: Annotated[
        Path | None,
        options.option(
            options.OUTPUT, "--view", help="Also write an HTML page with a slider, a wipe and the difference."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        options.option(options.MANY, "--batch", min=1, help="Batch size; reduced when memory runs out. Default: 8."),
    ] = None,
    workers: options.Workers = None,
    ray: options.Ray = None,
    report: Report,
) -> None:
    """Edit an image, or many, and leave everything else as it is.

    Say what to change by words of the caption (--change), a full target caption (--prompt), direction files
    (--direction) or, for instruction-tuned models, an instruction (--instruction). The result contains its record:
    `latentedit replay` reproduces it, `latentedit undo` restores the original.

    Examples:
        latentedit edit me.png --change "=> glasses"
        latentedit edit me.png --add glasses --strength 0.7 -o glasses.png
        latentedit edit me.png --instruction "add glasses" --model kontext/
        latentedit edit portraits/ --change "=> glasses" -o edited/ --workers 2
    """
    request = chosen.request(strength=parse_strength(strength), combine=combine)
    mask, directions = chosen.mask, chosen.direction or []
    if is_many(picture):
        refuse("use these with a single image", {"--sheet": sheet, "--view": view, "--mask": mask})
        edit_many(picture, request, choice=choice, output=output, batch=batch, workers=workers, ray=ray, report=report)
        return
    refuse("use these with a folder or a manifest", {"--batch": batch, "--workers": workers, "--ray": ray})
    request.check_target()
    output = output if output is not None else named_beside(picture, "edited.png")
    # Cheap checks come first: files and names before the model, the model before the edit.
    from latentedit.editing.verbs import edit_pictures, read_directions

    opened = open_checked(picture, output=output, sheet=sheet, view=view, mask=mask, references=request.references)
    request = read_directions(request)
    with report.progress() as progress:
        (result,) = edit_pictures(choice.load(), [opened], request, progress=progress)
    result.save(output, sheet=sheet, view=view)
    effect = result.effect_in(output)
    report.warn(result.notes)
    read = "captioned" if result.caption else "not needed"
    origin = "instructed" if result.record.instructed else read if request.source_prompt is None else "given"
    files = {"picture": picture, "output": output, "sheet": sheet, "view": view}
    about = {"seed": request.seed, "caption_origin": origin, "directions": directions}
    again = replay_command(
        output, picture=picture, choice=choice, mask=mask, directions=directions, references=chosen.reference or ()
    )
    rows = result_rows(result, effect=effect, origin=origin, sheet=sheet, view=view, again=again)
    report.result(result_json(result, effect=effect, **files, **about), f"{picture} -> {output}", rows)
