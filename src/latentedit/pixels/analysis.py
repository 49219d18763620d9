"""Analysis of an editor's change to an image: the frame, the colors, and the content, each with its verdict."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit.core.console import Tick, nothing
from latentedit.core.errors import ConfigError, Hinted
from latentedit.photo.color import Pixels, levels
from latentedit.photo.images import PixelImage
from latentedit.photo.warp import Array, Box, Matrix, cv2, fitted, resized, scaling, translation, turned, warped
from latentedit.pixels import layouts, verdict
from latentedit.pixels.change import LOCAL, DetectedChange, Found, exact_found
from latentedit.pixels.composite import composited, cut
from latentedit.pixels.differing import at_depth, difference
from latentedit.pixels.exact import exact_change, tiny_change
from latentedit.pixels.finding import OUTSIDE, WORKING_SIDE_PX, find_change
from latentedit.pixels.masks import SEEN, around, faded_at_cuts
from latentedit.pixels.registration import (
    Registration,
    distance_px,
    find_crops,
    find_drift,
    find_turn,
    register,
    undrift,
)
from latentedit.pixels.tones import Tones, fit_sharpening
from latentedit.pixels.transparency import WHITE, ground_of, without_ground

_SHARPENING_SIDE_PX = 800  # side of the central part on which sharpness is fitted
# Fraction of the original beyond the edited image above which replicated edges are seen. A redrawn
# image that moved by 9 of 160 px is kept as it came, without them.
_STREAKS = 0.035
_PATTERN_LEVELS = 8.0  # standard deviation under an alpha channel above which there is an image and not a background
_MOSTLY_GROUND = 0.5  # share of the transparent part from which on the edit shows a ground there
_LARGEST_LEVELS = 255  # which no difference exceeds
_SHIFTED = 10.0  # levels of a cast that is reported although nothing was changed
# Calibrated so that nineteen of twenty errors are smaller: see docs/results/check.md.
_LEAST_PX = 0.05  # least uncertainty of a shift
_LEAST_CAST = 1.6  # levels
_CAST_FACTOR = 3.2  # multiple of the estimated error of a cast
_MEAN_RADIUS = 0.38  # mean distance of a square's points from its center, as a share of its side
_EPS = 1e-6  # pixels by which rounding errors may move a side
_TURNS = ("", "a quarter turn to the left", "a half turn", "a quarter turn to the right")  # turns of the edited image


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SeparateChange(Hinted):
    """One of several changes.

    Args:
        number: the number that ``only`` takes; 1 is the largest change.
        share: share of the image, in [0, 1].
        box: left, top, right and bottom in the original's pixels.
        faint: whether it is no stronger than the noise elsewhere, and therefore left out unless ``only`` names it.
    """

    number: int
    share: float
    box: Box
    faint: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """All that was found in a pair."""

    original: PixelImage  # without alpha where that is a mask or opaque everywhere
    edited: PixelImage  # upright, with the alpha that it has on no ground, and a drift undone
    upright: PixelImage  # the edited image as it came but for being turned
    found: Found
    change: DetectedChange | None  # None if the images could not be compared
    registration: Registration  # from the original to ``upright``
    frame: Registration  # from the original to ``edited``
    box: Box | None = None  # the part of the original that was edited, of which all above is told; None for all of it
    turned: str = ""  # how the editor turned or mirrored the image, such as "mirrored"; empty if it did not
    aligned: tuple[PixelImage, Registration] | None = None  # `edited` and `frame` of the changes, if they are others
    pair: "Analysis | None" = None  # the analysis without what the user chose; None if that adds nothing

    @functools.cached_property
    def recolored(self) -> bool:
        """Whether all colors changed as if that was the request; of an image drawn anew, that says nothing."""
        if self.change is None or self.found == "redrawn":
            return False
        return verdict.is_recolored(self.change)

    @property
    def is_global(self) -> bool:
        """Whether all of the edited image is kept, and not a part."""
        return self.found == "redrawn" or self.recolored

    @property
    def is_local(self) -> bool:
        """Whether a part is kept."""
        return self.found in LOCAL and not self.recolored

    @property
    def unmasked(self) -> "Analysis":
        """The analysis without the user's mask or numbers; ``only`` refers to its changes."""
        return self.pair or self

    @property
    def beyond(self) -> tuple[float, tuple[str, ...]]:
        """Share of the edited image that lies beyond the original, and on which sides; 0 if little or unknown."""
        share, sides = self.registration.beyond
        return (0.0, ()) if self.change is None or share <= OUTSIDE else (share, sides)

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the original that were compared."""
        left, top, right, bottom = self.box or (0, 0, *self.original.size)
        return slice(top, bottom), slice(left, right)

    @property
    def offset(self) -> Matrix:
        """From the original's pixels to those of the part that was compared."""
        left, top, *_ = self.box or (0, 0)
        return translation(-left, -top)

    @property
    def matrix(self) -> Matrix:
        """From the original's pixels to those of ``edited``."""
        return self.frame.matrix @ self.offset

    def blended(
        self,
        weight: Array,
        change: DetectedChange | None,
        *,
        matrix: Matrix | None = None,
        sharpen: bool = True,
        strength: float = 1.0,
        tick: Tick = nothing,
    ) -> Pixels:
        """The original with the edited image at this opacity, in the original's colors if a change is given."""
        # ``matrix`` replaces the frame that was found; see `composite` for the others.
        tones, local, light = (Tones.none(), None, None)
        if change is not None:
            tones, local, light = change.tones, change.mismatch, change.light
        size = self.registration.size
        return composited(
            self.original.pixels, self.edited.pixels, weight, matrix=self.matrix if matrix is None else matrix,
            mismatch=None if local is None else (local, size), light=None if light is None else (light, size),
            offset=self.offset, tones=tones,
            sharpening=change.sharpening if sharpen and change is not None else 0.0, strength=strength,
            space=self.original.space, edited_space=self.edited.space, tick=tick,
        )  # fmt: skip

    def composed(
        self, weight: Array, change: DetectedChange | None, *, strength: float, tick: Tick = nothing
    ) -> Pixels:
        """`blended`, with an exact change as a copy, bit for bit."""
        pixels = self.blended(weight, change, strength=strength, tick=tick)
        if change is not None and change.exact:
            pixels, full = pixels.copy(), (weight * strength >= 1)[self.window]
            pixels[self.window] = np.where(full[..., None], self.edited.pixels, pixels[self.window])
        return pixels

    def faded(self, bounds: Array, weight: Array, change: DetectedChange | None, *, strength: float) -> Array:
        """Bounds of `opaque_bounds` that fade where their edge cuts through what is put there at this opacity."""
        ring = around(bounds)
        pixels = self.composed(np.where(ring, np.float32(1), weight * (bounds > 0)), change, strength=strength)
        return faded_at_cuts(bounds, difference(self.original.pixels, pixels), ring)

    def full(self, plane: NDArray[Any], *, labels: bool = False) -> NDArray[Any]:
        """A plane of the compared part, at any resolution, at the original's size; 0 elsewhere."""
        rows, columns = self.window
        size = (columns.stop - columns.start, rows.stop - rows.start)
        part = cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST if labels else cv2.INTER_LINEAR)
        if self.box is None:
            return part
        full = np.zeros(self.original.size[::-1], dtype=part.dtype)
        full[rows, columns] = part
        return full

    def box_of(self, shares: Sequence[float]) -> Box:
        """A box in the original's pixels from shares of the sides of the compared part."""
        left, top, right, bottom = self.box or (0, 0, *self.original.size)
        x, y = right - left, bottom - top
        return (
            left + math.floor(x * shares[0] + _EPS), top + math.floor(y * shares[1] + _EPS),
            left + math.ceil(x * shares[2] - _EPS), top + math.ceil(y * shares[3] - _EPS),
        )  # fmt: skip

    @property
    def cast(self) -> float:
        """Mean change of all colors, in levels of 255."""
        return 0.0 if self.change is None else self.change.tones.cast

    @property
    def least_px(self) -> int | None:
        """Side of the smallest change that is found for certain; 0 if all else is identical, None if unknown."""
        return None if self.change is None else self.change.least_px

    @functools.cached_property
    def changes(self) -> tuple[SeparateChange, ...]:
        """The separate changes, the largest first, and then the faint ones."""
        change = self.change
        if change is None or not (change.count or change.light) or self.found not in (*LOCAL, "redrawn"):
            return ()
        rows, columns = self.window
        window_share = (rows.stop - rows.start) * (columns.stop - columns.start) / math.prod(self.original.size)
        height, width = change.mask.shape
        mask = change.mask if change.faint_opacity is None else np.maximum(change.mask, change.faint_opacity)
        down, across = np.nonzero((mask > SEEN) & (change.numbers > 0))
        order = np.argsort(change.numbers[down, across], kind="stable")
        down, across = down[order], across[order]
        ends = np.flatnonzero(np.diff(change.numbers[down, across])) + 1
        changes = list[SeparateChange]()
        for y, x in zip(np.split(down, ends), np.split(across, ends), strict=True):
            number, share = int(change.numbers[y[0], x[0]]), window_share * float(mask[y, x].sum() / mask.size)
            box = self.box_of((x.min() / width, y.min() / height, (x.max() + 1) / width, (y.max() + 1) / height))
            changes.append(SeparateChange(number=number, share=share, box=box, faint=number in change.faint))
        return tuple(changes)

    @functools.cached_property
    def uncertainties(self) -> tuple[float, float, float]:
        """Bounds of most errors: of a shift in px, of a zoom or an angle in radians, and of the cast in levels."""
        if self.change is None or self.change.exact:
            return 0.0, 0.0, 0.0
        off = max(self.registration.uncertainty_px, _LEAST_PX)
        cast = max(_CAST_FACTOR * self.change.tones.cast_uncertainty, _LEAST_CAST)
        return off, off / (_MEAN_RADIUS * min(self.original.size)), cast

    @property
    def only_colors(self) -> bool:
        """Whether nothing but the colors changed, and certainly, so much that this may have been the request.

        `keep` undoes less than what is ``recolored``, even so.
        """
        is_certain = self.cast > max(_SHIFTED, self.uncertainties[2])
        return is_certain and self.found == "nothing" and not self.rest_line

    @property
    def nothing_line(self) -> str:
        """A line on what was not found: any change, or one that would be large and strong enough."""
        if self.rest_line:
            return f"no change was found, but {self.rest_line}"
        if self.change is None or self.change.exact:
            return "no pixel changed"
        if self.change.least_levels > _LARGEST_LEVELS:
            return "no change was found, but none would be: what differs is as strong as any change"
        size = f"{self.change.least_px} x {self.change.least_px} px"
        return f"nothing larger than {size} and stronger than {self.change.least_levels} levels changed"

    @functools.cached_property
    def rest_line(self) -> str:
        """Where what was not found to have changed differs nevertheless; empty if it does not, or is not compared."""
        leftover = None if self.change is None else self.change.leftover
        if leftover is None or self.is_global or self.found not in (*LOCAL, "nothing"):
            return ""
        place = ",".join(map(str, self.box_of(leftover.box)))
        return f"the rest still differs by {leftover.levels:.0f} levels at {place}"

    @property
    def kept_by_default(self) -> tuple[int, ...]:
        """Numbers of the changes that are kept unless others are chosen; none where the whole image is."""
        return () if self.is_global else tuple(one.number for one in self.changes if not one.faint)

    def to_keep(self, only: Sequence[int] | None) -> tuple[Array, Array, DetectedChange | None]:
        """Opacity at the original's size, that of the content, whose seams are not moved, and the change of a part."""
        count, change = len(self.changes), self.change
        if unknown := [number for number in only or () if not 1 <= number <= count]:
            counts = ("no separate changes were found", "there is only one", f"they are numbered 1 to {count}")
            raise ConfigError(f"there is no change {unknown[0]}: {counts[min(count, 2)]}. Leave it out")
        if change is None or not (self.is_local or (only is not None and self.is_global)):
            everywhere = self.full(np.full((2, 2), self.is_global, dtype=np.float32))
            return everywhere, everywhere, None
        planes = change.opacity, change.mask
        if only is not None:
            faint = 0 if change.faint_opacity is None else change.faint_opacity
            planes = [np.maximum(plane, faint) * np.isin(change.numbers, list(only)) for plane in planes]
            if change.light is not None and change.light.number in only:
                change = dataclasses.replace(change, light=None)
        opacity, content = (self.full(plane) for plane in planes)
        return opacity, content, change

    @property
    def in_parts(self) -> "Analysis":
        """The analysis with the edited image for separate changes, if that is kept whole."""
        if self.aligned is None:
            return self
        edited, frame = self.aligned
        return dataclasses.replace(self, edited=edited, frame=frame, pair=self)

    def within(self, allowed: NDArray[np.bool_]) -> "Analysis":
        """The analysis with every visible difference inside a user's mask as a change: there, no noise outweighs it."""
        if self.change is None or self.is_global:
            return self
        inner, size = allowed[self.window].astype(np.float32), self.change.mask.shape[1::-1]
        change = self.change.including_visible(cv2.resize(inner, size, interpolation=cv2.INTER_AREA) > 0)
        if change is self.change:
            return self
        found = self.found if self.found in LOCAL else "faint change"
        return dataclasses.replace(self, change=change, found=found, pair=self)


