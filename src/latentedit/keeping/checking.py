"""Did an edit happen, and what else changed? The measurements of `keep`, compared with limits."""

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, FileFormatError, Hinted, explaining
from latentedit.core.files import plain
from latentedit.keeping import api
from latentedit.keeping.api import Boxes, ImageLike, KeepRecord, KeepResult, KeptImage
from latentedit.photo.images import PixelImage, read_pixels
from latentedit.photo.provenance import Declaration, Role
from latentedit.photo.saving import read_chunks
from latentedit.photo.warp import Mask, cv2, depth_inside, fitted, largest, resized, scaling, smoothed, warped
from latentedit.pixels.change import LOCAL, NOTHING, OPAQUE, VISIBLE, Found
from latentedit.pixels.decoders import as_started_from
from latentedit.pixels.detection import NEAR, disc, grown
from latentedit.pixels.masks import looks_inverted, mask_plane
from latentedit.pixels.seams import MOST_SEEN, SEAM_PX
from latentedit.pixels.verdict import EDGE_PX, EXTENDED, share_uncertainty

Reason = Literal["unsure", "no edit", "changed outside", "size", "whole image", "reframed", "different images"]
_Reasons = dict[Reason, str]  # in words
Step = Literal[
    "use edited", "keep", "keep within mask", "use edited or keep", "use edited or keep changes", "look", "edit again",
    "check files", "allow whole image", "invert mask",
]  # fmt: skip
MAX_OUTSIDE = 0.001  # default limit with a mask, as a share of the image
_MARGIN = 0.006  # margin around a mask for soft edges of changes, as a share of the side
# Half the width from which on what is seen inside a mask is no speck of texture; the larger of the two counts.
_SPECK_PX = 3
_SPECK_OF_SIDE = 0.004  # share of the longer side
_SPECK = 5e-5  # share below which a region is not listed
# The editor's changes of frame and colors are named from these values on: smaller ones are not seen.
_SEEN_SHIFT_PX = 0.5
_SEEN_ZOOM = 0.002  # deviation from 1
_SEEN_TURN_DEGREES = 0.1
_SEEN_CAST_LEVELS = 2.0
_ALIGNMENT = ("right_px", "down_px", "zoom", "rotation_degrees", "cast")  # fields of `Report`
_NAMES = ("ORIGINAL", "EDITED", "MASK")  # names of files in a suggested command, if they have no path
_STEPS: dict[Step, str] = {
    "use edited": "Use the edited image.",
    "keep": "Use {keep}: it puts the change alone on the original's pixels.",
    "keep within mask": "Use {keep}: it keeps the original everywhere else.",
    "use edited or keep": "If more was to be shown, use the edited image; otherwise {keep} has the original's frame.",
    "use edited or keep changes": "If the colors were requested, use the edited image; otherwise "
    "{keep} --only {numbers} has the original's.",
    "look": "Look at the panel: is all of the edit in it, and nothing else?",
    "edit again": "Edit once more with another instruction; if nothing changes again, use another editor.",
    "check files": "Check that the files belong together; if they do, edit again.",
    "allow whole image": "If that was the request, use the edited image, and allow it with --max-outside 100%.",
    "invert mask": "Check which part of the mask may change: if it is the black part, invert the mask and check again.",
}
_WITHOUT_KEEP: tuple[Step, ...] = ("use edited", "look", "check files", "allow whole image", "invert mask")
_PANEL_SIDE_PX = 720  # longer side of each of its two images
_BLANK = 235  # gray of what the edited image does not show
_NUMBERED = 20  # regions with a number on the panel
_GREEN = (40, 170, 80)
_RED = (225, 50, 50)
_BLUE = (60, 120, 230)
_ORANGE = (240, 140, 20)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A measured value. Nineteen of twenty errors are smaller than the uncertainty.

    Args:
        value: the best estimate.
        uncertainty: in the unit of the value.
    """

    value: float
    uncertainty: float

    def text(self, digits: int = 2, factor: float = 1) -> str:
        """Such as "4.18 ± 0.05"; the uncertainty is rounded up, and left out of an exact number."""
        off = math.ceil(factor * self.uncertainty * 10**digits - 1e-6) / 10**digits
        return f"{factor * self.value:.{digits}f}" + (f" ± {off:.{digits}f}" if off else "")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A connected change of the image's content.

    Args:
        number: the number that `keep --only` takes; 1 is the largest change.
        box: left, top, right and bottom in pixels of the original.
        share: share of the original's pixels, in [0, 1].
        outside: share of the original's pixels that changed outside the mask; null without a mask.
    """

    number: int
    box: tuple[int, int, int, int]
    share: float
    outside: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report(Hinted):
    """The answer of a check. Lengths are in pixels of the original; shares are of its pixels, in [0, 1].

    Args:
        format: version of these fields; a change of their meaning increases it.
        passed: whether the edit happened and every limit holds; null if neither a mask nor `max_outside` was given,
            since what was requested is unknown then. A size that is not as expected fails by itself.
        verdict: one sentence.
        next_step: a suggestion, often a command.
        next_step_code: the same for programs.
        reasons: why the check failed; empty if it passed, or if there is nothing to compare with.
        found: what happened to the content, whatever happened to the colors: "identical" was compared and is equal;
            "nothing" is nothing larger than `least_px`; a "faint change" is no stronger than the noise elsewhere, or
            than what new colors leave where they did not change alike everywhere;
            "redrawn" is the whole image in the same layout.
        recolored: whether all colors changed so much that it looks intended, or a gray image was colored; false if it
            was redrawn.
        changed: share that changed.
        inside: share that changed inside the mask; null without a mask.
        outside: share that changed outside the mask; null without a mask.
        mask_share: share inside the mask; null without a mask.
        max_outside: the limit of `outside`, and of `changed` without a mask; null if there is none.
        became_transparent: share whose alpha fell by a tenth or more; `became_opaque` whose alpha rose.
        least_px: side of the smallest change that is found for certain, nineteen times of twenty; 0 if the images are
            the same bit for bit elsewhere, null if they could not be compared.
        regions: the separate changes, the largest first.
        box_uncertainty_px: uncertainty of each side of a box.
        right_px: shift of the image's center; null, like the next four, if the images could not be aligned.
        down_px: likewise.
        zoom: magnification beyond the change of size; 1 is none.
        rotation_degrees: clockwise.
        cast: mean change of all colors, in levels of 255.
        beyond: share of the edited image that lies beyond the original; 0 if that is too little to be meant.
        beyond_at: on which sides: left, right, above, below.
        size: width and height of the original in pixels.
        edited_size: the same of the edited image.
        rest: what was not found to have changed: "identical" bit for bit, it "differs", or it is "empty".
        rest_db: PSNR of the rest; null unless it differs.
        rest_levels: robust mean difference of the rest after alignment, in levels of 255; null unless it differs.
        also: what else the editor did: shift, zoom, rotation, cast, size, further regions.
        doubts: what is uncertain, one clause each.
        original: name and fingerprint.
        edited: likewise.
        mask: likewise; null without a mask.
        declares: what the files of both images say of their own making, null where they say nothing; nothing of it is
            verified.
    """

    format: Literal[2] = 2
    passed: bool | None
    verdict: str
    next_step: str
    next_step_code: Step
    reasons: tuple[Reason, ...]
    found: Found
    recolored: bool
    changed: Measure
    inside: Measure | None
    outside: Measure | None
    mask_share: float | None
    max_outside: float | None
    became_transparent: float
    became_opaque: float
    least_px: int | None
    regions: tuple[Region, ...]
    box_uncertainty_px: float
    right_px: Measure | None
    down_px: Measure | None
    zoom: Measure | None
    rotation_degrees: Measure | None
    cast: Measure | None
    beyond: float
    beyond_at: tuple[str, ...]
    size: tuple[int, int]
    edited_size: tuple[int, int]
    rest: Literal["identical", "differs", "empty"]
    rest_db: float | None
    rest_levels: float | None
    also: tuple[str, ...]
    doubts: tuple[str, ...]
    original: KeptImage
    edited: KeptImage
    mask: KeptImage | None
    declares: dict[Role, Declaration | None]

    @property
    def values(self) -> dict[str, Any]:
        """Plain values in the schema of docs/reference/check.schema.json."""
        return plain(self)

    def to_json(self) -> str:
        """`values` in one line."""
        return json.dumps(self.values, ensure_ascii=False, allow_nan=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckResult(Hinted):
    """A check and what it is based on.

    Args:
        report: the answer, as plain values.
        kept: the result of `keep` without a mask: alignment, detected change, and the original with the change.
        changed: where the content changed, ``[height, width]`` of the original.
        allowed: where it may change, with a margin for soft edges; None without a mask.
    """

    report: Report
    kept: KeepResult
    changed: Mask
    allowed: Mask | None

    def __repr__(self) -> str:
        return f"<CheckResult {outcome(self.report.values)}: {self.report.verdict}>"

    def __getattr__(self, name: str) -> Any:  # a field of the report
        return getattr(self.report, name) if name in Report.__dataclass_fields__ else self._missing(name)

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *Report.__dataclass_fields__]

    @property
    def panel(self) -> Image.Image:
        """Original and aligned edited image. Outlines show changes: inside the mask (green), outside of it (red), or,
        without a mask, anywhere (orange); the mask is blue.
        """
        original, edited = self.kept.original, self.kept.edited
        size = fitted(original.size, _PANEL_SIDE_PX)
        left = resized(original.levels, size)
        matrix = self.kept.matrix @ scaling(size, original.size)
        right = warped(edited.levels, matrix, size)
        right[depth_inside(matrix, size, edited.size) < -1] = _BLANK
        sides = [np.rint(side).clip(0, 255).astype(np.uint8) for side in (left, right)]
        if self.allowed is None:
            outlines = [(self.changed, _ORANGE)]
        else:
            _outline(sides[0], self.allowed, _BLUE)
            outlines = [(self.changed & self.allowed, _GREEN), (self.changed & ~self.allowed, _RED)]
        for shown, color in outlines if self.report.regions else ():
            _outline(sides[1], shown, color)
        sheet = Image.fromarray(np.hstack([sides[0], np.full((size[1], 8, 3), 255, np.uint8), sides[1]]))
        draw, font, scale = ImageDraw.Draw(sheet), ImageFont.load_default(16), size[0] / original.size[0]
        for region in self.report.regions[:_NUMBERED]:
            place = (size[0] + 8 + scale * region.box[0] + 3, scale * region.box[1] + 1)
            color = _ORANGE if region.outside is None else _RED if region.outside > region.share / 2 else _GREEN
            draw.text(place, str(region.number), color, font, stroke_width=2, stroke_fill="white")
        return sheet


