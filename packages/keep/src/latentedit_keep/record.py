"""How a kept picture was made: enough to make it again from the same two pictures. No path, no clock."""

import dataclasses
import importlib.metadata
import json
import platform
from typing import Any

from latentedit_keep.errors import FileFormatError
from latentedit_keep.verdict import Verdict
from latentedit_keep.warp import cv2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeptPicture:
    """A picture's name without folder, and the fingerprint of its pixels."""

    name: str
    fingerprint: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeepRecord:
    """Enough to keep a change again.

    Args:
        original: on which the change was put.
        edited: from which it came.
        mask: name and fingerprint of the mask that bounded it, if one did.
        strength: of the change.
        only: numbers of the changes that were kept; None for all.
        verdict: what the pair is.
        versions: of latentedit-keep, OpenCV, NumPy and Python.
    """

    original: KeptPicture
    edited: KeptPicture
    mask: KeptPicture | None = None
    strength: float
    only: tuple[int, ...] | None = None
    verdict: Verdict
    versions: dict[str, str]

    def to_json(self) -> str:
        """One line, the same for equal records; "output" tells it from the records of edits."""
        told = {"format": 1, "output": "kept", **dataclasses.asdict(self)}
        return json.dumps(told, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, name: str) -> "KeepRecord":
        """Read what `to_json` wrote.

        Raises:
            FileFormatError: anything else.
        """
        try:
            told: dict[str, Any] = json.loads(text)
            only = told["only"]
            found = cls(
                original=KeptPicture(**told["original"]),
                edited=KeptPicture(**told["edited"]),
                mask=None if told["mask"] is None else KeptPicture(**told["mask"]),
                strength=float(told["strength"]),
                only=None if only is None else tuple(int(number) for number in only),
                verdict=told["verdict"],
                versions=dict(told["versions"]),
            )
            if json.loads(found.to_json()) != told:
                raise ValueError("it says more")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise FileFormatError(
                f"{name} carries no record of a kept change. Give a PNG that latentedit keep wrote"
            ) from error
        return found


def versions() -> dict[str, str]:
    """Of what a kept picture depends on."""
    found = {"python": platform.python_version(), "opencv": cv2.__version__}
    return found | {name: importlib.metadata.version(name) for name in ("latentedit-keep", "numpy")}
