"""Alignment with the original: an affine map from several starts, refined by masked ECC, and then local drift."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit.core.console import Tick, nothing
from latentedit.photo import warp
from latentedit.photo.warp import (
    OPAQUE,
    Alphas,
    Array,
    Box,
    Mask,
    Matrix,
    Size,
    cv2,
    gray,
    median,
    quantile,
    smoothed,
)
from latentedit.pixels.tones import consensus

_WORKING_SIDE_PX = 1024  # longest side for registration; of 12 megapixels, the error is .003 px
_NORMALIZING_SIGMA_PX = 8.0  # window of local brightness and contrast, so that casts and light do not matter
_FLOOR = 3.0  # gray levels of contrast below which a place counts as flat
_TILE_PX = 24  # side of the tiles whose correlations are the agreement
_TEXTURE = 0.05  # variance of the normalized gray from which on a tile has texture
_TILE_AGREES = 0.5  # correlation from which on a tile counts as the same in both images
_PLAIN_SIDE_PX = 256  # longest side at which structure is sought above the grain
_GRAIN_PX = 5.0  # window in which grain is measured at that size
_FLATTEST = 0.3  # quantile of the places' deviation that is grain's
_MOST_FLOOR = 30.0  # bound of that in levels, since gravel is no grain
_PLAIN = 0.3  # agreement below which structure above the grain is tried
_PLAIN_TILES = 0.2  # share of the tiles with texture, below which there is too little to align by
# Attempts in turn: sigma of an average in px, multiple of the grain that hides structure, and agreement of the tiles
# from which on it is the same image. Averages of strangers agree by up to .36; a scene drawn from afar agrees by more.
_PLAINLY = ((0.0, 6.0, 0.35), (1.5, 3.0, 0.5))
_THINGS_AGREE = 0.7  # agreement of the few things in front of a plain ground that moved
_THINGS_MOVE = 0.1  # distance that things may have moved, as a share of the side
_CELLS = 16  # cells along the longer side, whose colors are compared
_CELL_LEVELS = 3.0  # difference within which a cell agrees
_CELL_SPREAD = 0.15  # share of the cells' spread within which a cell agrees, too
_CELLS_AGREE = 0.75  # share of the cells
_CELLS_CAST = 30.0  # levels of the largest cast
_LITTLE = 0.1  # agreement below which an image is also tried as a negative
_NEARLY = 0.6  # agreement from which on a start needs no features to end at the same place
_FEATURES = 4000  # per image; started from ORB, the refinement ends as well as from the best of all starts
_FEW_INLIERS = 30  # inliers of ORB below which SIFT is tried, too
_RANSAC_PX = 2.0  # distance of an inlier at the working size; the refinement removes the rest
_DETAIL = 0.2  # normalized gray above which a pixel belongs to an edge or to texture
_SOFT_PX = 1.2  # sigma of both planes in the refinement
_STEEPEST = 100_000  # pixels that the refinement is on
_SAMPLES = 50_000  # pixels on which a quantile is measured
_OUTLIER = 2.5  # multiple of the noise beyond which a pixel has no say in the refinement
_LEAST_NOISE = 0.05  # least noise of the normalized gray
_FEWEST = 200  # pixels that have a say
_MOST_STEPS = 12  # most steps of the refinement
_STILL_PX = 2e-3  # mean movement in a step, below which the refinement stands still
_ERROR_PER_SPLIT = 6.0  # error over half the distance of the matrices from either half of the pixels (90 % of cases)

_DRIFT_SIDE_PX = 512  # longest side for a drift, which is smooth
_MOST_PX = 8.0  # most of a drift at the working size; farther away is another object
_TOGETHER = 1 / 30  # sigma of the smooth flow, as a share of the side
_FITS = 1.0  # difference of the normalized gray at which a pixel has half a say
_GAIN = 0.25  # share of the tiles in disagreement that must agree without the drift
_LITTLE_PX = 0.3  # median flow below which nothing drifted; editors that drift move things by 1 to 10 px
_LEAST_SIDE_PX = 64  # smaller images hold too little texture
_MORE_TILES = 5  # textured tiles that must agree in addition; fewer are chance, and a new object would be bent to fit

_CROP_SIDE_PX = 1600  # longest side of both images in the search for a crop
_CROP_INLIERS = 20  # features that agree; those of other images are up to 8
_CROP_DEGREES = 2.0  # angle by which a crop may be turned
_CROP_INSIDE = 0.9  # least share of a crop that lies in the original
_CROP_OF_ALL = 0.9  # largest share of the original that a crop shows
_SAME_PLACE_PX = 0.5  # distance from whole pixels up to which an original lies in a larger image as it is
_BEYOND = 0.01  # share of the side by which the edited image reaches beyond the original where that is named
_TURNED_SIDE_PX = 256  # longest side of thumbnails in the search for a turn
_TURNED_AGREES = 0.35  # agreement of the same image; that of others is up to .15


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Registration:
    """Affine map from the original's pixels to those of the edited image."""

    matrix: Matrix
    agreement: float  # share of the textured tiles that are the same in both images, in [0, 1]
    inliers: int  # features that agree with one affine map, sought where little agrees without them
    uncertainty_px: float  # how far off the matrix may be, in the original's pixels (nine of ten are closer)
    size: Size
    edited_size: Size

    @classmethod
    def unmoved(cls, size: Size, edited_size: Size) -> "Registration":
        """The registration of an editor that at most resized the image, for certain."""
        matrix = warp.scaling(size, edited_size)
        return cls(matrix=matrix, agreement=1.0, inliers=0, uncertainty_px=0.0, size=size, edited_size=edited_size)

    def between(self, size: Size, edited_size: Size) -> "Registration":
        """The same of both images at other sizes."""
        matrix = warp.scaling(self.edited_size, edited_size) @ self.matrix @ warp.scaling(size, self.size)
        off = self.uncertainty_px * size[0] / self.size[0]
        return dataclasses.replace(self, matrix=matrix, uncertainty_px=off, size=size, edited_size=edited_size)

    @property
    def resized(self) -> Matrix:
        """The matrix between the original and the edited image at the original's size, or on a canvas that grew."""
        return self.matrix if self.in_place is not None else warp.scaling(self.edited_size, self.size) @ self.matrix

    @property
    def in_place(self) -> Matrix | None:
        """The matrix of an original that lies in a larger edited image, pixel by pixel; None if it does not."""
        room = np.subtract(self.edited_size, self.size)
        place = np.eye(3)
        place[:2, 2] = np.rint(self.matrix[:2, 2]).clip(0, room.clip(0))
        near = distance_px(self.matrix, place, self.size) < _SAME_PLACE_PX
        return place if near and min(room) >= 0 and max(room) > 0 else None

    @property
    def beyond(self) -> tuple[float, tuple[str, ...]]:
        """Share of the edited image that lies beyond the original, and on which sides."""
        grid, back = (200, 200), np.linalg.inv(self.matrix)
        depth = warp.depth_inside(back @ warp.scaling(grid, self.edited_size), grid, self.size)
        corners = np.array([[0, self.edited_size[0]], [0, self.edited_size[1]], [1, 1]]) - np.array([[0.5], [0.5], [0]])
        ends = ((back @ corners)[:2] + 0.5) / np.array(self.size)[:, None]
        far = dict(zip(("left", "right", "above", "below"), (*(ends[0] * (-1, 1)), *(ends[1] * (-1, 1))), strict=True))
        sides = (name for name, end in far.items() if end > (name in ("right", "below")) + _BEYOND)
        return float((depth < -1).mean()), tuple(sides)

    def scaled(self, side: int = _WORKING_SIDE_PX) -> tuple[Size, Matrix]:
        """The original's size with a longer side of at most ``side``, and the matrix from its pixels."""
        size = warp.fitted(self.size, side)
        return size, self.matrix @ warp.scaling(size, self.size)

    @property
    def shift_px(self) -> tuple[float, float]:
        """Shift of the center to the right and down, in the original's pixels."""
        middle = np.array([(self.size[0] - 1) / 2, (self.size[1] - 1) / 2, 1])
        right, down, _ = self.resized @ middle - middle
        return float(right), float(down)

    @property
    def zoom(self) -> float:
        """Magnification beyond the change of size."""
        return math.sqrt(abs(float(np.linalg.det(self.resized[:2, :2]))))

    @property
    def rotation_degrees(self) -> float:
        """Clockwise rotation."""
        a = self.resized
        return math.degrees(math.atan2(a[1, 0] - a[0, 1], a[0, 0] + a[1, 1]))

    @property
    def quarters(self) -> int:
        """Quarter turns counter-clockwise that bring the edited image nearest to upright."""
        return round(self.rotation_degrees / 90) % 4

    @property
    def outside_share(self) -> float:
        """Share of the original that the edited image does not show."""
        grid = (200, 200)
        depth = warp.depth_inside(self.matrix @ warp.scaling(grid, self.size), grid, self.edited_size)
        return float((depth < -1).mean())


