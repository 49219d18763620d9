"""``latentedit direction``: direction files. Heavy imports are inside the commands."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli import options
from latentedit.cli.edit import check_written, cross_talk_rows, table_rows
from latentedit.cli.options import ModelChoice, Report, chooses_model, parse_strengths, refuse
from latentedit.core.console import echo, print_json, print_rows, progress_bar, warn, were_replaced
from latentedit.core.errors import ConfigError, OutputError
from latentedit.core.files import existing, sibling_path

if TYPE_CHECKING:
    from latentedit.identification.direction import Direction

app = typer.Typer(
    help="""Direction files: make, show, preview and compare.

    Examples:
        latentedit direction make a.png --change "=> glasses" -o glasses.safetensors
        latentedit direction preview glasses.safetensors --on you.png
    """,
    no_args_is_help=True,
)

File = Annotated[Path, options.argument("A direction file.")]


@app.command()
@chooses_model
def make(
    images: Annotated[list[Path], options.argument("Images to find it on; several are averaged.")],
    output: Annotated[Path, options.output("Output file: FILE.safetensors.")],
    *,
    request: options.ChangeInWords,
    license: Annotated[str, typer.Option("--license", help="License under which you share it, such as CC0-1.0.")] = "",
    choice: ModelChoice,
    seed: options.Seed = 0,
    report: Report,
) -> None:
    """Find a direction, calibrate its strength, and save it to a file.

    Examples:
        latentedit direction make a.png --change "=> glasses" -o glasses.safetensors
        latentedit direction make a.png b.png --change "=> glasses" -o c.safetensors
        latentedit direction make me.png --change "=> a smile" -o smile.safetensors
    """
    request.check_target()
    from latentedit.editing.session import Session
    from latentedit.editing.verbs import calibrate_direction
    from latentedit.encoding.encode import encode
    from latentedit.encoding.images import SourceImage
    from latentedit.identification.direction import check_direction_output

    opened = [SourceImage.open(image) for image in images]
    output = check_direction_output(output)
    with report.progress() as progress:
        names = ("source_prompt", "captioner", "instructed", "references")
        latent = encode(choice.load(), opened, **{name: getattr(request, name) for name in names})
        texts: dict[str, Any] = {name: getattr(request, name) or None for name in ("prompt", "change", "instruction")}
        direction = Session(latent).identify(**texts, seed=seed, progress=progress)
        direction = calibrate_direction(latent, direction, license=license, progress=progress)
    replaced = existing(output)
    direction.save(output)
    report.warn((), replaced)
    _print(direction, output, report)


@app.command()
def show(file: File, as_json: options.Json = False) -> None:
    """Show what a direction does, its range, how it was found and for which model.

    Examples:
        latentedit direction show glasses.safetensors
        latentedit direction show glasses.safetensors --json
    """
    from latentedit.identification.direction import Direction

    _print(Direction.load(file), file, Report(as_json=as_json))


@app.command()
@chooses_model
def preview(
    file: File,
    on: Annotated[
        Path | None, typer.Option("--on", help="An image to try it on. Default: write the stored preview.")
    ] = None,
    strengths: Annotated[
        str | None, typer.Option("--strengths", help="LOW:HIGH:COUNT or a list. Default: its calibrated range.")
    ] = None,
    *,
    request: options.Captions,
    choice: ModelChoice,
    output: options.Output = None,
    quiet: options.Quiet = False,
) -> None:
    """Write a preview of a direction: the stored one, or a sweep on an image.

    Examples:
        latentedit direction preview glasses.safetensors
        latentedit direction preview glasses.safetensors --on you.png -o sweep.png
        latentedit direction preview smile.safetensors --on you.png --strengths 0,1
    """
    output = output if output is not None else sibling_path(file, "preview.png")
    replaced = existing(output)
    from latentedit.core.files import atomic_file
    from latentedit.editing.result import SweepResult
    from latentedit.editing.verbs import run
    from latentedit.encoding.images import SourceImage, check_output
    from latentedit.identification.direction import Direction

    direction = Direction.load(file)
    if on is None:
        captions = {"--source-prompt": request.source_prompt, "--captioner": request.captioner}
        refuse("use these with --on", {"--strengths": strengths, **captions})
        check_output(output)
        if output.suffix.lower() != ".png":
            raise OutputError(f"the stored preview is a PNG; got {output.name!r}. Use a name ending in .png")
        if not direction.preview:
            raise ConfigError(f"{file} contains no preview. Give an image with --on")
        with atomic_file(output) as written:
            written.write(direction.preview)
    else:
        opened = SourceImage.open(on)
        check_written(output, inputs=[on], sweep=True)
        if not strengths:
            own = direction.calibration
            strengths = "0:1:6" if own is None else f"{max(own.lowest, -1):.2f}:{min(own.highest, 2):.2f}:7"
        values = parse_strengths(strengths)
        with progress_bar(quiet=quiet) as progress:
            request = dataclasses.replace(request, direction=(direction,))
            (results,) = run(choice.load(), [opened], request, values, progress=progress)
        SweepResult(results).save(output)
    if not quiet:
        echo(f"{file} -> {output}")
        warn(were_replaced(replaced))


@app.command()
def compare(files: Annotated[list[Path], options.argument("Direction files.")], as_json: options.Json = False) -> None:
    """Compare directions: cosines, and how much of one change comes with another.

    Examples:
        latentedit direction compare glasses.safetensors smile.safetensors
        latentedit direction compare glasses.safetensors smile.safetensors --json
    """
    import torch

    from latentedit.identification.composition import cross_talk, named
    from latentedit.identification.direction import Direction

    if len(files) < 2:
        raise ConfigError(f"compare at least two files; got {len(files)}. Add another")
    directions = [Direction.load(file) for file in files]
    for direction in directions[1:]:
        direction.check_model(directions[0].model_name, directions[0].model_fingerprint)
    talk = cross_talk(directions)[0]
    lengths = [float(direction.length[0]) for direction in directions]
    cosines = talk * torch.tensor(lengths)[None, :] / torch.tensor(lengths)[:, None]
    if as_json:
        values = {"lengths": lengths, "cosines": cosines.tolist(), "cross_talk": talk.tolist()}
        print_json({"files": files, **values})
        return
    for file, direction, name, length in zip(files, directions, named(directions), lengths, strict=True):
        print_rows([(file.stem[:11], f"{name}; length {length:.2f}, {direction.method}, {direction.fingerprint}")])
    stems = [file.stem for file in files]
    print_rows([("cosines", ", ".join(stems)), *table_rows(cosines, stems), *cross_talk_rows(talk, stems)])


def _print(direction: "Direction", file: Path, report: Report) -> None:
    from latentedit.identification.description import describe

    rows = describe(direction)
    texts = {label: text for label, text in rows if label != "note"}
    more = {"notes": direction.notes, "calibration": direction.calibration}
    report.result({"file": file, **texts, **more}, file, rows)
