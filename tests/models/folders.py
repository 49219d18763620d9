"""Copies of model folders with something changed."""

import json
import shutil
from pathlib import Path
from typing import Any


def change_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**(json.loads(file.read_text()) if file.exists() else {}), **changes}))


def folder_with(source: Path, place: Path, part: str, **changes: Any) -> Path:
    """A copy of a model folder with a changed configuration."""
    shutil.copytree(source, place)
    change_json(place / part, **changes)
    return place
