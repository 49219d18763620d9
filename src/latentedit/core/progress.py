"""The callback by which long computations report progress."""

from latentedit_keep.base.console import Progress, progress_bar

__all__ = ["Progress", "progress_bar"]