def register(original: Array, edited: Array, alphas: Alphas = (None, None), tick: Tick = nothing) -> Registration:
    """Find the affine map between two images of any sizes, of which one may be a negative; about 0.5 s."""
    # Transparent parts say nothing: ``alphas`` are planes of 8 bits, None for an opaque image.
    positive = _registered(original, edited, alphas, tick)
    if positive.agreement < _PLAIN:
        for attempt in _PLAINLY:
            if (plain := _above_grain(original, edited, alphas, tick, *attempt)) is not None:
                return plain
    if positive.agreement >= _LITTLE:
        return positive
    inverted = 255 - edited
    if _registered(original, inverted, alphas, tick, _PLAIN_SIDE_PX).agreement < _LITTLE:  # like unrelated images
        return positive
    negative = _registered(original, inverted, alphas, tick)
    return negative if negative.agreement > positive.agreement else positive


def _above_grain(
    original: Array, edited: Array, alphas: Alphas, tick: Tick, soft: float, hides: float, agrees: float
) -> Registration | None:
    """The map by what is above the grain; where that is few things or none, the coarse colors must agree, too."""
    # Grain is texture to `_registered`, and no editor repeats it: skies, walls, fog, night and film. None of strangers.
    sizes = original.shape[1::-1], edited.shape[1::-1]
    small = warp.fitted(sizes[0], _PLAIN_SIDE_PX, 8)
    here, there = (smoothed(warp.resized(image, small), soft) for image in (original, edited))
    floor = float(np.clip(hides * max(map(_grain, (here, there))), _FLOOR, _MOST_FLOOR))
    coarse = _registered(here, there, alphas, tick, _PLAIN_SIDE_PX, floor).between(*sizes)
    off = distance_px(coarse.resized, np.eye(3), coarse.size)
    far = off > _THINGS_MOVE * max(coarse.size)
    if _textured(normalized(gray(here), floor))[1].mean() >= _PLAIN_TILES:
        return coarse if coarse.agreement >= agrees and not (soft and far) else None
    if far or coarse.agreement < _THINGS_AGREE:
        unmoved = Registration.unmoved(coarse.size, coarse.edited_size)
        coarse = dataclasses.replace(unmoved, uncertainty_px=0 if far else off)
    cells, aligned = warp.fitted(small, _CELLS, 1), warp.warped(edited, coarse.scaled(_PLAIN_SIDE_PX)[1], small)
    here, there = (cv2.resize(side, cells, interpolation=cv2.INTER_AREA).reshape(-1, 3) for side in (original, aligned))
    gains, offsets = consensus(here.astype(np.float64), there.astype(np.float64))
    misses = np.abs(gains * there + offsets - here).max(axis=1)
    spread, cast = float(here.std(axis=0).max()), float(np.abs(np.median(here - there, axis=0)).max())
    alike = float((misses < max(_CELL_LEVELS, _CELL_SPREAD * spread)).mean()) >= _CELLS_AGREE and cast <= _CELLS_CAST
    return coarse if alike else None


