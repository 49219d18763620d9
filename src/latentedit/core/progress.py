"""The callbacks by which long computations report progress."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit_keep.floor import console
from latentedit_keep.floor.console import Progress

__all__ = ["Estimating", "LatentProgress", "Progress", "check_progress", "note_estimate", "progress_bar"]

LatentProgress = Callable[[str, int, int, Tensor], None]  # `Progress`, and the edited latents as far as they are known


def check_progress(progress: object) -> None:
    """Refuse what cannot be called with a task, a step and a number, before anything is computed."""
    try:
        if progress is None or (callable(progress) and inspect.signature(progress).bind("", 0, 1)):
            return
    except TypeError:
        pass
    except ValueError:  # of a function without a signature nothing is known
        return
    raise ConfigError(
        f"`progress` is a function of task, step and number; got {progress!r:.60}. "
        "Give one such as lambda task, step, number: print(task, step, number)"
    )


def progress_bar(
    given: Progress | bool | None = True, *, quiet: bool = False
) -> AbstractContextManager[Progress | None]:
    """That of the console, for a function that was checked."""
    check_progress(None if isinstance(given, bool) else given)
    return console.progress_bar(given, quiet=quiet)


class Estimating:
    """A `Progress` that reports the latest estimate of the edited latents too."""

    def __init__(self, report: LatentProgress, estimate: Tensor) -> None:
        self._report, self.estimate = report, estimate

    def __call__(self, name: str, done: int, total: int) -> None:
        self._report(name, done, total, self.estimate)


def note_estimate(progress: Progress | None, x: Tensor, change: Tensor) -> None:
    """Estimate the edited latents as ``x + change``, where somebody wants to see them."""
    if isinstance(progress, Estimating):
        progress.estimate = x + change
