"""``latentedit edit``: a picture, or many; one change or several. What is heavy is imported when the command runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit.cli.console import (
    Changes,
    Device,
    Directions,
    From,
    Json,
    Local,
    Mask,
    Method,
    Mixing,
    Model,
    Output,
    Quiet,
    Ray,
    Reader,
    Seed,
    Strengths,
    To,
    Workers,
    print_json,
    print_rows,
    progress_bar,
    say,
    warn,
)
from latentedit.cli.edit_folder import BATCH, Typed, edit_many, is_many, refuse
from latentedit.cli.reporting import replay_command, result_json, result_rows
from latentedit.cli.request import default_output, open_checked


def edit(
    picture: Annotated[
        Path, typer.Argument(help="The picture to edit, or a folder or manifest of many.", show_default=False)
    ],
    to: To = None,
    change: Changes = None,
    direction: Directions = None,
    source: From = None,
    captioner: Reader = None,
    mask: Mask = None,
    strength: Strengths = None,
    method: Method = "eim",
    mixing: Mixing = "sum",
    local: Local = None,
    model: Model = "portraits",
    seed: Seed = 0,
    device: Device = None,
    output: Output = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Also write source, edited and difference side by side.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", help=f"Of many: edited together; less where memory is short. Default: {BATCH}."),
    ] = None,
    workers: Workers = None,
    ray: Ray = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Edit a picture, or many: from what it shows to what you ask for, and nothing else."""
    typed = Typed(
        to=to,
        changes=change,
        directions=direction,
        source=source,
        captioner=captioner,
        strengths=strength,
        method=method,
        mixing=mixing,
        local=local,
        seed=seed,
    )
    common: dict[str, Any] = {"model": model, "device": device, "output": output, "as_json": as_json, "quiet": quiet}
    if not is_many(picture):
        refuse("they are for a folder or a manifest", {"--batch": batch, "--workers": workers, "--ray": ray})
        _edit_one(picture, typed, mask=mask, sheet=sheet, **common)
        return
    refuse("they are for a single picture", {"--sheet": sheet, "--mask": mask})
    edit_many(picture, typed, batch=BATCH if batch is None else batch, workers=workers, ray=ray, **common)


def _edit_one(
    picture: Path,
    typed: Typed,
    *,
    model: str,
    device: str | None,
    output: Path | None,
    mask: Path | None,
    sheet: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    wanted = typed.wanted()
    output = output if output is not None else default_output(picture, "edited.png")
    # Cheap checks first: the picture and the names before the model, the model before the work.
    from latentedit.api.outputs import write_result
    from latentedit.api.verbs import load

    opened = open_checked(picture, output=output, sheet=sheet, mask=mask)
    asked = typed.asked(wanted)
    with progress_bar(quiet=quiet or as_json) as progress:
        (result,) = asked.edit(
            load(model, device=device),
            [opened],
            captions=None if wanted.caption is None else [wanted.caption],
            targets=None if wanted.to is None else [wanted.to],
            captioner=typed.captioner,
            mask=mask,
            progress=progress,
        )
    write_result(result, output, sheet=sheet)
    warn(() if quiet else result.notes)
    origin, files = "read" if typed.source is None else "given", wanted.directions
    if as_json:
        about = {"picture": picture, "output": output, "sheet": sheet, "seed": typed.seed, "caption_origin": origin}
        print_json(result_json(result, **about, directions=files))
    elif not quiet:
        say(f"{picture} -> {output}")
        again = replay_command(output, picture=picture, model=model, mask=mask, directions=files)
        print_rows(result_rows(result, origin=origin, sheet=sheet, again=again))