def analyze(original: PixelImage, edited: PixelImage, tick: Tick = nothing) -> Analysis:
    """Compare an image, or a part of it, with an editor's version; about 1 to 8 s on one core."""
    base, edited = (
        image if image.alpha is not None else dataclasses.replace(image, pixels=image.pixels[..., :3])
        for image in (original, edited)
    )
    if is_under_mask(base, edited):
        base = dataclasses.replace(base, pixels=base.pixels[..., :3])
    analysis = _extended(_analyzed(base, edited, tick))
    lost = analysis.change is None or analysis.registration.outside_share > verdict.REFRAMED_OUTSIDE
    box, edited_box = find_crops(base.levels, edited.levels, tick) if lost else (None, None)
    if box is not None:
        left, top, right, bottom = box
        part = _analyzed(dataclasses.replace(base, pixels=base.pixels[top:bottom, left:right]), edited, tick)
        if part.change is not None:
            nothing_else = verdict.framed(part.change) if part.found in ("identical", "nothing") else part.found
            return dataclasses.replace(part, original=base, box=box, found=nothing_else)
    if analysis.change is None and edited_box is not None:
        left, top, right, bottom = edited_box  # box in the edited image, which shows much more
        part = _analyzed(base, dataclasses.replace(edited, pixels=edited.pixels[top:bottom, left:right]), tick)
        if part.change is not None:
            place = translation(left, top) @ part.registration.matrix
            frame = dataclasses.replace(part.registration, matrix=place, edited_size=edited.size)
            return _extended(dataclasses.replace(part, registration=frame, upright=edited))
    turn = (analysis.registration.quarters, False)  # turns that features found alone would be undone by resampling
    if analysis.change is None and not analysis.registration.quarters:
        turn = find_turn(base.levels, edited.levels, tick) or (0, False)
    if turn != (0, False):
        upright = dataclasses.replace(edited, pixels=turned(edited.pixels, *turn))
        again = _extended(_analyzed(base, upright, tick))
        words = ["mirrored" if turn[1] else "", _TURNS[-turn[0] % 4]]
        if again.change is not None and (again.found != "redrawn" or again.change.in_place):  # no chance
            return dataclasses.replace(again, turned=", then ".join(filter(None, words)))
    return analysis


