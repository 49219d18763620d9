"""``latentedit undo``, also by a direction. Heavy imports are inside the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentedit.cli import options
from latentedit.cli import undo_file as undo_command
from latentedit.cli.edit import recorded_model
from latentedit.cli.options import ModelChoice, Report, chooses_model, refuse

if TYPE_CHECKING:
    from PIL import Image

_DIRECTION = "The direction file; required unless the PNG is unchanged since it was written."
_AUTO_MASK = "Whether the edit was restricted to an automatic mask. Default: as for the model."


@chooses_model
def undo(
    image: undo_command.Edited,
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
        undo_command.undo(image, output, report.as_json, report.quiet)
        return

    def before() -> "Image.Image":
        from latentedit.editing.undo import undo_direction
        from latentedit.encoding.images import SourceImage
        from latentedit.encoding.record import RunRecord
        from latentedit.identification.direction import Direction
        from latentedit.photo.saving import read_chunks

        text, _ = read_chunks(image)
        record = None if text is None else RunRecord.from_json(text, str(image))
        backbone = (choice if record is None else recorded_model(record, choice)).load()
        loaded = Direction.load(direction, model=backbone)
        degree = 1.0 if strength is None else strength
        return undo_direction(backbone, SourceImage.open(image), loaded, strength=degree, auto_mask=auto_mask)

    undo_command.restore(image, output, before, how="direction", as_json=report.as_json, quiet=report.quiet)
