"""What a stranger left in ``outputs``: each file opened, and what is wrong with it told."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from latentedit.api.manifests.items import PictureFile
from latentedit.core.errors import ImageError
from latentedit_bench.open_task.task import OUTPUTS, TaskItem

if TYPE_CHECKING:
    from latentedit_keep.api import KeepResult

_MOVED_PX = 0.5
"""Shift, or growth at the picture's edge, from which a file is told as moved."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong with a file.

    Args:
        file: in the task's folder.
        what: one clause.
        counts: whether it is scored as no edit for this.
    """

    file: str
    what: str
    counts: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Output:
    """One file.

    Args:
        image: RGB, of whatever size; None where there is none that can be read.
        fault: why it cannot be scored as it is; None where it can.
    """

    image: Image.Image | None
    fault: Fault | None


def read_output(folder: Path, file: str, size: tuple[int, int]) -> Output:
    """The picture in a file, and whether it can be compared with one of a size; what is transparent lies on white."""
    path = folder / file
    if not path.is_file():
        return Output(image=None, fault=Fault(file=file, what="is missing", counts=True))
    try:
        image = PictureFile(path)()
    except ImageError as error:
        return Output(image=None, fault=Fault(file=file, what=f"cannot be read: {error}", counts=True))
    if image.size == size:
        return Output(image=image, fault=None)
    told = "{} x {} pixels, not {} x {}".format(*image.size, *size)
    return Output(image=image, fault=Fault(file=file, what=f"is of {told}", counts=True))


def stray_files(folder: Path, items: Sequence[TaskItem]) -> list[Fault]:
    """Files that belong to no item."""
    known = {file for item in items for file in item.files}
    found = sorted(f"{OUTPUTS}/{path.name}" for path in (folder / OUTPUTS).glob("*"))
    return [
        Fault(file=file, what="belongs to no item and was not looked at", counts=False)
        for file in found
        if file not in known
    ]


def moved(file: str, kept: "KeepResult") -> Fault | None:
    """That the picture was moved, zoomed or turned as a whole, or is another one; see `latentedit.keep`."""
    if kept.verdict == "different pictures":
        return Fault(file=file, what="shows another picture", counts=False)
    right, down = kept.shift_px
    half = max(kept.original.size) / 2
    least = max(_MOVED_PX, 2 * kept.uncertainty_px)
    if max(abs(right), abs(down), abs(kept.zoom - 1) * half, abs(kept.rotation_degrees) * half / 57.3) <= least:
        return None
    told = f"by {right:+.1f} px to the right and {down:+.1f} px down, zoom {kept.zoom:.3f}"
    return Fault(file=file, what=f"is moved {told}, turned {kept.rotation_degrees:+.1f} degrees", counts=False)