def _extended(analysis: Analysis) -> Analysis:
    """The analysis, "reframed" if the edit shows the original without a change, and more beyond it."""
    frame, beyond = analysis.registration, analysis.beyond[0]
    has_room = frame.in_place is not None and (beyond > 0 or analysis.found == "identical")
    extends = beyond - frame.outside_share > verdict.EXTENDED  # a drift loses what it shows more
    if analysis.change is None or analysis.found not in ("identical", "nothing") or not (has_room or extends):
        return analysis
    return dataclasses.replace(analysis, found=verdict.framed(analysis.change))


def is_under_mask(original: PixelImage, edited: PixelImage) -> bool:
    """Whether the original's alpha channel is a mask, as ComfyUI writes it: both images have content under it."""
    if original.alpha is None or (edited.pixels.shape[2] == 4 and edited.pixels[..., 3].min() == 0):
        return False
    clear = original.pixels[..., 3] == 0
    under = dataclasses.replace(original, pixels=original.pixels[..., :3]).levels[clear]
    has_content = bool(clear.any()) and under.std(axis=0).max() > _PATTERN_LEVELS
    return has_content and ground_of(original.alpha, edited.levels)[1] < _MOSTLY_GROUND


def _analyzed(base: PixelImage, edited: PixelImage, tick: Tick) -> Analysis:
    ground = None if base.alpha is None or edited.alpha is not None else ground_of(base.alpha, edited.levels)[0]
    if base.size == edited.size and base.carried.colors.profile == edited.carried.colors.profile:
        same = dataclasses.replace(edited, pixels=at_depth(edited.pixels, base.pixels))
        if ground is not None:
            same = _without_ground(base, same, ground)
        if (differs := exact_change(base.pixels, same.pixels)) is not None:
            return _in_place(base, same, exact_found(differs))
    if base.size == edited.size and base.alpha is None and edited.alpha is None:
        tiny = tiny_change(base.levels, edited.levels)
        if tiny is not None:
            return _in_place(base, edited, exact_found(tiny[0], exact=False, certain=tiny[1]))
    return _aligned(base, edited, ground, tick)


