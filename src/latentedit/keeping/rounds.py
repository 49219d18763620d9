"""Several edits in a row, each made from the one before: all that they changed, on the image before them."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit.core.console import Progress
from latentedit.photo.images import PixelImage
from latentedit.photo.warp import UNMOVED, Matrix, cv2
from latentedit.pixels.analysis import Analysis
from latentedit.pixels.change import DetectedChange, Found, exact_found
from latentedit.pixels.differing import difference
from latentedit.pixels.registration import Registration

STRANGE = "the edit cannot be aligned with the one before, and was left out: does it belong here?"
WHOLE = "the whole image was redrawn or recolored: all of it was taken, and little of the original is left"
LOST = "what changed was not found on the result of the rounds before, and is lost"
NOTHING = "nothing changed"
TAKEN_BACK = "an earlier change was taken back: is each edit made from the one before it, and are they in order?"
_OVERLAP = 0.25  # share of the smaller of two changes from which on one lies on the other
_BACK = 0.5  # share of an earlier change's difference up to which it was taken back


class KeptChange(Protocol):
    """The parts of `KeepResult` that `Chain` uses; a protocol avoids a circular import."""

    @property
    def kept(self) -> PixelImage: ...

    @property
    def mask(self) -> Image.Image: ...

    @property
    def analysis(self) -> Analysis: ...

    @property
    def doubts(self) -> tuple[str, ...]: ...

    @property
    def edited(self) -> PixelImage: ...

    @property
    def found(self) -> Found: ...

    @property
    def verdict(self) -> str: ...

    @property
    def detected(self) -> DetectedChange | None: ...

    @property
    def matrix(self) -> Matrix: ...

    @property
    def undone(self) -> tuple[str, ...]: ...


class Chain:
    """The first image with the changes of edits in a row, which `follow` adds one by one.

    The change of each round is found between neighbors, which share the damage of all rounds before. Where it is, moved
    to the first image's frame, is the mask of a `keep` of that edit on the result so far.

    Args:
        first: the image before all edits.
        keep: `latentedit.keeping.keep`.
    """

    def __init__(self, first: PixelImage, keep: Callable[..., KeptChange]) -> None:
        self.first, self.kept, self.edit = first, first, first  # the edit is the last one that was aligned, upright
        self.sources: list[tuple[str, str, Path | None]] = []  # name, fingerprint and path of each edit
        self.doubts: dict[str, list[int]] = {}  # numbers of the rounds of each text
        self._keep = keep
        self._matrix = UNMOVED  # from the first image's pixels to those of the last edit
        self._rounds = np.zeros(first.size[::-1], dtype=np.int32)  # the last round that changed each pixel
        self._found: list[str] = []  # verdict of each round
        self._undone: list[tuple[str, ...]] = []
        self._frame: Registration | None = None  # frame of the last edit; None before one was aligned
        self._cast, self._turned = 0.0, ""  # colors and turn of the last edit
        self._least_px: list[int | None] = []

    def follow(self, edit: PixelImage, *, progress: Progress | None = None, of: int = 1) -> NDArray[np.uint8]:
        """Add the change of one more edit; returns its opacity, black if nothing was added. There are ``of`` edits."""
        number, done = len(self.sources), 2 * len(self.sources)
        self.sources.append((edit.name, edit.fingerprint, edit.path))

        def part(begun: int) -> Progress | None:
            report = progress
            if report is None:
                return None
            return lambda task, step, steps: report(task, (done + begun) * steps + step, 2 * of * steps)

        neighbors = self._keep(self.edit, edit, progress=part(0))
        self._found.append(neighbors.verdict)
        is_strange, is_whole = neighbors.found == "different images", neighbors.analysis.is_global
        self._undone.append(() if is_strange else neighbors.undone)
        none = np.zeros(self._rounds.shape, dtype=np.uint8)
        if is_strange:
            self._doubt(number, STRANGE)
            return none
        for doubt in () if is_whole else neighbors.doubts:
            self._doubt(number, doubt)
        changed = np.where(np.asarray(neighbors.mask) > 0, np.uint8(255), np.uint8(0))
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        there = cv2.warpPerspective(changed, self._matrix, self.first.size, flags=flags)
        self._least_px.append(self._in_first(neighbors.analysis.least_px))
        self.edit, self._turned = neighbors.edited, neighbors.analysis.turned
        self._place(neighbors, neighbors.matrix @ self._matrix)
        if not there.any():
            if not neighbors.doubts:
                self._doubt(number, NOTHING)
            return none
        result = self._keep(self.kept, self.edit, mask=there, progress=part(1))
        if result.detected is not None:
            self._place(result, result.matrix)  # unlike a product, it gathers no errors
        changes = difference(self.kept.pixels, result.kept.pixels) > 0
        if not changes.any():
            self._doubt(number, LOST)
        for doubt in result.doubts:
            if doubt.startswith("the alignment is uncertain"):
                self._doubt(number, doubt)
        if is_whole:
            self._doubt(number, WHOLE)
        elif self._is_back(changes, result.kept):
            self._doubt(number, TAKEN_BACK)
        self._rounds[changes] = number + 1
        self.kept = result.kept
        return np.asarray(result.mask)

    def _place(self, found: KeptChange, matrix: Matrix) -> None:
        self._matrix, self._cast = matrix, found.analysis.cast
        frame = dataclasses.replace(found.analysis.registration, matrix=matrix, size=self.first.size)
        self._frame = dataclasses.replace(frame, edited_size=self.edit.size)

    def _doubt(self, index: int, doubt: str) -> None:
        """Note a doubt on a round, without what one can do about a single pair."""
        doubt = doubt.partition("; after several edits in a row")[0].replace(" unless named", "")
        numbers = self.doubts.setdefault(doubt, [])
        if index + 1 not in numbers:
            numbers.append(index + 1)

    def _in_first(self, length: int | None) -> int | None:
        """A length in the last edit's pixels in those of the first image."""
        return None if length is None else math.ceil(length / math.sqrt(abs(np.linalg.det(self._matrix[:2, :2]))))

    def _is_back(self, changes: NDArray[np.bool_], kept: PixelImage) -> bool:
        """Whether a round made what an earlier one had changed much more like the first image again."""
        for number in np.unique(self._rounds[changes & (self._rounds > 0)]):
            earlier = self._rounds == number
            both = changes & earlier
            if both.sum() < _OVERLAP * min(changes.sum(), earlier.sum()):
                continue
            before, after = (difference(self.first.pixels, one.pixels)[both].mean() for one in (self.kept, kept))
            if after < _BACK * before:
                return True
        return False

    @property
    def numbers(self) -> dict[int, int]:
        """The rounds of which something is in the result, with the numbers of their changes."""
        differs = difference(self.first.pixels, self.kept.pixels) > 0
        rounds = np.unique(self._rounds[differs & (self._rounds > 0)])
        return {int(one): number for number, one in enumerate(rounds, 1)}

    def analysis(self) -> Analysis:
        """All that was changed as an exact change of the first image, with what each round changed last as one."""
        differs = difference(self.first.pixels, self.kept.pixels) > 0
        change, numbers = exact_found(differs), self.numbers
        lookup = np.zeros(1 + len(self.sources), dtype=np.int32)
        lookup[list(numbers)] = list(numbers.values())
        change = dataclasses.replace(
            change,
            numbers=np.where(differs, lookup[self._rounds], 0).astype(np.int32),
            contrasts=np.append(0, np.full(len(numbers), np.inf)),
        )
        return Analysis(
            original=self.first, edited=self.kept, upright=self.edit, turned=self._turned,
            found="different images" if self._frame is None else "local change" if numbers else "nothing",
            change=None if self._frame is None else change, frame=change.registration,
            registration=self._frame or change.registration,
        )  # fmt: skip

    @property
    def measured(self) -> dict[str, Any]:
        """The measurements that the exact change does not have: of the last edit, and of the rounds together."""
        known = [one for one in self._least_px if one is not None]
        is_known = len(known) == len(self.sources)
        return {"cast": self._cast, "least_px": max(known) if is_known else None}

    @property
    def lines(self) -> tuple[str, ...]:
        """A line on each round: the number of its change, or its verdict, and what was undone of frame and colors."""
        numbers = self.numbers
        found = [f"change {numbers[one]}" if one in numbers else what for one, what in enumerate(self._found, 1)]
        rows = enumerate(zip(found, self._undone, strict=True), 1)
        return tuple(f"round {one}: {'; '.join([what, *undone])}" for one, (what, undone) in rows)

    @property
    def doubt_lines(self) -> tuple[str, ...]:
        """A clause on each doubt, with the numbers of its rounds."""
        rows = ((f"round{'s' * (len(of) > 1)} {', '.join(map(str, of))}", text) for text, of in self.doubts.items())
        return tuple(f"{which}: {text}" for which, text in rows)
