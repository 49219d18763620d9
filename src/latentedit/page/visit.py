"""The state of an open page: its pair of images and its running task."""

import contextlib
import dataclasses
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, ImageError, LatentEditError
from latentedit.keeping.api import INVERTED, KeepResult, keep
from latentedit.page import brush
from latentedit.page.downloads import Download, kept_files, layer_file
from latentedit.photo.images import PixelImage, opened, read_content, read_pixels

MAX_KEPT_PIXELS = 25_000_000  # most pixels of each image, which stay in memory during a visit
STOPPED = "Canceled. Nothing was changed."


class StoppedError(LatentEditError):
    """The task was canceled, or the page was closed."""


class Visit:
    """The state of an open page: a pair and its result, and the running task.

    Tasks of all open pages run one after another, holding the lock ``working``. After `stop`, a
    task ends at its next progress report, and nothing has changed.
    """

    def __init__(self, working: threading.Lock) -> None:
        self.pair: dict[str, PixelImage] = {}  # "original" and "edited"
        self.mask: PixelImage | None = None  # the uploaded mask
        self.strokes = ""  # strokes of the restore brush, see `brush`
        self.kept: KeepResult | None = None  # at strength 1; at first the page's example, without a pair
        self.busy = False  # a task runs
        self.lost = ""  # why the last upload did not arrive
        self._working = working
        self._stops = 0  # number of calls of `stop`
        self._closed = False

    def stop(self) -> None:
        """End the running or waiting task at its next step."""
        self._stops += 1

    def close(self) -> None:
        """End the running task and all that wait, when the page was closed."""
        self._closed = True

    @property
    def shows_example(self) -> bool:
        """Whether the result is the page's own example."""
        return self.kept is not None and not self.pair

    def drop(self, role: str, path: Path) -> PixelImage:
        """Read one image of a pair, "original" or "edited"."""
        image = _read(path)
        self.put({**self.pair, role: image})
        return image

    def put(self, pair: dict[str, PixelImage]) -> None:
        """Take other images, not yet compared."""
        self.pair, self.mask, self.strokes, self.kept = pair, None, "", None

    def keep_pair(self, *, progress: Progress | None = None) -> bool:
        """Compare a new pair; False if one of its images is missing."""
        if len(self.pair) < 2 or self.kept is not None:
            return False
        report = self.reporting(progress)
        with self.alone():
            self.kept = keep(self.pair["original"], self.pair["edited"], progress=report)
        return True

    def limit(self, *, mask: Path | PixelImage | None, only: Sequence[int] | None, strokes: str) -> None:
        """Keep only the changes of these numbers, or all, only where a mask is white and nothing was painted."""
        kept, mask = self._kept(), _read(mask) if isinstance(mask, Path) else mask
        found = kept.analysis.unmasked
        usual = found.kept_by_default
        only = None if only is None or set(only) == set(usual) else tuple(only)
        if strokes and mask is None and only is None and found.is_local:
            only = usual  # a mask alone would say that all that is seen beside the strokes is wanted
        if (mask, only, strokes) != (self.mask, kept.record.only, self.strokes):
            with self.alone():
                kept = _composed(kept, brush.limits(kept, mask, strokes), only)
                doubts = tuple(doubt for doubt in kept.doubts if not (strokes and doubt == INVERTED))
                self.kept = dataclasses.replace(kept, doubts=doubts)
                self.mask, self.strokes = mask, strokes

    def unpainted(self) -> KeepResult:
        """The result without strokes."""
        kept = self._kept()
        return _composed(kept, self.mask, kept.record.only) if self.strokes else kept

    def kept_files(self, strength: float | None, *, layers: str = "") -> list[Download]:
        """The result, or with the ending of a file of layers, those."""
        kept = self._kept()
        limits = brush.limits(kept, self.mask, self.strokes)
        if strength not in (None, 1):
            with self.alone():
                kept = _composed(kept, limits, kept.record.only, strength)
        if layers:
            return layer_file(kept, layers)
        return kept_files(kept, limits if self.strokes and kept.record.mask else None)

    def _kept(self) -> KeepResult:
        if self.kept is None:
            raise ConfigError("there is no result yet. Drop an original and an edited image first")
        return self.kept

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """No other task runs meanwhile."""
        with self._working:
            self.busy = True
            try:
                yield
            finally:
                self.busy = False

    def reporting(self, progress: Progress | None) -> Progress:
        """Return a callback that raises a `StoppedError` once `stop` or `close` was called.

        Tasks without steps are not reported.
        """
        stops = self._stops

        def report(what: str, done: int, total: int) -> None:
            if self._closed:
                raise StoppedError("the page was closed")
            if self._stops != stops:
                raise StoppedError(STOPPED)
            if progress is not None and total:
                progress(what, done, total)

        return report


def _composed(
    kept: KeepResult, limits: PixelImage | None, only: Sequence[int] | None, strength: float = 1.0
) -> KeepResult:
    """The result within limits. It is the original if nothing may be kept: all may be painted."""
    if limits is not None and not limits.pixels.any():
        limits, strength = None, 0.0
    return kept.composed(mask=limits, only=only, strength=strength)


def _read(path: Path) -> PixelImage:
    content = read_content(path)
    check_pixels(path.name, content, MAX_KEPT_PIXELS, "keep")
    return dataclasses.replace(read_pixels(content, path.name), path=Path(path.name))


def check_pixels(name: str, content: bytes, most: int, command: str) -> None:
    """Refuse an image of more pixels before it is decoded."""
    with opened(Path(name).name, content=content) as image:
        width, height = image.size
    if width * height > most:
        raise ImageError(
            f"the image has {width} x {height} = {width * height / 1e6:.1f} megapixels; this page accepts at most "
            f"{most // 1_000_000}. Resize it, or use latentedit {command}"
        )