def outcome(report: Mapping[str, Any]) -> Literal["passed", "failed", "unsure", "measured"]:
    """The verdict of `Report.values` in one word; "measured" where there is nothing to compare with."""
    if report["passed"] is None:
        return "measured"
    if report["passed"]:
        return "passed"
    return "unsure" if list(report["reasons"]) == ["unsure"] else "failed"


@explaining
def check(
    original: ImageLike | None = None,
    edited: ImageLike | None = None,
    *,
    kept: KeepResult | None = None,
    mask: ImageLike | None = None,
    box: Boxes | None = None,
    max_outside: float | None = None,
    expect_size: bool = False,
    progress: Progress | None = None,
) -> CheckResult:
    """Measure what an editor changed, and compare it with a mask or a limit. Needs no model.

    A shift, a zoom, a color cast, another size and codec noise are measured, and do not count as changed pixels. With a
    mask or a limit, the check fails if nothing or the whole image changed, or if the limit is exceeded. Without either
    it only measures, since it cannot know what was requested.

    Args:
        original: 8 or 16 bits.
        edited: the output of any editor, of any size.
        kept: a result of `keep` instead of the two images, whatever its mask and strength: the images are the same,
            and are not analyzed again.
        mask: white where the image may change, or painted in one color; of the original's shape, in any size.
        box: the same as x, y, width and height in the original's pixels, or several such boxes; instead of a mask.
        max_outside: share of the original's pixels that may change outside the mask, in [0, 1]; without a mask, that
            may change anywhere. By default 0.001 with a mask and no limit without one; 1 also allows a change of the
            whole image.
        expect_size: fail if the edited image has another size.

    Raises:
        ImageError: a file is not an image, or the mask does not fit the original.
        ConfigError: ``max_outside`` is not in [0, 1], or the images are not given exactly once.

    Cost:
        As `keep`: 1 to 8 s on one core; less than a second with ``kept``.
    """
    if max_outside is not None and not (isinstance(max_outside, Real) and 0 <= max_outside <= 1):
        meant = max_outside / 100 if isinstance(max_outside, Real) and 1 < max_outside <= 100 else 0.001
        remedy = f"Pass {meant:g} for {100 * meant:g} %"
        raise ConfigError(f"`max_outside` is a share from 0 to 1; got {max_outside!r}. {remedy}")
    if kept is not None and original is None and edited is None:
        original, edited = kept.original, kept.given
    elif kept is None and original is not None and edited is not None:
        original, edited = read_pixels(original, "the original"), read_pixels(edited, "the edited image")
    else:
        raise ConfigError("`check` needs either `original` and `edited` or `kept`. Pass one of the two")
    limits, boxes = api.limits_of(mask, box, original.size)
    box_text = "".join(f" --box {','.join(map(str, corners))}" for corners in boxes or ())
    plane, convention = (None, "") if limits is None else mask_plane(limits, original.size)
    white = None if plane is None else plane > 0.5
    decoded = original if kept is not None else as_started_from(original, edited)
    unmasked = api.keep(decoded, edited, progress=progress) if kept is None else kept.whole
    kept = unmasked if white is None else _seen_within(unmasked, white)
    areas = _areas(kept, white, original)
    inverted = white is not None and looks_inverted(areas.changed, white)
    max_outside = MAX_OUTSIDE if max_outside is None and white is not None else max_outside
    named = None if limits is None else KeptImage(name=box_text.strip() or limits.name, fingerprint=limits.fingerprint)
    notes = [convention, api.INVERTED if inverted else "", _decoder(original, decoded)]
    report = _unjudged(kept, areas, original, named, max_outside, notes)
    places = [None if image is None else image.path for image in (original, edited, limits)]
    report = _judged(report, places, kept, box_text, expect_size=expect_size, inverted=inverted)
    return CheckResult(report=report, kept=unmasked, changed=areas.changed, allowed=areas.allowed)


