"""The callback by which long computations report progress."""

from latentedit_keep.base.console import Progress

__all__ = ["Progress"]
