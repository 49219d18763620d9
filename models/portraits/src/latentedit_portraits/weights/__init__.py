"""The model ``portraits`` as data: a diffusers folder."""

from pathlib import Path

PORTRAITS = Path(__file__).parent / "portraits"
