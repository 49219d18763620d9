"""How a kept picture was made: enough to make it again from the same two pictures. No path, no clock."""

import dataclasses
import importlib.metadata
import json
import platform
from typing import Any

from latentedit_keep.change import Verdict
from latentedit_keep.errors import FileFormatError
from latentedit_keep.pictures import PixelPicture
from latentedit_keep.warp import cv2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeptPicture:
    """A picture's name without folder, and the fingerprint of its pixels."""

    name: str
    fingerprint: str

    @classmethod
    def of(cls, picture: PixelPicture) -> "KeptPicture":
        """That of a picture."""
        return cls(name=picture.name, fingerprint=picture.fingerprint)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeepRecord:
    """Enough to keep a change again."""

    original: KeptPicture
    edited: KeptPicture
    mask: KeptPicture | None = None
    strength: float
    only: tuple[int, ...] | None = None  # numbers of the changes that were kept; None for all
    verdict: Verdict
    versions: dict[str, str]  # of latentedit-keep, OpenCV, NumPy and Python

    def to_json(self) -> str:
        """One line, the same for equal records; "output" tells it from the records of edits."""
        told = {"format": 1, "output": "kept", **dataclasses.asdict(self)}
        return json.dumps(told, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, name: str) -> "KeepRecord":
        """Read what `to_json` wrote; anything else is a `FileFormatError`."""
        try:
            told: dict[str, Any] = json.loads(text)
            given: dict[str, Any] = {key: told[key] for key in told.keys() - {"format", "output"}}
            for key in ("original", "edited", "mask"):
                given[key] = given[key] and KeptPicture(**given[key])
            given["only"] = given["only"] and tuple(int(number) for number in given["only"])
            given |= {"strength": float(told["strength"]), "versions": dict(told["versions"])}
            found = cls(**given)
            if json.loads(found.to_json()) != told:
                raise ValueError("it says more")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            why = f"{name} carries no record of a kept change. Give a PNG that latentedit keep wrote"
            raise FileFormatError(why) from error
        return found


def versions() -> dict[str, str]:
    """Of what a kept picture depends on."""
    found = {"python": platform.python_version(), "opencv": cv2.__version__}
    return found | {name: importlib.metadata.version(name) for name in ("latentedit-keep", "numpy")}