def _seen_within(kept: KeepResult, white: Mask) -> KeepResult:
    """The result with all that is seen inside a mask as a change, if that adds more than the specks codecs leave."""
    masked, unmasked = kept.analysis.within(white), kept.detected
    if masked.change is None or unmasked is None:
        return kept
    added = ((masked.change.mask > 0.5) & (unmasked.mask < 0.5)).astype(np.uint8)
    core = cv2.erode(added, disc(max(_SPECK_PX, round(_SPECK_OF_SIDE * max(added.shape)))))
    if len(masked.change.faint) >= len(unmasked.faint) and not core.any():
        return kept
    return dataclasses.replace(kept, analysis=masked, doubts=api.doubts_of(kept.original, kept.given, masked))


class _Areas(NamedTuple):
    """Where the content changed, ``[height, width]`` of the original, and where it may; None without a mask."""

    changed: Mask
    faint: Mask  # pixels that belong to a change but are too faint to count
    numbers: NDArray[np.int32]  # labels of the separate changes; 0 is none
    white: Mask | None  # the mask's white part
    allowed: Mask | None  # the white part with a margin for soft edges
    outside: Mask | None  # changed pixels beyond the margin


def _areas(kept: KeepResult, white: Mask | None, original: PixelImage) -> _Areas:
    change = kept.detected
    changed = np.full(original.size[::-1], kept.found in ("redrawn", "different images"))
    faint, numbers = np.zeros_like(changed), np.zeros(changed.shape, dtype=np.int32)
    if change is not None and kept.changes and kept.found != "redrawn":
        opacity = kept.analysis.full(change.mask)
        changed, faint = opacity > OPAQUE, (opacity > VISIBLE) & (opacity <= OPAQUE)
        numbers = kept.analysis.full(change.numbers, labels=True)
    allowed = outside = None
    if white is not None:
        allowed = grown(white, math.ceil(_MARGIN * max(original.size) + max(_edge_px(kept), 2 * EDGE_PX)))
        outside = changed & ~allowed
        if outside.any() and _is_kept(kept.given, original):  # a seam may lie farther out
            apart = largest(np.abs(smoothed(kept.given.levels - original.levels, SEAM_PX)))
            outside &= (apart > MOST_SEEN) | ~grown(allowed, math.ceil(NEAR * min(original.size)))
    return _Areas(changed, faint, numbers, white, allowed, outside)


