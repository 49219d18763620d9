"""The model ``scenes`` as data: a diffusers folder."""

from pathlib import Path

SCENES = Path(__file__).parent / "scenes"
