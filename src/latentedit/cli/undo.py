"""``latentedit undo``: the image before an edit, from its PNG. Heavy imports are in the function."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from latentedit.core.console import echo, print_json, print_rows, warn, were_replaced
from latentedit.core.errors import ConfigError
from latentedit.core.files import existing, sibling_path
from latentedit.core.options import Json, Output, Quiet, argument

Edited = Annotated[Path, argument("An image that latentedit edited.", "IMAGE")]


def undo(image: Edited, output: Output = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Restore every pixel of an edited image's original from the PNG as latentedit wrote it.

    Examples:
        latentedit undo me.edited.png
        latentedit undo me.edited.png -o me.again.png
    """
    from latentedit.keeping.undoing import read_record
    from latentedit.keeping.undoing import undo as undo_file
    from latentedit.photo.images import fingerprint_of, read_image
    from latentedit.photo.saving import check_output, read_chunks, save_image

    output = output if output is not None else sibling_path(image, "undone.png")
    check_output(output, source=image, transparent=read_image(image).mode == "RGBA")
    text, _ = read_chunks(image)
    record: Mapping[str, Any] = {} if text is None else read_record(text, str(image))
    kind = record.get("output", "image")
    if kind != "image":
        raise ConfigError(f"{image} is a {kind}, not an edited image. Give the image itself")

    restored = undo_file(image)
    replaced = existing(output)
    save_image(restored, output)

    source = record.get("image", {}).get("fingerprint")
    same = None if source is None else fingerprint_of(read_image(output)) == source
    words = {None: "unknown (no record)", True: "yes, every pixel", False: "no, approximately"}
    if not quiet:
        warn(were_replaced(replaced))
    if as_json:
        print_json({"image": image, "output": output, "bit_for_bit": same})
    elif not quiet:
        echo(f"{image} -> {output}")
        print_rows([("identical", words[same])])