def _in_place(base: PixelImage, edited: PixelImage, change: DetectedChange) -> Analysis:
    found, frame = verdict.judge(change), change.registration
    return Analysis(
        original=base, edited=edited, upright=edited, found=found, change=change, registration=frame, frame=frame
    )


def _in_frame(base: PixelImage, edited: PixelImage, place: Matrix, tick: Tick) -> Analysis:
    """Compare with the part of a larger image in which the original lies pixel by pixel, as in a frame."""
    # Both are then shrunk alike. Resampled a fraction of a pixel apart, text and thin lines seem to have drifted.
    (left, top), (width, height) = place[:2, 2].astype(int), base.size
    part = dataclasses.replace(edited, pixels=edited.pixels[top : top + height, left : left + width])
    analysis = _analyzed(base, part, tick)
    matrix = place @ analysis.registration.matrix
    frame = dataclasses.replace(analysis.registration, matrix=matrix, edited_size=edited.size)
    return dataclasses.replace(analysis, registration=frame)


def _reduced(image: PixelImage) -> PixelImage:
    """The image at no more than twice the size at which it is compared, since floats of all its pixels are large."""
    size = fitted(image.size, 2 * WORKING_SIDE_PX)
    return dataclasses.replace(image, pixels=resized(image.pixels, size)) if image.pixels.shape[2] == 3 else image


