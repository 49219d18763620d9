"""How long work says how far it is."""

from latentedit_keep.console import Progress

__all__ = ["Progress"]