def _unjudged(
    kept: KeepResult, areas: _Areas, original: PixelImage, mask: KeptImage | None, limit: float | None, notes: list[str]
) -> Report:
    """The report with all measurements, but without a verdict."""
    change, changed, faint, allowed, outside = kept.detected, areas.changed, areas.faint, areas.allowed, areas.outside
    doubts = (doubt.replace(api.SMALLER, "what is smaller or fainter may not be seen") for doubt in kept.doubts)
    share = _share(changed, faint, kept)
    if share.value < share.uncertainty and kept.found in LOCAL[1:]:
        notes = [*notes, f"how much changed is unknown: {share.text(2, 100)} %"]
    agreement, no_rest = kept.outside_db_before, bool(changed.all()) or kept.analysis.is_global
    return Report(
        found=kept.found,
        recolored=kept.recolored,
        changed=share,
        inside=None if allowed is None else _share(changed & allowed, faint & allowed, kept),
        outside=None if allowed is None or outside is None else _share(outside, faint & ~allowed, kept),
        mask_share=None if areas.white is None else float(areas.white.mean()),
        max_outside=limit,
        became_transparent=kept.became_transparent,
        became_opaque=kept.became_opaque,
        least_px=kept.analysis.least_px,
        regions=_regions(kept, areas),
        box_uncertainty_px=_edge_px(kept),
        **_alignment(kept),
        beyond=kept.analysis.beyond[0],
        beyond_at=kept.analysis.beyond[1],
        size=original.size,
        edited_size=kept.given.size,
        rest="empty" if no_rest else "differs" if math.isfinite(agreement) else "identical",
        rest_db=None if no_rest else plain(agreement),
        rest_levels=None if change is None or no_rest or change.exact else plain(change.residual),
        doubts=(*doubts, *filter(None, notes)),
        mask=mask,
        declares=kept.declares,
        original=KeptImage(name=original.name, fingerprint=original.fingerprint),
        edited=kept.record.edited,
        passed=None,
        verdict="",
        next_step="",
        next_step_code="use edited",
        reasons=(),
        also=(),
    )


