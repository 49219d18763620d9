"""How a kept picture was made: enough to make it again from the same two pictures. No path, no clock."""

import importlib.metadata
import json
import platform
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from latentedit._version import __version__
from latentedit.core.errors import FileFormatError
from latentedit.keeping.opencv import cv2
from latentedit.keeping.verdict import Verdict

_RECORDED = ("numpy", "scipy")


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class KeptPicture(_Record):
    """A picture's name without folder, and the fingerprint of its pixels."""

    name: str
    fingerprint: str


class KeepRecord(_Record):
    """Enough to keep a change again.

    Args:
        format: of the record.
        output: tells it from the records of edits.
        original: on which the change was put.
        edited: from which it came.
        mask: name and fingerprint of the mask that bounded it, if one did.
        strength: of the change.
        only: numbers of the changes that were kept; None for all.
        verdict: what the pair is.
        versions: of latentedit, OpenCV, NumPy, SciPy and Python.
    """

    format: Annotated[int, Field(ge=1, le=1)] = 1
    output: Literal["kept"] = "kept"
    original: KeptPicture
    edited: KeptPicture
    mask: KeptPicture | None = None
    strength: float
    only: Annotated[tuple[int, ...], Field(strict=False)] | None = None
    verdict: Verdict
    versions: dict[str, str]

    def to_json(self) -> str:
        """One line, the same for equal records."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, name: str) -> "KeepRecord":
        """Read what `to_json` wrote.

        Raises:
            FileFormatError: anything else.
        """
        try:
            return cls.model_validate_json(text)
        except pydantic.ValidationError as error:
            raise FileFormatError(
                f"{name} carries no record of a kept change. Give a PNG that latentedit keep wrote"
            ) from error


def versions() -> dict[str, str]:
    """Of what a kept picture depends on."""
    found = {"latentedit": __version__, "python": platform.python_version(), "opencv": cv2.__version__}
    return found | {package: importlib.metadata.version(package) for package in _RECORDED}
