"""Noise that a codec leaves far from a change in a pair that was encoded from one document.

WebP, AVIF, HEIC and JPEG XL predict each block from blocks that were encoded before it. An edit
therefore changes the blocks behind it a little, while all blocks before it stay equal bit for bit.
Such a pair is not exact, although most of its texture is equal. In a photograph that was saved as
AVIF with an edit of 1.9 % of its pixels, 19 % of them differed.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from latentedit.photo.color import Pixels
from latentedit.photo.warp import Array, Mask, cv2
from latentedit.pixels.differing import difference


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CodecNoiseSettings:
    """What separates a codec's noise from faint edits, with the cases that fixed each limit.

    Args:
        strong_levels: minimum difference of a pixel of the edit itself, in levels of 255.
        strong_quantile: quantile of the differences that stands for the strongest ones.
        strong_fraction: fraction of that quantile that a pixel of the edit itself reaches.
        far_px: distance from the edit above which a difference is far; JPEG's blocks carry no
            difference so far.
        far_fraction: minimum fraction of the differing pixels that are far; JPEG pairs had none,
            exact pairs of real edits at most .05, except for two, which the balance separates.
        tile_px: side of the tiles in which differences are summed.
        balance: maximum of the absolute sums over the sums of the absolute differences; a codec's
            noise has both signs (.07 to .5), while soft brushes and shadows have one (.62 and
            more).
        grain_spread: maximum relative spread of the differences in the tiles of grain that was
            added to a selection (.05); a codec's noise falls with the distance from the edit (.2
            and more).
        grain_tiles: minimum number of tiles in which that spread is known.
        filter_fraction: maximum fraction of the energy that a linear filter of 3 x 3 pixels
            explains; a selection that was sharpened, smoothed, or moved by a fraction of a pixel
            had .2 and more.
        filter_samples: number of pixels on which the filter is fitted.
    """

    strong_levels: float = 8.0
    strong_quantile: float = 0.995
    strong_fraction: float = 0.25
    far_px: int = 24
    far_fraction: float = 0.12
    tile_px: int = 24
    balance: float = 0.5
    grain_spread: float = 0.15
    grain_tiles: int = 12
    filter_fraction: float = 0.16
    filter_samples: int = 20_000


SETTINGS = CodecNoiseSettings()


def has_codec_noise(original: Pixels, edited: Pixels) -> bool:
    """Whether much of the difference is noise far from the edit, as codecs leave it."""
    settings = SETTINGS
    amount = difference(original, edited)
    far = find_far_differences(amount, settings)
    if far.sum() <= settings.far_fraction * np.count_nonzero(amount):
        return False
    before = original[..., :3].sum(axis=2, dtype=np.int32)
    after = edited[..., :3].sum(axis=2, dtype=np.int32)
    signed = after - before
    signed_sums = sum_tiles(signed * far, settings.tile_px)
    absolute_sums = sum_tiles(np.abs(signed) * far, settings.tile_px)
    if np.abs(signed_sums).sum() > settings.balance * absolute_sums.sum():
        return False
    if is_uniform(absolute_sums, settings):
        return False
    return fraction_explained_by_filter(before, signed, far, settings) < settings.filter_fraction


def find_far_differences(amount: Array, settings: CodecNoiseSettings) -> Mask:
    """The differing pixels that are far from all strong differences."""
    differs = amount > 0
    strongest = float(np.quantile(amount[differs], settings.strong_quantile))
    limit = max(settings.strong_levels, settings.strong_fraction * strongest)
    square = np.ones((3, 3), dtype=np.uint8)
    edit = cv2.morphologyEx((amount >= limit).astype(np.uint8), cv2.MORPH_OPEN, square)
    neighborhood = np.ones([2 * settings.far_px + 1] * 2, dtype=np.uint8)
    near = cv2.dilate(edit, neighborhood) > 0
    return differs & ~near


def sum_tiles(plane: NDArray[np.int32], tile_px: int) -> NDArray[np.float32]:
    """Mean of each tile of a plane, which is its sum but for a constant factor."""
    height, width = plane.shape
    size = max(1, width // tile_px), max(1, height // tile_px)
    return cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def is_uniform(absolute_sums: NDArray[np.float32], settings: CodecNoiseSettings) -> bool:
    """Whether the inner tiles that differ do so by about the same amount, as grain does."""
    differs = (absolute_sums > 0).astype(np.uint8)
    inner = cv2.erode(differs, np.ones((3, 3), dtype=np.uint8)) > 0
    sums = absolute_sums[inner]
    if sums.size < settings.grain_tiles:
        return False
    return bool(sums.std() <= settings.grain_spread * sums.mean())


def fraction_explained_by_filter(
    before: NDArray[np.int32],
    signed: NDArray[np.int32],
    far: Mask,
    settings: CodecNoiseSettings,
) -> float:
    """Fraction of the energy of the far differences that a linear filter explains."""
    places = np.flatnonzero(far)
    places = places[:: max(1, len(places) // settings.filter_samples)]
    rows, columns = np.divmod(places, far.shape[1])
    padded = np.pad(before.astype(np.float64), 1, mode="edge")
    neighbors = [padded[rows + down, columns + right] for down in range(3) for right in range(3)]
    design = np.stack([*neighbors, np.ones(len(places))], axis=1)
    target = signed.ravel()[places].astype(np.float64)
    weights = np.linalg.lstsq(design, target, rcond=None)[0]
    unexplained = target - design @ weights
    return 1 - float(unexplained @ unexplained) / max(float(target @ target), 1.0)