def _is_kept(edited: PixelImage, original: PixelImage) -> bool:
    """Whether a file has the record of a `keep` on this original."""
    if edited.path is None or edited.size != original.size:
        return False
    text = read_chunks(edited.path)[0]
    try:
        return text is not None and KeepRecord.from_json(text, "").original.fingerprint == original.fingerprint
    except FileFormatError:
        return False


def _decoder(original: PixelImage, decoded: PixelImage) -> str:
    """A note if the editor started from FFmpeg's decoding of the original."""
    if decoded is original:
        return ""
    apart = float(np.abs(decoded.pixels.astype(np.float32) - original.pixels).mean())
    decoding = f"FFmpeg's decoding of {original.name}, {apart:.1f} levels from Pillow's on average"
    return f"the edited image was made from {decoding}, and compared with that"


def _regions(kept: KeepResult, areas: _Areas) -> tuple[Region, ...]:
    if kept.found == "redrawn":  # one region: all of it
        return ()

    def shares(mask: Mask) -> list[float]:
        return (np.bincount(areas.numbers[mask], minlength=1 + len(kept.changes)) / mask.size)[1:].tolist()

    outside = [None] * len(kept.changes) if areas.outside is None else shares(areas.outside)
    listed = zip(kept.changes, shares(areas.changed), outside, strict=False)
    regions = (Region(number=change.number, box=change.box, share=share, outside=out) for change, share, out in listed)
    return tuple(region for region in regions if region.share >= _is_inexact(kept) * _SPECK)


def _is_inexact(kept: KeepResult) -> bool:
    """Whether the unchanged part carries any noise; without it, nothing is uncertain."""
    return kept.analysis.least_px != 0


def _edge_px(kept: KeepResult) -> float:
    """Uncertainty of an outline in the original's pixels."""
    step = 1.0 if kept.detected is None else max(kept.analysis.registration.size) / max(kept.detected.mask.shape)
    return _is_inexact(kept) * EDGE_PX * max(step, 1.0) + kept.analysis.registration.uncertainty_px