def _aligned(base: PixelImage, edited: PixelImage, ground: Any, tick: Tick) -> Analysis:
    """Compare after registration; on a ``ground``, an opaque edit shows the transparent parts of its original."""
    under = WHITE if ground is None else ground
    first, second = _reduced(base), _reduced(edited)
    here, there, alphas = first.on(under), second.on(under), (first.alpha, second.alpha)
    small = register(here, there, alphas, tick)
    registration = small.between(base.size, edited.size)
    if (place := registration.in_place) is not None:
        return _in_frame(base, edited, place, tick)
    plain = dataclasses.replace(registration, matrix=scaling(base.size, edited.size))  # the editor only resized it

    def moved(frame: Registration, flow: Any = None) -> tuple[PixelImage, Registration]:
        """The edited image, in the original's frame where its pixels have to be compared one by one."""
        if flow is None and ground is None:
            return edited, frame
        flow = np.zeros((2, 2, 2), dtype=np.float32) if flow is None else flow
        image = dataclasses.replace(edited, pixels=undrift(edited.pixels, flow, frame))
        own = dataclasses.replace(frame, matrix=np.eye(3), edited_size=base.size)
        return image if ground is None else _without_ground(base, image, ground), own

    change, image, frame = None, edited, registration
    found: Found = "different images"
    if layouts.is_unsure(here, there, small, alphas):
        anew = layouts.is_drawn_anew(here, there)
        if anew or layouts.is_drawn_anew_in(here, there, small):
            found, registration = "redrawn", plain
            image, frame = moved(plain)
    else:
        tick()
        flow, undrifted = find_drift(here, there, small) or (None, small)
        image, frame = moved(registration, flow)
        if image is not edited:
            second = _reduced(image)
            there, frame = second.on(under), dataclasses.replace(frame, agreement=undrifted.agreement)
        own, shown = frame.between(first.size, second.size), (alphas[0], second.alpha)
        del first, second  # memory is at its peak there
        change = find_change(here, there, own, shown, tick)
        sharpening = _sharpening(base, image, frame, change, under)
        change = dataclasses.replace(change, registration=frame, sharpening=sharpening)
        found = verdict.judge(change)
        alike = change.structure >= layouts.UNLIKE or layouts.is_drawn_anew(here, there)
        if found == "redrawn" and not alike:
            change, found = None, "different images"  # out of focus, a third of all tiles agree by chance
    analysis = Analysis(
        original=base, edited=image, upright=edited, found=found, change=change, registration=registration, frame=frame
    )
    stretched = abs(np.divide(*np.diag(plain.matrix)[:2]) - 1) >= 0.03
    doubtful = registration.uncertainty_px > distance_px(registration.resized, np.eye(3), base.size)
    is_lost = (doubtful or registration.outside_share > _STREAKS) and not stretched
    if change is None or not (analysis.is_global and is_lost):
        return analysis
    whole, own = moved(plain)  # nothing of the original is left to align with
    return dataclasses.replace(analysis, edited=whole, registration=plain, frame=own, aligned=(image, frame))


def _sharpening(base: PixelImage, edited: PixelImage, frame: Registration, change: DetectedChange, under: Any) -> float:
    """Fit on the central part of the image at full size."""
    width, height = (min(side, _SHARPENING_SIDE_PX) for side in base.size)
    left, top = (base.size[0] - width) // 2, (base.size[1] - height) // 2
    place = np.s_[top : top + height, left : left + width]
    own, there = levels(base.pixels[place], base.space, under), cut(edited.pixels, frame.matrix, place, edited.space)[0]
    to_mask = scaling(base.size, change.mask.shape[1::-1]) @ translation(left, top)
    mask = warped(change.mask, to_mask, (width, height))
    return fit_sharpening(own, change.tones.apply(there), mask < SEEN)


def _without_ground(base: PixelImage, edited: PixelImage, ground: Any) -> PixelImage:
    pixels = at_depth(edited.pixels, base.pixels)
    freed = without_ground(base.pixels, base.on(ground), pixels, edited.levels, ground)
    return dataclasses.replace(edited, pixels=freed)