def _grain(image: Array) -> float:
    """Deviation of an image's flattest places in levels."""
    plane = gray(image)
    deviation = np.sqrt(smoothed((plane - smoothed(plane, _GRAIN_PX)) ** 2, _GRAIN_PX))
    return float(np.quantile(deviation, _FLATTEST))


def _registered(
    original: Array, edited: Array, alphas: Alphas, tick: Tick, side: int = _WORKING_SIDE_PX, floor: float = _FLOOR
) -> Registration:
    size, edited_size = original.shape[1::-1], edited.shape[1::-1]
    working = warp.fitted(size, side, 8)
    fixed, moving = gray(warp.resized(original, working)), gray(warp.resized(edited, working))
    shown = [None if alpha is None else (warp.resized(alpha, working) >= OPAQUE).astype(np.float32) for alpha in alphas]
    planes = zip((fixed, moving), shown, strict=True)
    normal = [normalized(plane, floor) * (1 if opaque is None else opaque) for plane, opaque in planes]
    if not (tiles := _textured(normal[0]))[1].any():  # there is nothing to align by, and nothing that agrees
        return dataclasses.replace(Registration.unmoved(size, edited_size), agreement=0.0)
    tick()
    window = cv2.createHanningWindow(working, cv2.CV_32F)
    right, down = cv2.phaseCorrelate(normal[0].copy(), normal[1].copy(), window)[0]  # it writes into what it gets
    shifted = warp.translation(right, down)

    def agreement_of(matrix: Matrix) -> float:
        plane, inside = _aligned(normal[1], matrix, normal[0].shape)
        if shown[1] is None:
            return tile_agreement(normal[0], plane, inside, tiles=tiles)
        inside &= _aligned(shown[1], matrix, inside.shape)[0] > 0.5
        return tile_agreement(normal[0], plane, inside, shown=float(shown[1].mean()), tiles=tiles)

    def best(starts: Sequence[Matrix]) -> tuple[float, int, Matrix]:
        return max((agreement_of(matrix), -at, matrix) for at, matrix in enumerate(starts))

    start_agreement, _, start = best([np.eye(3), shifted, *_from_crops(size, edited_size, working)])
    tick()
    inliers = 0
    if start_agreement < _NEARLY:
        features, inliers = _from_features(fixed, moving, shown)
        start_agreement, _, start = best([start, *features])
    tick()
    matrix, edges = _refined(normal[0], normal[1], start)
    tick()
    agreement = agreement_of(matrix)
    if agreement < start_agreement - 0.02:
        matrix, agreement = start, start_agreement
    if edges.miss(np.eye(3)) <= edges.miss(matrix) and agreement_of(np.eye(3)) >= agreement:
        matrix = np.eye(3)
    off = _ERROR_PER_SPLIT * edges.split(matrix) * size[0] / working[0]
    matrix = warp.scaling(working, edited_size) @ matrix @ warp.scaling(size, working)
    return Registration(
        matrix=matrix, agreement=agreement, inliers=inliers, uncertainty_px=off, size=size, edited_size=edited_size
    )


