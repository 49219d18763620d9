"""``latentedit replay``: reproduce a result from its record. Heavy imports are inside the command."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit.cli import options
from latentedit.cli.edit import check_written, recorded_model
from latentedit.cli.options import ModelChoice, Report, chooses_model, refuse
from latentedit.core.errors import ConfigError
from latentedit.core.files import existing, sibling_path

_EDITED = "For a result of keep: the editor's image. Default: looked up next to the result."
_REFERENCE = "A reference image, in order. Default: looked up next to the result. Repeatable."


@chooses_model
def replay(
    result: Annotated[Path, options.argument("A file that latentedit wrote.", "RESULT")],
    image: Annotated[
        Path | None, typer.Option("--image", help="The original image. Default: looked up next to the result.")
    ] = None,
    direction: Annotated[
        list[Path] | None, typer.Option("--direction", help="A direction file that was applied. Repeatable.")
    ] = None,
    edited: Annotated[Path | None, typer.Option("--edited", help=_EDITED)] = None,
    mask: Annotated[Path | None, options.mask("The mask that was used.")] = None,
    reference: Annotated[list[Path] | None, typer.Option("--reference", help=_REFERENCE)] = None,
    *,
    choice: ModelChoice,
    output: options.Output = None,
    report: Report,
) -> None:
    """Reproduce a result from its record, and report whether the files are identical.

    Examples:
        latentedit replay me.edited.png
        latentedit replay me.edited.png --image images/me.png -o again.png
        latentedit replay glasses.png --direction glasses.safetensors
        latentedit replay photo.kept.png --image photo.jpg --edited edited.png
    """
    output = output if output is not None else sibling_path(result, f"again{result.suffix}")
    replaced = existing(output)
    from latentedit.photo.saving import read_chunks

    text = read_chunks(result)[0] if result.suffix.lower() == ".png" else None
    if text is not None and '"output": "kept"' in text:
        refuse("the result was written by keep", {"--direction": direction, "--reference": reference})
        _keep_again(text, result, output, (image, edited, mask), report)
        report.warn((), replaced)
        return
    refuse("the result was not written by keep", {"--edited": edited})
    from latentedit.editing.outputs import read_record
    from latentedit.editing.replay import differences
    from latentedit.editing.replay import replay as replay_record
    from latentedit.editing.result import SweepResult
    from latentedit.encoding.images import SourceImage
    from latentedit.identification.direction import Direction

    record = read_record(result)
    original = _source(result, record.image.name, image)
    source = SourceImage.open(original)
    references = reference or [_source(result, one.name, None, option="--reference") for one in record.references]
    read = [path for path in (result, original, mask, *references) if path is not None]
    transparent = source.image.mode == "RGBA" and record.output == "image"
    check_written(output, inputs=read, sweep=record.output == "sweep", transparent=transparent)
    if record.model.dtype not in options.DTYPES[1:]:
        raise ConfigError(f"the record has an unknown dtype, {record.model.dtype!r}. Edit the image again")
    recorded = ModelChoice(device=record.model.device, dtype=record.model.dtype)
    backbone = recorded_model(record, choice).or_else(recorded).load()
    directions = [Direction.load(path, model=backbone) for path in direction or ()]
    used: dict[str, Any] = {"directions": directions, "mask": mask, "references": references}
    with report.progress() as progress:
        made = replay_record(record, backbone, source, **used, progress=progress)
    if record.output == "sweep":
        SweepResult(made).save(output)
    elif record.output == "sheet":
        made[0].save_sheet(output)
    else:
        made[0].save(output)
    report.warn((), replaced)
    _print(result, output, differences(record, made[0].record), report)


def _keep_again(text: str, result: Path, output: Path, inputs: tuple[Path | None, ...], report: Report) -> None:
    """Reproduce a result of keep; requires no model."""
    from latentedit.keeping.api import KeepRecord, keep_again
    from latentedit.photo.images import read_pixels
    from latentedit.photo.saving import check_keep_output

    image, edited, mask = inputs
    record = KeepRecord.from_json(text, str(result))
    original = _source(result, record.original.name, image)
    changed = _source(result, record.edited.name, edited, option="--edited")
    between = [_source(result, one.name, None, option="") for one in record.between]
    if record.mask is not None:
        mask = _source(result, record.mask.name, mask, option="--mask")
    read = [path for path in (result, original, *between, changed, mask) if path is not None]
    check_keep_output(read_pixels(original), output, inputs=read)
    with report.progress() as progress:
        made = keep_again(record, original, changed, between=between, mask=mask, progress=progress)
    made.save(output)
    differing = [
        f"{name} {record.versions.get(name, 'none')} -> {now}"
        for name, now in made.record.versions.items()
        if record.versions.get(name) != now
    ]
    _print(result, output, differing, report)


def _print(result: Path, output: Path, differences: list[str], report: Report) -> None:
    same = output.read_bytes() == result.read_bytes()
    facts = {"result": result, "output": output, "same": same, "differences": differences}
    identical = "yes, byte for byte" if same else "" if report.as_json else _how_far(result, output)
    rows = [("identical", identical), *(("differs", text) for text in differences)]
    report.result(facts, f"{result} -> {output}", rows)


def _source(result: Path, name: str, given: Path | None, *, option: str = "--image") -> Path:
    """The given image, or one of the recorded name next to the result or in the current folder."""
    if given is not None:
        return given
    name = Path(name).name
    for path in [result.parent / name, Path(name)] if name else []:
        with contextlib.suppress(OSError):  # a name from a file may be too long for the system
            if path.is_file() and path.resolve() != result.resolve():
                return path
    remedy = f"Give it with {option}" if option else "Put it there"
    raise ConfigError(f"the original {name or 'image'} is not next to {result}. {remedy}")


def _how_far(first: Path, second: Path) -> str:
    """How two results differ, in pixels if they have one size."""
    from latentedit.editing.effect import measure_effect
    from latentedit.editing.outputs import same_image
    from latentedit.encoding.images import SourceImage
    from latentedit.photo.saving import read_chunks
    from latentedit.viewer.page import is_page

    if is_page(first):
        return "no"
    before, after = SourceImage.open(first).image, SourceImage.open(second).image
    if same_image(before, after):
        if read_chunks(first) == read_chunks(second):
            return "pixels and metadata identical, encoding differs"
        return "pixels identical, metadata differs"
    if before.size != after.size:
        return f"no: {before.width}x{before.height} pixels against {after.width}x{after.height}"
    effect = measure_effect(before, after)
    return (
        f"no: {100 * effect.changed_share:.2f} % of the pixels differ by more than 8 of 255 levels; PSNR of the rest "
        f"{effect.rest_psnr_db:.0f} dB"
    )
