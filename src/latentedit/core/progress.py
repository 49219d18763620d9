"""How long work says how far it is."""

from latentedit_keep.progress import Progress

__all__ = ["Progress"]
