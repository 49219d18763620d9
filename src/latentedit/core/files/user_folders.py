"""The user's own folders, by the convention of the platform."""

import os
import sys
from pathlib import Path
from typing import Literal

_LINUX = {"cache": ("XDG_CACHE_HOME", ".cache"), "data": ("XDG_DATA_HOME", ".local/share")}
_MACOS = {"cache": "Caches", "data": "Application Support"}


def user_folder(kind: Literal["cache", "data"]) -> Path:
    """Where we keep what can be made again ("cache"), or what should last ("data"); it need not be there."""
    if sys.platform == "win32":
        place = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        place = Path.home() / "Library" / _MACOS[kind]
    else:
        variable, usual = _LINUX[kind]
        place = Path(os.environ.get(variable) or Path.home() / usual)
    return place / "latentedit"
