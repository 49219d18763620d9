"""Bundled models as data: diffusers folders, found through the entry points of the group ``latentedit.models``."""

from pathlib import Path

_HERE = Path(__file__).parent

PORTRAITS_UNET = _HERE / "portraits-unet"
PORTRAITS_KONTEXT = _HERE / "portraits-kontext"
PIXELS_DISCS = _HERE / "pixels-discs"
PIXELS_PORTRAITS = _HERE / "pixels-portraits"