def _share(mask: Mask, faint: Mask, kept: KeepResult) -> Measure:
    off = 0.0 if mask.all() else _is_inexact(kept) * share_uncertainty(mask, faint, _edge_px(kept))
    return Measure(value=float(mask.mean()), uncertainty=off)


def _alignment(kept: KeepResult) -> dict[str, Any]:
    """Frame and colors, each with its uncertainty."""
    if kept.detected is None:
        return dict.fromkeys(_ALIGNMENT)
    frame, (off, spread, cast) = kept.analysis.registration, kept.analysis.uncertainties
    values = (*frame.shift_px, frame.zoom, frame.rotation_degrees, kept.analysis.cast)
    errors = (off, off, spread, math.degrees(spread), cast)
    pairs = zip(_ALIGNMENT, values, errors, strict=True)
    return {name: Measure(value=value, uncertainty=float(error)) for name, value, error in pairs}


def _judged(
    report: Report, places: Sequence[Path | None], kept: KeepResult, box: str, *, expect_size: bool, inverted: bool
) -> Report:
    """The report with its verdict, its reasons and the next step."""
    colors = report.recolored or kept.analysis.only_colors
    clean = kept.detected is None or kept.detected.is_separated
    masked = report.mask is not None
    sizes = " instead of ".join(f"{width}x{height}" for width, height in (report.edited_size, report.size))
    cast = "" if report.cast is None else f"all colors changed by {report.cast.text(1)} of 255 levels"
    if kept.detected is not None and kept.detected.colored:
        cast = "an image without colors was colored"
    verdict = _sentence(report, kept, cast)
    nothing = _nothing(kept, " inside the mask" if masked else "")
    reasons = _reasons(report, nothing, verdict, colors=colors, clean=clean, inverted=inverted)
    if expect_size and report.size != report.edited_size:
        reasons["size"] = f"the size is {sizes}"
    also = _also(report, sizes, "" if colors else cast)
    step = "invert mask" if inverted else _next_step(report, next(iter(reasons), None), also, colors=colors)
    unknown = report.found in LOCAL and 0 < report.changed.value < report.changed.uncertainty
    if (unknown or not clean) and step not in _WITHOUT_KEEP:
        step = "look"
    if step == "keep" and _is_kept(kept.given, kept.original):
        step = "use edited"
    names = [name if place is None else shlex.quote(str(place)) for name, place in zip(_NAMES, places, strict=True)]
    command = "latentedit keep {} {}{}".format(*names[:2], box or (f" --mask {names[2]}" if masked else ""))
    numbers = ",".join(str(one.number) for one in kept.changes if not one.faint)
    # A size as expected says nothing of the change.
    judged = masked or report.max_outside is not None or "size" in reasons
    return dataclasses.replace(
        report, passed=not reasons if judged else None, verdict="; ".join(reasons.values()) or verdict, also=also,
        reasons=tuple(reasons), next_step=_STEPS[step].format(keep=command, numbers=numbers), next_step_code=step,
    )  # fmt: skip


def _reasons(report: Report, nothing: str, verdict: str, *, colors: bool, clean: bool, inverted: bool) -> _Reasons:
    """Why the check fails by its limits, in words; ``clean`` if nothing of the change is left in the rest."""
    # ``colors`` if all colors changed, and it may have been the request.
    limit, found, masked = report.max_outside, report.found, report.mask is not None
    if limit is None and not masked:
        return {}
    outside = report.changed if report.outside is None else report.outside
    inside = report.changed if report.inside is None else report.inside
    reasons: _Reasons = {}
    if found == "redrawn" or colors:
        reasons = {} if limit == 1 or report.mask_share == 1 else {"whole image": verdict}
    elif found == "different images" or (found == "reframed" and limit != 1):
        reasons[found] = verdict
    elif found == "faint change" or (found == "nothing" and not clean):
        reasons["unsure"] = verdict
    elif found != "reframed" and (inverted or not inside.value or inside.value < NOTHING * bool(report.least_px)):
        reasons["no edit"] = nothing
    if found in LOCAL and found != "faint change" and limit is not None and outside.value > 0 and limit < 1:
        where = " outside the mask" if masked else ""
        share = f"{outside.text(2, 100)} % changed{where}, and {100 * limit:g} % may"
        if abs(outside.value - limit) < outside.uncertainty:
            reasons["unsure"] = f"{share}: too close to be certain"
        elif outside.value > limit:
            reasons["changed outside"] = share
    return reasons