def find_turn(original: Array, edited: Array, tick: Tick = nothing) -> tuple[int, bool] | None:
    """Quarter turns counter-clockwise, and a mirror, that turn the edited image as the original is; about 2 s."""
    small = [warp.resized(image, warp.fitted(image.shape[1::-1], _TURNED_SIDE_PX, 8)) for image in (original, edited)]
    turns = [(quarters, mirrored) for mirrored in (False, True) for quarters in range(4)][1:]
    turned = (warp.turned(small[1], *turn) for turn in turns)
    registrations = [_registered(small[0], image, (None, None), tick, _TURNED_SIDE_PX) for image in turned]
    # features match at any angle, so that the opposite turn agrees as well
    agreements = [registration.agreement * (registration.quarters == 0) for registration in registrations]
    return turns[int(np.argmax(agreements))] if max(agreements) >= _TURNED_AGREES else None


def find_crops(original: Array, edited: Array, tick: Tick = nothing) -> tuple[Box | None, Box | None]:
    """The part of each image that the other one shows, by SIFT features; None if that shows all of it, or another."""
    sizes = [image.shape[1::-1] for image in (original, edited)]
    here, there = (gray(warp.resized(one, warp.fitted(one.shape[1::-1], _CROP_SIDE_PX))) for one in (original, edited))
    tick()
    matrix, inliers = _matched(_sift(), there, here, (None, None), rigid=True)
    if inliers < _CROP_INLIERS:
        return None, None
    matrix = warp.scaling(here.shape[1::-1], sizes[0]) @ matrix @ warp.scaling(sizes[1], there.shape[1::-1])
    back: Matrix = np.linalg.inv(matrix).astype(np.float64)
    return _shown_part(matrix, sizes[1], sizes[0]), _shown_part(back, *sizes)


