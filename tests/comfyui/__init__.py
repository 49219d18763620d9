"""The pack for ComfyUI, without ComfyUI."""

import importlib
import sys
from pathlib import Path
from typing import Any

from tests.installed import from_file

PACK = Path(__file__).parents[2] / "comfyui"


def pack(module: str) -> Any:
    """A module of the pack, which has no name of its own: ComfyUI gives it one."""
    if "latentedit_pack" not in sys.modules:
        from_file(PACK / "__init__.py", "latentedit_pack")
    return importlib.import_module(f"latentedit_pack.{module}")