def _nothing(kept: KeepResult, within: str = "") -> str:
    if kept.found == "identical":
        return "both files show the same image"
    if kept.analysis.only_colors:
        return f"only the colors changed, all by {_alignment(kept)['cast'].text(1)} of 255 levels"
    return kept.analysis.nothing_line + within


def _sentence(report: Report, kept: KeepResult, cast: str) -> str:
    """The sentence of the verdict."""
    count = len(report.regions)
    inside, within = (report.changed, "") if report.inside is None else (report.inside, " inside the mask")
    places = f" in {count} places" if count > 1 else ""
    extended = f"the image was extended: {api.beyond_line(report.beyond, report.beyond_at)}"
    changed = f"{inside.text(2, 100)} % of the image changed{within}{places}"
    if kept.detected is not None and (light := kept.detected.light_alone) is not None:
        return f"only the light changed, by up to {light.most:.0f} levels"
    if report.found in ("identical", "nothing"):
        return cast if report.recolored else _nothing(kept)
    content = {
        "faint change": "what differs is no stronger than the noise elsewhere",
        "local change": changed,
        "background replaced": f"the background was replaced: {changed}",
        "redrawn": "the whole image was redrawn in the same layout",
        "reframed": extended if report.beyond else "the image was only reframed",
        "different images": "the images cannot be aligned: they show different things or views",
    }[report.found]
    return f"{cast}; apart from that, {content}" if report.recolored else content


def _next_step(report: Report, reason: Reason | None, also: Sequence[str], *, colors: bool) -> Step:
    """The remedy for the first reason, or for what else the editor did."""
    if_meant: Step = "use edited" if report.max_outside == 1 else "allow whole image"
    if colors and not report.recolored:  # less than `keep` keeps
        return if_meant
    if report.recolored and report.found in LOCAL[1:]:
        return "use edited or keep changes"
    near = reason == "unsure" and report.found in LOCAL[1:]  # near the limit
    if near or reason == "changed outside" or (reason == "whole image" and report.mask is not None):
        return "keep within mask" if report.mask is not None else "keep"
    if reason == "size":
        return "keep"
    if report.recolored:
        return if_meant
    if report.found == "identical":
        return "check files"
    if reason == "no edit" or report.found == "nothing":
        return "edit again"
    steps: dict[str, Step] = {"different images": "check files", "faint change": "look"}
    steps |= {"redrawn": if_meant, "reframed": if_meant}
    if report.found in steps:
        return steps[report.found]
    if report.beyond > EXTENDED:
        return "use edited or keep"
    return "keep" if also or report.rest == "differs" else "use edited"


def _also(report: Report, sizes: str, cast: str) -> tuple[str, ...]:
    """Clauses on what else the editor did, as far as it can be seen and is certain."""
    also: dict[str, bool] = {}
    right, down, zoom, turn, tint = (getattr(report, name) for name in _ALIGNMENT)
    if report.cast is not None:
        shift, off = math.hypot(right.value, down.value), right.uncertainty
        also[f"moved by {right.value:+.2f}, {down.value:+.2f} ± {off:.2f} px"] = shift > max(_SEEN_SHIFT_PX, off)
        also[f"zoomed by {zoom.text(4)}"] = abs(zoom.value - 1) > max(_SEEN_ZOOM, zoom.uncertainty)
        also[f"turned by {turn.text()} degrees"] = abs(turn.value) > max(_SEEN_TURN_DEGREES, turn.uncertainty)
        also[cast] = bool(cast) and tint.value > max(_SEEN_CAST_LEVELS, tint.uncertainty)
    also |= dict.fromkeys(api.alpha_lines(report.became_transparent, report.became_opaque), True)
    also[api.beyond_line(report.beyond, report.beyond_at)] = report.beyond > 0 and report.found != "reframed"
    also[f"size {sizes}"] = report.size != report.edited_size
    return tuple(text for text, holds in also.items() if holds)


def _outline(pixels: NDArray[np.uint8], mask: Mask, color: tuple[int, int, int]) -> None:
    """Draw the outline of a mask of any size."""
    small = cv2.resize(mask.astype(np.uint8), pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    outlines, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(pixels, outlines, -1, color, 2)