def _shown_part(matrix: Matrix, crop: Size, size: Size) -> Box | None:
    """The part of an image of this size that a crop shows, by the matrix from the crop."""
    width, height = crop
    sides = (matrix @ np.array([[-0.5, width - 0.5], [-0.5, height - 0.5], [1, 1]]))[:2] + 0.5
    turned = abs(math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])))
    (left, right), (top, bottom) = np.rint(sides).clip(0, np.array(size)[:, None]).astype(int).tolist()
    across, down = right - left, bottom - top
    shown = across * down / max(float(np.prod(sides[:, 1] - sides[:, 0])), 1)
    little = shown < _CROP_INSIDE or min(across, down) < _LEAST_SIDE_PX
    if turned > _CROP_DEGREES or little or across * down > _CROP_OF_ALL * math.prod(size):
        return None
    return left, top, right, bottom


def distance_px(first: Matrix, second: Matrix, size: Size) -> float:
    """Mean distance between the images of a grid of pixels under two matrices."""
    x, y = np.meshgrid(np.linspace(0, size[0] - 1, 9), np.linspace(0, size[1] - 1, 9))
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    return float(np.linalg.norm(((first - second) @ points)[:2], axis=0).mean())


def normalized(plane: Array, floor: float = _FLOOR) -> Array:
    """Remove local brightness and contrast, so that casts, gamma and light do not matter."""
    sigma = min(_NORMALIZING_SIGMA_PX, max(2.0, min(plane.shape) / 32))
    centered = plane - smoothed(plane, sigma)
    return centered / np.sqrt(smoothed(centered**2, sigma) + np.float32(floor**2))


def _from_features(fixed: Array, moving: Array, shown: Sequence[Array | None]) -> tuple[list[Matrix], int]:
    """Affine maps by RANSAC on ORB features, and on SIFT features if ORB finds few inliers."""
    first = _matched(cv2.ORB_create(_FEATURES), fixed, moving, shown)
    if first[1] >= _FEW_INLIERS:
        return [first[0]], first[1]
    second = _matched(_sift(), fixed, moving, shown)
    return [matrix for matrix, inliers in (first, second) if inliers > 3], max(first[1], second[1])


def _sift() -> Any:
    return cv2.SIFT_create(_FEATURES, enable_precise_upscale=True)


