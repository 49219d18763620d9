"""A detected change of an image's content: where it is, how strong, and how well everything else agrees."""

import dataclasses
import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentedit.photo import warp
from latentedit.photo.warp import Array, Mask, cv2
from latentedit.pixels import detection
from latentedit.pixels.light import Light
from latentedit.pixels.registration import Registration
from latentedit.pixels.rest import GLOBAL_RESIDUAL, Leftover, local_mean
from latentedit.pixels.tones import Tones

Found = Literal[
    "identical", "nothing", "faint change", "local change", "background replaced", "redrawn", "reframed",
    "different images",
]  # fmt: skip
LOCAL: tuple[Found, ...] = ("faint change", "local change", "background replaced")
NOTHING = 3e-4  # mean of the mask below which nothing was found
OPAQUE = 0.9  # opacity from which a pixel counts as changed; that of a sharp edge reaches 1 at half of its step
VISIBLE = 0.02  # opacity from which a pixel belongs to the faint part of a change
COUNTED = 2.0  # contrast of a counted change, which noise rarely reaches
CERTAIN = 3.0  # contrast of a certain change; on calibration pairs noise reached 2.5, changes 3.9 and more
UNSURE_PX = 0.5  # uncertainty of the alignment from which it is doubtful
LITTLE_LEFT = 0.4  # unchanged share below which colors and alignment are less certain
# Mean change of colors in levels above which it was intended: local edits had at most 16.4, and black and white has 28.
GLOBAL_CAST = 22.0
_CERTAIN_LEVELS = 8.0  # multiple of the usual noise: strength of a change that is found for certain
# Side of a change that is found for certain, as a share of the root of the area; see docs/results/check.md.
_CERTAIN_SIDE = 0.03
# Coarse difference of the rest in levels up to which one change may stand out; restyled images had 16.7 and more.
_REPAINTED_RESIDUAL = 2 * GLOBAL_RESIDUAL
_AGREES_RESIDUAL = 2.5  # levels up to which a rest agrees as in a local change
# A rest is where it was if it has both.
_IN_PLACE_STRUCTURE = 0.85
_IN_PLACE_AGREEMENT = 0.5
_REPLACED = 0.1  # share of the image from which on a part was replaced
_REPLACED_CORE = 0.02  # distance of such a part from any outline, as a share of the side


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectedChange:
    """A detected change at the working size."""

    registration: Registration
    mask: NDArray[np.floating[Any]]  # weight of each pixel in the change, in [0, 1]
    opacity: NDArray[np.floating[Any]]  # weight of the edited image in a composite whose seams are not seen
    numbers: NDArray[np.int32]  # labels of the separate changes; 1 is the largest, 0 none; the faint ones are last
    contrasts: NDArray[np.floating[Any]]  # strength of each over the noise elsewhere, that of no change first
    faint: tuple[int, ...] = ()  # numbers of changes weaker than noise elsewhere, not in mask and opacity
    faint_opacity: Array | None = None  # opacity of the faint changes; None if there is none
    differs: Array | None = None  # `seen_difference` of what both images show; None if pixels were compared one by one
    unchanged_share: float  # share of the part that the edited image shows
    unchanged_detail: float  # unchanged share of the original's fine detail
    tones: Tones = dataclasses.field(default_factory=Tones.none)  # from the edited image's colors to the original's
    light: Light | None = None  # other light, which a composite undoes; one of the faint changes
    mismatch: Array | None = None  # local difference of the unchanged surroundings in levels, fading in the change
    shared_detail: float = 1.0  # share of the edited image's detail that the original has, if that is much softer
    sharpening: float = 0.0  # matches the original's sharpness at its size
    residual: float = 0.0  # robust deviation of the unchanged part at a coarse scale, in levels
    leftover: "Leftover | None" = None  # where the rest differs most, if much more than elsewhere
    parted: float = 0.0  # levels between the two parts of the unchanged part that differ most from each other
    structure: float = 1.0  # median local correlation of the unchanged part, over windows with detail
    noise: float = 0.0  # usual difference of the unchanged part at a fine scale, in levels
    colored: bool = False  # an image without colors has some now
    exact: bool = False  # all that was not changed is the same bit for bit

    @property
    def count(self) -> int:
        """Number of separate changes, without the faint ones."""
        return len(self.contrasts) - 1 - len(self.faint)

    @property
    def light_alone(self) -> Light | None:
        """The other light if nothing else changed."""
        return self.light if float(self.mask.mean()) < self.least_share else None

    @property
    def in_place(self) -> bool:
        """Whether what was not changed has its structure where it was."""
        return self.structure >= _IN_PLACE_STRUCTURE and self.registration.agreement >= _IN_PLACE_AGREEMENT

    @property
    def is_repainted(self) -> bool:
        """Whether the rest differs as much as in a global change."""
        return self.residual > GLOBAL_RESIDUAL

    @property
    def stands_out(self) -> bool:
        """Whether a change exceeds all repaint of a rest that has its structure and its colors where they were."""
        # Evident changes, which are raised to just the contrast of certain ones, are not enough: a new background is
        # one, and fruits in front of it would be lost.
        is_stronger = bool((self.contrasts[1:] > CERTAIN).any())
        is_same = self.structure >= _IN_PLACE_STRUCTURE and self.tones.cast <= GLOBAL_CAST
        is_aligned = self.registration.uncertainty_px <= UNSURE_PX  # which two night skies were not
        return is_stronger and is_same and is_aligned and self.residual <= _REPAINTED_RESIDUAL

    @property
    def is_separated(self) -> bool:
        """Whether so much of the rest agrees so well that nothing of the change is left in it."""
        alike = not self.is_repainted and self.leftover is None
        return self.exact or (alike and self.unchanged_share >= LITTLE_LEFT)

    @property
    def agrees(self) -> bool:
        """Whether what was not changed agrees as well as in a local change."""
        return self.residual <= _AGREES_RESIDUAL

    @property
    def is_replacement(self) -> bool:
        """Whether a large part is another one for certain, and not only its lines, beside a rest that agrees."""
        certain = np.isin(self.numbers, np.flatnonzero(self.contrasts >= 2 * CERTAIN)) & (self.mask > OPAQUE)
        depth = cv2.distanceTransform(certain.astype(np.uint8), cv2.DIST_L2, 3)
        return self.agrees and float((depth > _REPLACED_CORE * min(depth.shape)).mean()) > _REPLACED

    def including_visible(self, part: Mask) -> "DetectedChange":
        """The change with every visible difference inside a part, at the working size, whatever the noise elsewhere."""
        if self.differs is None:
            return self
        faint = np.zeros_like(self.opacity) if self.faint_opacity is None else self.faint_opacity
        known = np.maximum(self.mask, faint)
        seen = np.where(part, np.maximum(detection.visible(self.differs, known > 0.5), faint), 0)
        new = seen > np.maximum(self.opacity, VISIBLE)
        if not new.any():
            return self
        count, pieces = detection.components(np.where(part, np.maximum(known, seen), 0))
        unknown = np.iinfo(np.int32).max
        own = np.full(count + 1, unknown, dtype=np.int32)  # number of each piece: its lowest, or the next one
        np.minimum.at(own, pieces[self.numbers > 0], self.numbers[self.numbers > 0])
        own[0], more = 0, 1 + np.flatnonzero(own[1:] == unknown)
        own[more] = len(self.contrasts) + np.arange(len(more))
        numbers = np.where((self.numbers == 0) & (seen > 0), own[pieces], self.numbers)
        mismatch = self.mismatch
        if mismatch is not None:  # the surroundings' mismatch goes on where what was not counted had a share in it
            share = warp.resized(seen.astype(np.float32), mismatch.shape[1::-1])[..., None].clip(0, 1)
            mismatch = mismatch + (local_mean(mismatch, 1 - share[..., 0]) - mismatch) * share
        return dataclasses.replace(
            self, mask=np.maximum(self.mask, seen), opacity=np.maximum(self.opacity, seen), numbers=numbers,
            contrasts=np.append(self.contrasts, np.zeros(len(more))), mismatch=mismatch, faint_opacity=faint * ~part,
            faint=tuple(sorted(set(self.faint) - set(numbers[new].tolist()))),
        )  # fmt: skip

    @property
    def least_share(self) -> float:
        """Mean of the mask from which on something was changed: one pixel, or more than noise."""
        return 0.5 / self.mask.size if self.exact else NOTHING

    @property
    def least_px(self) -> int:
        """Side of the smallest change that is found for certain (nineteen of twenty), in the original's pixels."""
        return 0 if self.exact else math.ceil(_CERTAIN_SIDE * math.sqrt(math.prod(self.registration.size)))

    @property
    def least_levels(self) -> int:
        """Strength from which on a change of that side is found, in levels."""
        return math.ceil(_CERTAIN_LEVELS * self.noise)


def exact_found(differs: Mask, *, exact: bool = True, certain: bool = True) -> DetectedChange:
    """The change if these pixels of the original's size differ; if ``exact``, all others are equal bit for bit."""
    mask, same = differs.astype(np.float32), 1 - float(differs.mean())
    size, (count, numbers) = differs.shape[1::-1], detection.components(mask)
    strengths = np.append(0, np.full(count, np.inf if certain else COUNTED))
    return DetectedChange(
        registration=Registration.unmoved(size, size), mask=mask, opacity=mask, numbers=numbers,
        unchanged_share=same, unchanged_detail=same, contrasts=strengths, exact=exact,
    )  # fmt: skip
