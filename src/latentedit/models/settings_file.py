"""``latentedit.json``, the file in which a model's folder keeps what we know about it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentedit.models.folder_settings import check_settings
from latentedit.models.loading import SETTINGS_FILE
from latentedit.models.weights import read_json
from latentedit_keep.files import write_text


def read_settings(folder: Path) -> dict[str, Any]:
    """The content of the folder's ``latentedit.json``.

    Raises:
        ModelError: no such file, not a JSON object, or a setting of another type.
    """
    return check_settings(read_json(folder / SETTINGS_FILE), folder / SETTINGS_FILE)


def write_settings(folder: Path, change: Mapping[str, object]) -> None:
    """Change some keys of the folder's ``latentedit.json``, the rest stays; see `change_json`."""
    change_json(folder / SETTINGS_FILE, change)


def change_json(path: Path, change: Mapping[str, object]) -> None:
    """Change some keys of a JSON file, or begin one; written beside it and renamed, so it is never half written.

    Args:
        path: of the file.
        change: keys and their new values; other keys keep theirs.

    Raises:
        ModelError: the file that is there holds no JSON object; it is left as it is.
        OutputError: the place cannot be written to, or the disk is full.
    """
    known = read_json(path) if path.exists() else {}
    write_text(path, json.dumps(known | dict(change), indent=1) + "\n")