def _matched(
    detector: Any, fixed: Array, moving: Array, shown: Sequence[Array | None], *, rigid: bool = False
) -> tuple[Matrix, int]:
    """Map between matching features, affine or, if ``rigid``, of any scale without shear, and how many agree."""
    features: list[Any] = []
    for plane, opaque in zip((fixed, moving), shown, strict=True):
        low, high = np.percentile(plane, (0.5, 99.5))
        stretched = np.clip((plane - low) * (255 / max(high - low, 1.0)), 0, 255).astype(np.uint8)
        features.append(detector.detectAndCompute(stretched, None if opaque is None else opaque.astype(np.uint8)))
    (points, words), (other_points, other_words) = features
    if words is None or other_words is None:
        return np.eye(3), 0
    norm = cv2.NORM_HAMMING if words.dtype == np.uint8 else cv2.NORM_L2
    matches = cv2.BFMatcher(norm, crossCheck=True).match(words, other_words)
    if len(matches) < 4:
        return np.eye(3), 0
    here = cv2.KeyPoint_convert(points, [match.queryIdx for match in matches])
    there = cv2.KeyPoint_convert(other_points, [match.trainIdx for match in matches])
    estimate = cv2.estimateAffinePartial2D if rigid else cv2.estimateAffine2D
    affine, inside = estimate(here, there, None, cv2.RANSAC, _RANSAC_PX, maxIters=5000, confidence=0.999)
    if affine is None or not (rigid or _sane(affine)):
        return np.eye(3), 0
    return np.vstack([affine, [0, 0, 1]]), int(inside.sum())


def _sane(affine: Matrix) -> bool:
    """No reflection, and no extreme scaling or shear."""
    stretches = np.linalg.svd(affine[:, :2], compute_uv=False)
    turned = float(np.linalg.det(affine[:, :2])) > 0
    return bool(turned and stretches[1] > 0.3 and stretches[0] < 3 and stretches[0] < 1.6 * stretches[1])


def _from_crops(size: Size, edited: Size, working: Size) -> Iterator[Matrix]:
    """For different aspect ratios: the editor cropped the center, or added bars at two sides."""
    x, y = edited[0] / size[0], edited[1] / size[1]
    if abs(x / y - 1) < 0.005:
        return
    for scale in (max(x, y), min(x, y)):
        left, top = ((there - scale * here + scale - 1) / 2 for here, there in zip(size, edited, strict=True))
        middle = np.array([[scale, 0, left], [0, scale, top], [0, 0, 1.0]])
        yield warp.scaling(edited, working) @ middle @ warp.scaling(working, size)


