"""Copies of model folders with changed configurations."""

import json
import shutil
from pathlib import Path
from typing import Any


def change_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**(json.loads(file.read_text()) if file.exists() else {}), **changes}))


def folder_with(source: Path, target: Path, part: str, **changes: Any) -> Path:
    """A copy of a model folder with a changed configuration."""
    shutil.copytree(source, target)
    change_json(target / part, **changes)
    return target
