"""The callback by which an edit reports its progress and an estimate of the edited latents."""

from collections.abc import Callable

from torch import Tensor

from latentedit.core.console import Progress

LatentProgress = Callable[[str, int, int, Tensor], None]  # `Progress`, and the edited latents as far as they are known


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