def _aligned(moving: Array, matrix: Matrix, shape: tuple[int, ...]) -> tuple[Array, NDArray[np.bool_]]:
    size, flags = (shape[1], shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    plane = cv2.warpAffine(moving, matrix[:2], size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return plane, warp.depth_inside(matrix, size, (moving.shape[1], moving.shape[0])) >= 0


def tile_agreement(
    fixed: Array, plane: Array, inside: Mask | None = None, *, shown: float = 1.0, tiles: "_Tiles | None" = None
) -> float:
    """Share of the textured tiles that correlate between two images in one frame, of which a share is ``shown``."""
    mean, textured, usual, variance = tiles or _textured(fixed)
    if not textured.any():
        return 0.0
    usual_there = mean(plane)
    variances = variance * (mean(plane**2) - usual_there**2)
    correlation = (mean(fixed * plane) - usual * usual_there) / np.sqrt(np.maximum(variances, 1e-6))
    within = True if inside is None else mean(inside.astype(np.float32)) > 0.9
    share = (correlation > _TILE_AGREES)[textured & within]
    # a matrix must not win by moving the image out of the frame
    return float(share.sum() / max(share.size, 0.5 * shown * textured.sum(), 1))


_Tiles = tuple[Any, Mask, Array, Array]


def _textured(plane: Array) -> _Tiles:
    """A function that averages over the tiles of a normalized plane, those with texture, and means and variances."""
    tile = max(6, min(_TILE_PX, min(plane.shape) // 6))
    small = (max(1, plane.shape[1] // tile), max(1, plane.shape[0] // tile))
    mean = functools.partial(cv2.resize, dsize=small, interpolation=cv2.INTER_AREA)
    usual = mean(plane)
    variance = mean(plane**2) - usual**2
    return mean, variance > _TEXTURE, usual, variance


class _Edges:
    """Least squares on the places with the most contrast of a plane: how far another plane lies from them, and why."""

    # Inverse compositional Gauss-Newton steps (Baker and Matthews 2004) under Tukey's weights. Both planes are smooth,
    # since interpolation smooths the one that moves: otherwise a whole number of pixels fits best.

    def __init__(self, fixed: Array, moving: Array) -> None:
        self.shape, self.moving = fixed.shape, smoothed(moving, _SOFT_PX)
        plane = smoothed(fixed, _SOFT_PX)
        across, down = (cv2.Sobel(plane, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1)))
        steep = across**2 + down**2
        step = max(1, steep.size // _SAMPLES)
        least = max(quantile(steep.ravel()[::step], 1 - min(1.0, _STEEPEST / steep.size)), 1e-6)
        rows, columns = np.nonzero(steep > least)
        self.x, self.y = columns.astype(np.float32), rows.astype(np.float32)
        self.values, gradients = plane[rows, columns], (across[rows, columns], down[rows, columns])
        self.frame = np.array([[2 / fixed.shape[1], 0, -1], [0, 2 / fixed.shape[0], -1], [0, 0, 1]])
        u, v = self.x * np.float32(self.frame[0, 0]) - 1, self.y * np.float32(self.frame[1, 1]) - 1
        slopes = [gradient / np.float32(scale) for gradient, scale in zip(gradients, np.diag(self.frame), strict=False)]
        self.slopes = np.stack([slope * place for slope in slopes for place in (u, v, np.ones_like(u))], axis=1)

    def misses(self, matrix: Matrix) -> tuple[Array, NDArray[np.bool_]]:
        """Differences of the moved plane from the fixed one, and where there is a value."""
        u, v = (a * self.x + b * self.y + c for a, b, c in matrix[:2].astype(np.float32))
        places = warp.in_rows(u), warp.in_rows(v)
        values = cv2.remap(self.moving, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).ravel()
        height, width = self.moving.shape
        return values[: len(u)] - self.values, (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)

    def weights(self, matrix: Matrix) -> tuple[Array, Array]:
        """Misses, and the weights under which what was changed or lies outside counts nothing."""
        rest, inside = self.misses(matrix)
        noise = 1.48 * median(np.abs(rest[inside])) if inside.any() else 0.0
        limit = np.float32(_OUTLIER * max(noise, _LEAST_NOISE))
        return rest, np.maximum(1 - (rest / limit) ** 2, 0) ** 2 * inside

    def step(self, matrix: Matrix, rest: Array, weight: Array) -> Matrix:
        """The matrix after one step; unchanged if too little has a say."""
        weighted = self.slopes * weight[:, None]
        normal = (weighted.T @ self.slopes).astype(np.float64)
        if np.count_nonzero(weight) < _FEWEST:
            return matrix
        by = np.linalg.lstsq(normal, (weighted.T @ rest).astype(np.float64), rcond=1e-9)[0]
        moved = np.linalg.inv(self.frame) @ (np.eye(3) + np.vstack([by.reshape(2, 3), np.zeros(3)])) @ self.frame
        updated = matrix @ np.linalg.inv(moved)
        return updated if np.isfinite(updated).all() and _sane(updated[:2]) else matrix

    def refined(self, matrix: Matrix) -> Matrix:
        """The matrix after steps until it stands still."""
        size = self.shape[1], self.shape[0]
        for _ in range(_MOST_STEPS):
            before, matrix = matrix, self.step(matrix, *self.weights(matrix))
            if distance_px(before, matrix, size) < _STILL_PX:
                break
        return matrix

    def miss(self, matrix: Matrix) -> float:
        """Mean miss; what differs more than noise counts the same however much it differs."""
        rest, inside = self.misses(matrix)
        return float(np.minimum(np.abs(rest), 1)[inside].mean()) if inside.any() else 1.0

    def split(self, matrix: Matrix) -> float:
        """Half the distance in pixels between the matrices from the two halves of a checkerboard."""
        rest, weight = self.weights(matrix)
        block = max(8, min(self.shape) // 8)
        odd = (self.x // block + self.y // block) % 2
        first, second = (self.step(matrix, rest, weight * (odd == side)) for side in (0, 1))
        return distance_px(first, second, self.shape[1::-1]) / 2


def _refined(fixed: Array, moving: Array, start: Matrix) -> tuple[Matrix, _Edges]:
    """The matrix, refined from coarse to fine, and the edges that it was refined on."""
    matrix, (height, width) = start, fixed.shape
    for size in ((width // 4, height // 4), (width // 2, height // 2)):
        if min(size) >= 64:
            there, back = warp.scaling((width, height), size), warp.scaling(size, (width, height))
            coarse = _Edges(warp.resized(fixed, size), warp.resized(moving, size))
            matrix = back @ coarse.refined(there @ matrix @ back) @ there
    edges = _Edges(fixed, moving)
    return edges.refined(matrix), edges


def find_drift(original: Array, edited: Array, registration: Registration) -> tuple[Array, Registration] | None:
    """Displacement left by the affine map (dense inverse search, Kroeger et al. 2016), and the frame without it."""
    size, matrix = registration.scaled(_DRIFT_SIDE_PX)
    if registration.outside_share > 0.02 or min(size) < _LEAST_SIDE_PX:
        return None
    sides = warp.resized(original, size), warp.warped(edited, matrix, size)
    fixed, moving = (normalized(gray(side)) for side in sides)
    before = tile_agreement(fixed, moving)
    tiles = float((np.abs(fixed) > _DETAIL).mean()) * math.prod(size) / _TILE_PX**2
    if (1 - before) * tiles < _MORE_TILES:  # nothing is left to gain
        return None
    eight_bits = [(128 + 40 * plane).clip(0, 255).astype(np.uint8) for plane in (fixed, moving)]
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    unit = max(size) / min(_WORKING_SIDE_PX, max(registration.size))  # a pixel of the working size
    raw = search.calc(*eight_bits, None).clip(-_MOST_PX * unit, _MOST_PX * unit)

    def moved(flow: Array) -> Array:
        return cv2.remap(moving, *warp.places(size, flow=flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    miss = smoothed(np.abs(fixed - moved(raw)), 2.0)
    weight = smoothed(np.abs(fixed), 2.0) / (1 + (miss / _FITS) ** 2) ** 2
    sigma = _TOGETHER * min(size)
    flow = smoothed(raw * weight[..., None], sigma) / np.maximum(smoothed(weight, sigma), 1e-4)[..., None]
    if float(np.median(np.hypot(flow[..., 0], flow[..., 1]))) < _LITTLE_PX * unit:
        return None
    after = tile_agreement(fixed, moved(flow))
    aligned = dataclasses.replace(registration, matrix=np.eye(3), edited_size=registration.size, agreement=after)
    drifts = 1 - after < (1 - _GAIN) * (1 - before) and (after - before) * tiles >= _MORE_TILES
    return (flow, aligned) if drifts else None


def undrift(pixels: NDArray[np.generic], flow: Array, registration: Registration) -> NDArray[np.generic]:
    """The edited image in the original's frame and size; beyond its edges it is mirrored."""
    width, height = registration.size
    wide = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)
    wide /= np.array([flow.shape[1] / width, flow.shape[0] / height], dtype=np.float32)
    places = warp.places(registration.size, registration.matrix, wide)
    moved = cv2.remap(pixels, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    if pixels.shape[2] == 4:  # colors are weighted by alpha, or those under transparent pixels would reach the edges
        alpha = pixels[..., 3:].astype(np.float32)
        weighted = np.dstack([pixels[..., :3].astype(np.float32) * alpha, alpha])
        weighted = cv2.remap(weighted, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        colors = weighted[..., :3] / np.maximum(weighted[..., 3:], 1)
        moved[..., :3] = np.rint(colors).clip(0, np.iinfo(moved.dtype).max)
    return moved
