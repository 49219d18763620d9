"""``latentedit undo``: restore the image before an edit. Heavy imports are inside the command."""

from pathlib import Path
from typing import Annotated

import typer

from latentedit.cli import options
from latentedit.cli.edit import recorded_model
from latentedit.cli.options import ModelChoice, Report, chooses_model, refuse
from latentedit.core.errors import ConfigError
from latentedit_keep.base.files import existing, sibling_path

_DIRECTION = "The direction file; required unless the PNG is unchanged since it was written."
_AUTO_MASK = "Whether the edit was restricted to an automatic mask. Default: as for the model."


@chooses_model
def undo(
    image: Annotated[Path, options.argument("An image that latentedit edited.", "IMAGE")],
    direction: Annotated[Path | None, typer.Option("--direction", help=_DIRECTION)] = None,
    strength: Annotated[
        float | None, typer.Option("--strength", help="Strength of that direction. Default: 1.")
    ] = None,
    auto_mask: Annotated[bool | None, typer.Option("--auto-mask/--no-auto-mask", help=_AUTO_MASK)] = None,
    *,
    choice: ModelChoice,
    output: options.Output = None,
    report: Report,
) -> None:
    """Restore the original of an edited image.

    Exactly from the PNG as written, or approximately from pixels and the direction file, which requires its model.

    Examples:
        latentedit undo me.edited.png
        latentedit undo me.edited.png -o me.again.png
        latentedit undo glasses.jpg --direction glasses.safetensors --strength 0.7
    """
    if direction is None:
        refuse("use these with --direction", {"--strength": strength, "--auto-mask/--no-auto-mask": auto_mask})
    output = output if output is not None else sibling_path(image, "undone.png")
    from latentedit.directions.direction import Direction
    from latentedit.editing.undo import undo as undo_file
    from latentedit.editing.undo import undo_direction
    from latentedit.latents.images import SourceImage, check_output
    from latentedit.latents.record import RunRecord
    from latentedit_keep.base.saving import read_chunks, save_image

    opened = SourceImage.open(image)
    check_output(output, source=image, transparent=opened.image.mode == "RGBA")
    text, _ = read_chunks(image)
    record = None if text is None else RunRecord.from_json(text, str(image))
    if record is not None and record.output != "image":
        raise ConfigError(f"{image} is a {record.output}, not an edited image. Give the image itself")
    if direction is None:
        before = undo_file(image)
    else:
        backbone = (choice if record is None else recorded_model(record, choice)).load()
        loaded = Direction.load(direction, model=backbone)
        degree = 1.0 if strength is None else strength
        before = undo_direction(backbone, opened, loaded, strength=degree, auto_mask=auto_mask)
    replaced = existing(output)
    save_image(before, output)
    report.warn((), replaced)
    how = "file" if direction is None else "direction"
    same = None if record is None else SourceImage.open(output).fingerprint == record.image.fingerprint
    facts = {"image": image, "output": output, "how": how, "bit_for_bit": same}
    words = {None: "unknown (no record)", True: "yes, bit for bit", False: "no, approximately"}
    report.result(facts, f"{image} -> {output}", [("restored", f"from the {how}"), ("identical", words[same])])
