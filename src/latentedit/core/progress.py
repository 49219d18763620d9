"""The callback by which long computations report progress."""

from latentedit_keep.console import Progress

__all__ = ["Progress"]
