"""Alternatives to `latentedit keep`: the editor's image pasted where it differs. Needs no torch.

Run as a program it times one method on one pair of files, in a process of its own:

    python -m latentedit_bench.known_pairs.baselines METHOD ORIGINAL EDITED OUTPUT
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit.photo import Matrix, largest, resized, scaling, smoothed
from latentedit_bench.known_pairs.opencv import cv2

Pixels = NDArray[np.uint8]  # ``[height, width, 3]``
Plane = NDArray[np.floating[Any]]  # ``[height, width]``

THRESHOLD = 25  # levels of 255, the best of three on the pairs of docs/results/keep.md
_REACH = 0.006  # share of the side: gaps that a baseline closes, and how far its mask reaches beyond what differs
_FEATURES = 4000
_RATIO = 0.75  # ratio of the distances to the nearest and second nearest feature, as in Lowe's paper
_WARP: dict[str, Any] = {"flags": cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}


def baseline(name: str, original: Pixels, edited: Pixels, threshold: int) -> tuple[Pixels, Plane]:
    """The editor's image where it differs by more than a threshold, feathered; and the mask."""
    moving = _FRAMES[name](original, edited)
    apart = cv2.absdiff(*(cv2.GaussianBlur(one, (0, 0), 1.0) for one in (original, moving)))
    radius = max(2, round(_REACH * min(original.shape[:2])))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    speck = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    mask = (largest(apart) > threshold).astype(np.uint8)
    mask = cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_OPEN, speck), cv2.MORPH_CLOSE, disc)
    mask = smoothed(cv2.dilate(mask, disc).astype(np.float32), radius / 2)
    return cv2.blendLinear(original, moving, 1 - mask, mask), mask


def _by_size(original: Pixels, edited: Pixels) -> Pixels:
    return resized(edited, original.shape[1::-1])


def _by_affine(original: Pixels, edited: Pixels) -> Pixels:
    """The way of node packs, after resizing; unchanged if that fails."""
    moving, affine = resized(edited, original.shape[1::-1]), None
    here, there = _matches(original, moving, crossed=True)
    if len(here) >= 4:
        affine, _ = cv2.estimateAffine2D(here, there, method=cv2.RANSAC, ransacReprojThreshold=3)
    return moving if affine is None else cv2.warpAffine(moving, affine, original.shape[1::-1], **_WARP)


def _by_homography(original: Pixels, edited: Pixels) -> Pixels:
    """The way of scripts: features at the edit's size, then one warp to the original's."""
    size, small = original.shape[1::-1], edited.shape[1::-1]
    found: Matrix | None = None
    here, there = _matches(resized(original, small), edited, crossed=False)
    if len(here) >= 4:
        found, _ = cv2.findHomography(here, there, cv2.RANSAC, 2.0)
    if found is None:
        return resized(edited, size)
    return cv2.warpPerspective(edited, found @ scaling(size, small), size, **_WARP)


def _matches(first: Pixels, second: Pixels, *, crossed: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Places of SIFT features that are each other's nearest, or much nearer than the second nearest."""
    detector, matcher = cv2.SIFT_create(_FEATURES), cv2.BFMatcher(cv2.NORM_L2, crossCheck=crossed)
    found = [detector.detectAndCompute(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), None) for one in (first, second)]
    (points, words), (other_points, other_words) = found
    if words is None or other_words is None:
        return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)
    if crossed:
        matches = matcher.match(words, other_words)
    else:
        pairs = matcher.knnMatch(words, other_words, k=2)
        matches = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < _RATIO * pair[1].distance]
    here = np.array([points[match.queryIdx].pt for match in matches], dtype=np.float32)
    there = np.array([other_points[match.trainIdx].pt for match in matches], dtype=np.float32)
    return here, there


_FRAMES: dict[str, Callable[[Pixels, Pixels], Pixels]] = {
    "threshold": _by_size, "sift": _by_affine, "homography": _by_homography,
}  # fmt: skip


def main() -> None:
    """Print CPU seconds, and MB beyond those after the imports."""
    method, *given = sys.argv[1:]
    original, edited, output = map(Path, given)
    cv2.setNumThreads(1)
    run = _keep() if method == "keep" else _paste
    before, started = _memory_mb("VmRSS"), time.process_time()
    found = run(method, original, edited, output)
    seconds = time.process_time() - started
    sys.stdout.write(json.dumps({"found": found, "seconds": seconds, "mb": _memory_mb("VmHWM") - before}))


def _keep() -> Callable[[str, Path, Path, Path], str]:
    """The work of the command, with its imports done."""
    from latentedit import keep  # noqa: PLC0415 (not measured, and no part of the others' memory)

    def run(_: str, original: Path, edited: Path, output: Path) -> str:
        result = keep(original, edited)
        result.save(output)
        return result.found

    return run


def _paste(method: str, original: Path, edited: Path, output: Path) -> str:
    """A baseline from files to a file; "decode" only decodes both and encodes one."""
    first, second = (cv2.imread(str(place)) for place in (original, edited))
    result = first if method == "decode" else baseline(method, first, second, THRESHOLD)[0]
    cv2.imwrite(str(output), result)
    return ""


def _memory_mb(name: str) -> float:
    """From Linux: VmRSS is in use now, VmHWM the most so far of this program (`ru_maxrss` starts with its parent's)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
