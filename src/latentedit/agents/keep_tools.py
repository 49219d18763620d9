"""The tools that check, keep and undo an edit. They need no model; heavy imports are inside the functions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pydantic

from latentedit.agents.tools import JSON_LIST, Answer, Boxes, EditedImage, OriginalImage, Tool, ToolCall
from latentedit.core.errors import ImageError, OutputError
from latentedit.core.files import plain

if TYPE_CHECKING:
    from latentedit.keeping.checking import Step

# The next steps of a report, with tools and arguments instead of commands and options.
_NEXT_STEPS: "dict[Step, str]" = {
    "use edited": "Use the edited image.",
    "keep": "Use keep_edit with the same files: it puts the change alone on the original's pixels.",
    "keep within mask": "Use keep_edit with the same files: it keeps the original everywhere else.",
    "use edited or keep": (
        "If more was to be shown, use the edited image; otherwise keep_edit with the same files has "
        "the original's frame."
    ),
    "use edited or keep changes": (
        "If the colors were requested, use the edited image; otherwise keep_edit with the same "
        "files has the original's."
    ),
    "look": "Look at the panel: is all of the edit in it, and nothing else?",
    "edit again": ("Edit once more with another instruction; if nothing changes again, use another editor."),
    "check files": "Check that the files belong together; if they do, edit again.",
    "allow whole image": ("If that was the request, use the edited image, and allow it with `max_outside` 1."),
    "invert mask": (
        "Check which part of the mask may change: if it is the black part, invert the mask and check again."
    ),
}


def check_edit(
    call: ToolCall,
    original: OriginalImage,
    edited: EditedImage,
    mask: Annotated[
        str | None,
        pydantic.Field(
            description=(
                "Image of the original's size or shape, white where it may change: a path relative to the root folder."
            )
        ),
    ] = None,
    box: Boxes = None,
    max_outside: Annotated[
        float | None,
        pydantic.Field(
            description=(
                "Share of the pixels, from 0 to 1, that may change outside the mask; 0.001 by "
                "default. 1 also allows a change of the whole image."
            )
        ),
    ] = None,
    expect_size: Annotated[bool, pydantic.Field(description="Fail if the size changed.")] = False,
) -> Answer:
    """Measure whether an image editor changed an image, where, and what else changed (shift, zoom, colors, noise).

    Use it after every edit; use keep_edit to repair what it finds. It compares pixels: it does not know what was
    asked for. It writes no file and changes none, and it needs no network and no model. It costs seconds of CPU.
    Returns `passed`, a `verdict`, the changed `regions`, doubts, a `next_step`, and an image of at most 1024 px
    with the changes outlined.
    """
    from latentedit.keeping.checking import check

    result = check(
        call.input_file(original),
        call.input_file(edited),
        mask=call.optional_input(mask),
        box=box,
        max_outside=max_outside,
        expect_size=expect_size,
    )
    next_step = _NEXT_STEPS[result.report.next_step_code]
    return Answer(result.report.values | {"next_step": next_step}, result.panel)


def keep_edit(
    call: ToolCall,
    original: OriginalImage,
    edited: EditedImage,
    output: Annotated[
        str | None,
        pydantic.Field(
            description=(
                "New file; NAME.kept.png by default, .tif for a TIFF of 16 bits, or NAME.kept-2.png "
                "if that exists. Only a file that is named is written if nothing changed."
            )
        ),
    ] = None,
    between: Annotated[
        list[str] | None,
        JSON_LIST,
        pydantic.Field(
            description=(
                "Of several edits in a row, each made from the one before, all but the last one, in "
                "order. The number of a change is then that of its edit."
            )
        ),
    ] = None,
    mask: Annotated[
        str | None,
        pydantic.Field(
            description=(
                "Image of the original's size or shape, white where a change may be kept: all that is seen there is."
            )
        ),
    ] = None,
    box: Boxes = None,
    strength: Annotated[float, pydantic.Field(description="From 0, the original, to 1, the whole change.")] = 1.0,
    only: Annotated[
        list[int] | None,
        JSON_LIST,
        pydantic.Field(
            description=("Numbers of the `changes` that are kept, such as [1, 3]; by default all but the faint ones.")
        ),
    ] = None,
    ai: Annotated[
        bool,
        pydantic.Field(
            description=(
                "Whether AI made the edit, which the result then declares; it also does if a file declares it."
            )
        ),
    ] = False,
    save_mask: Annotated[
        str | None,
        pydantic.Field(description="New .png, also written: the opacity of the change."),
    ] = None,
    save_layer: Annotated[
        str | None,
        pydantic.Field(description=("New .png, .ora or .tif, also written: the change as a layer over the original.")),
    ] = None,
) -> Answer:
    """Put only the edit on the original's own pixels, and write the result as a new file.

    Use it if check_edit finds that more changed than was asked for: all else becomes the original again, with its
    size, colors and metadata. It makes no edit of its own. It never replaces or deletes a file, and it needs no
    network and no model. It costs seconds of CPU. Returns the `output`, null if nothing changed, what was `found`
    and corrected, what was `left_out`, and an image of at most 1024 px.
    """
    from latentedit.keeping import api
    from latentedit.keeping.writing import failure, is_copy, write
    from latentedit.photo.images import read_pixels
    from latentedit.photo.layers import LAYERS, MASKS, check_ending
    from latentedit.photo.saving import check_keep_output, usual_ending

    api.check_only(only)
    original_file = call.input_file(original)
    edited_file = call.input_file(edited)
    between_files = [call.input_file(name) for name in between or ()]
    mask_limit = call.optional_input(mask)
    original_pixels = read_pixels(original_file)

    ending = f"kept.{usual_ending(original_pixels)}"
    output_file = call.output_or_default(output, original_file, ending)
    mask_file = _extra_output(call, "save_mask", save_mask)
    layer_file = _extra_output(call, "save_layer", save_layer)
    if mask_file is not None:
        check_ending(mask_file, MASKS)
    if layer_file is not None:
        check_ending(layer_file, LAYERS)
    _check_distinct([output_file, mask_file, layer_file])
    check_keep_output(original_pixels, output_file, inputs=[])

    result = api.keep(
        original_pixels,
        edited_file,
        between=between_files,
        mask=mask_limit,
        box=box,
        strength=strength,
        only=only,
        ai=ai,
    )
    problem = failure(result, original_file, edited_file, mask_limit)
    if problem:
        raise ImageError(f"{problem}. Call check_edit with the same files to see why")

    # A copy of the original is written only under a name that the agent asked for.
    written_file = output_file
    if output is None and is_copy(result):
        written_file = None
    result, metadata = write(result, written_file, mask_file, layer_file)
    files = {"output": written_file, "mask_file": mask_file, "layer_file": layer_file}
    values = plain(files) | plain(result.measures) | {"left_out": metadata.left_out}
    image = None if written_file is None else result.image
    return Answer(values, image)


def _extra_output(call: ToolCall, argument: str, name: str | None) -> Path | None:
    """Return the path of a mask or a layer that is also written, or None if none was named."""
    return None if name is None else call.output_file(argument, name)


def _check_distinct(files: list[Path | None]) -> None:
    """Raise an `OutputError` if two new files have the same path."""
    paths = set[Path]()
    for path in files:
        if path is None:
            continue
        if path in paths:
            raise OutputError(f"{path} is named twice. Choose another name for the mask or the layer")
        paths.add(path)


def undo_edit(
    call: ToolCall,
    path: Annotated[
        str,
        pydantic.Field(description="Edited image that latentedit wrote, relative to the root folder."),
    ],
    output: Annotated[str | None, pydantic.Field(description="New file; NAME.undone.png by default.")] = None,
) -> Answer:
    """Restore the image before an edit by latentedit, bit for bit; use history to find the original of a kept image.

    Use it only for results of edit_image: it cannot undo the edits of other programs. It never replaces or deletes a
    file, and it needs no network and no model. It costs less than a check. Returns the `output`.
    """
    from latentedit.keeping.undoing import undo
    from latentedit.photo.saving import save_image

    edited_file = call.input_file(path)
    output_file = call.output_or_default(output, edited_file, "undone.png")
    save_image(undo(edited_file), output_file)
    return Answer({"output": str(output_file)})


_SMALLER = "Pass smaller images, or ask the user to start the server with more --seconds"
CHECK_EDIT = Tool(title="Check an edit", function=check_edit, writes=False, timeout_remedy=_SMALLER)
KEEP_EDIT = Tool(title="Keep only the edit", function=keep_edit, timeout_remedy=_SMALLER)
UNDO_EDIT = Tool(title="Undo an edit", function=undo_edit)
