"""Did an edit happen, and what else changed? The measurements of `keep`, compared with limits."""

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from latentedit_keep.api import INVERTED, ImageLike, KeepResult, KeptImage, keep, separate_changes, transparency_lines
from latentedit_keep.base.console import Progress
from latentedit_keep.base.errors import ConfigError
from latentedit_keep.base.files import plain
from latentedit_keep.base.images import read_pixels
from latentedit_keep.base.warp import Mask, cv2, fitted, resized, scaling, warped
from latentedit_keep.change import NOTHING, is_redrawn
from latentedit_keep.detection import grown
from latentedit_keep.masks import looks_inverted, mask_plane

Found = Literal["nothing", "faint change", "local change", "all colors", "whole image", "reframed", "different images"]
Reason = Literal["unsure", "no edit", "changed outside", "size", "whole image", "reframed", "different images"]

MAX_OUTSIDE = 0.001  # default limit with a mask, as a share of the image
_MARGIN = 0.006  # of the side: around a mask, soft edges of changes do not count as outside
_OPAQUE = 0.9  # opacity from which a pixel counts as changed; that of a sharp edge reaches 1 at half of its step
_VISIBLE = 0.02  # opacity from which a pixel belongs to the faint part of a change
_EDGE_PX = 1.5  # at the working size: nine of ten outlines are no farther off
# Calibrated so that nineteen of twenty errors are smaller: see docs/results/check.md.
_LEAST_PX, _LEAST_CAST, _CAST_FACTOR, _OUTLINE_FACTOR = 0.05, 1.6, 3.2, 2.0
_CERTAIN = 3.0  # contrast from which a change is counted; on calibration pairs noise reached 2.5, changes 3.9 and more
_LEAST_SHARE = 4e-4  # uncertainty of every share: smaller changes are not detected
_SPECK = 5e-5  # share below which a region is not listed
_MEAN_RADIUS = 0.38  # mean distance of a square's points from its center, as a share of its side
_UNSEEN = {"shift": 0.5, "zoom": 0.002, "turn": 0.1, "cast": 2.0}  # px, 1, degrees and levels below which none is named
_ALIGNMENT = ("right_px", "down_px", "zoom", "rotation_degrees", "cast")  # fields of `Report`
_NAMES = ("ORIGINAL", "EDITED", "MASK")  # of files in a suggested command, if they have no path
_AGAIN = "Edit once more with another instruction; if nothing changes again, use another editor."
_STEPS = {
    "passed": "Use the edited image.",
    "also": "Use {keep_all}: it puts the change alone on the original's pixels.",
    "unsure": "Look at the panel: is the edit in it?",
    "no edit": _AGAIN,
    "reframed": _AGAIN,
    "different images": "Check that the files belong together; if they do, edit again.",
    "whole image": "If that was the request, allow it with --max-outside 100%. Otherwise edit again.",
    "changed outside": "Use {keep_some}: it keeps the original everywhere else.",
    "size": "Use {keep_all}: the result has the original's size.",
    "inverted": "Check which part of the mask may change: if it is the black part, invert the mask and check again.",
}
_PANEL_SIDE_PX = 720  # longer side of each of its two images
_NUMBERED = 20  # regions with a number on the panel
_GREEN, _RED, _BLUE = (40, 170, 80), (225, 50, 50), (60, 120, 230)


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
        """Such as "4.18 ± 0.05"; the uncertainty is rounded up."""
        off = math.ceil(factor * self.uncertainty * 10**digits - 1e-6) / 10**digits
        return f"{factor * self.value:.{digits}f} ± {off:.{digits}f}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A connected change of the image's content.

    Args:
        number: the number that `keep --only` takes; 1 is the largest change.
        box: left, top, right and bottom in pixels of the original.
        share: share of the original's pixels, in [0, 1].
        outside: share of the original's pixels that changed outside the mask; without a mask, all but the first region.
    """

    number: int
    box: tuple[int, int, int, int]
    share: float
    outside: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer of a check. Lengths are in pixels of the original; shares are of its pixels, in [0, 1].

    Args:
        format: version of these fields; a change of their meaning increases it.
        passed: whether the edit happened and every limit holds.
        verdict: one sentence.
        next_step: a suggestion, often a command.
        reasons: why the check failed; empty if it passed.
        found: what changed: "local change" has regions; those of a "faint change" may be noise; "all colors" is a
            color cast that looks intended.
        inside: share that changed inside the mask; without a mask, the largest region.
        outside: share that changed outside the mask; without a mask, all other regions.
        mask_share: share inside the mask; null without a mask.
        max_outside: the limit of `outside`; null if there is none.
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
        size: width and height of the original in pixels.
        edited_size: the same of the edited image.
        rest_db: PSNR of everything that was not found to have changed; null if it is identical, bit for bit.
        also: what else the editor did: shift, zoom, rotation, cast, size, further regions.
        doubts: what is uncertain, one clause each.
        original: name and fingerprint.
        edited: likewise.
        mask: likewise; null without a mask.
    """

    format: Literal[1] = 1
    passed: bool
    verdict: str
    next_step: str
    reasons: tuple[Reason, ...]
    found: Found
    inside: Measure
    outside: Measure
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
    size: tuple[int, int]
    edited_size: tuple[int, int]
    rest_db: float | None
    also: tuple[str, ...]
    doubts: tuple[str, ...]
    original: KeptImage
    edited: KeptImage
    mask: KeptImage | None

    @property
    def values(self) -> dict[str, Any]:
        """Plain values in the schema of docs/reference/check.schema.json."""
        return plain(self)

    def to_json(self) -> str:
        """`values` in one line."""
        return json.dumps(self.values, ensure_ascii=False, allow_nan=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckResult:
    """A check and what it is based on.

    Args:
        report: the answer, as plain values.
        kept: the result of `keep` without a mask: alignment, detected change, and the original with the change.
        edit: where the edit changed the content, ``[height, width]`` of the original.
        other: where else the content changed.
        allowed: where it may change; None without a mask.
    """

    report: Report
    kept: KeepResult
    edit: Mask
    other: Mask
    allowed: Mask | None

    def __repr__(self) -> str:
        return f"<CheckResult {outcome(self.report.values)}: {self.report.verdict}>"

    @property
    def panel(self) -> Image.Image:
        """Original and aligned edited image; outlines show the mask (blue), the edit (green) and the rest (red)."""
        original, edited = self.kept.original, self.kept.edited
        size = fitted(original.size, _PANEL_SIDE_PX)
        left = resized(original.levels, size)
        right = warped(edited.levels, self.kept.matrix @ scaling(size, original.size), size)
        sides = [np.rint(side).clip(0, 255).astype(np.uint8) for side in (left, right)]
        if self.allowed is not None:
            _outline(sides[0], self.allowed, _BLUE)
        if self.report.found in ("local change", "faint change", "all colors"):
            _outline(sides[1], self.edit, _GREEN)
            _outline(sides[1], self.other, _RED)
        sheet = Image.fromarray(np.hstack([sides[0], np.full((size[1], 8, 3), 255, np.uint8), sides[1]]))
        draw, font, scale = ImageDraw.Draw(sheet), ImageFont.load_default(16), size[0] / original.size[0]
        for region in self.report.regions[:_NUMBERED]:
            place = (size[0] + 8 + scale * region.box[0] + 3, scale * region.box[1] + 1)
            color = _RED if region.outside > region.share / 2 else _GREEN
            draw.text(place, str(region.number), color, font, stroke_width=2, stroke_fill="white")
        return sheet


def outcome(report: Mapping[str, Any]) -> Literal["passed", "failed", "unsure"]:
    """The verdict of `Report.values` in one word."""
    if report["passed"]:
        return "passed"
    return "unsure" if list(report["reasons"]) == ["unsure"] else "failed"


def check(
    original: ImageLike | None = None,
    edited: ImageLike | None = None,
    *,
    kept: KeepResult | None = None,
    mask: ImageLike | None = None,
    max_outside: float | None = None,
    expect_size: bool = False,
    progress: Progress | None = None,
) -> CheckResult:
    """Measure whether an edit happened and what else changed. Needs no model.

    A shift, a zoom, a color cast, another size and codec noise are measured, and do not count as changed pixels. The
    check fails if nothing or the whole image changed, or if a limit is exceeded.

    Args:
        original: 8 or 16 bits.
        edited: the output of any editor, of any size.
        kept: a result of `keep` instead of the two images, whatever its mask and strength: the images are the same,
            and are not analyzed again.
        mask: white where the image may change, of the original's size. Without a mask, the largest change counts as
            the edit and all others as outside.
        max_outside: share of the original's pixels that may change outside, in [0, 1]. By default 0.001 with a mask and
            no limit without one; 1 also allows a change of the whole image.
        expect_size: fail if the edited image has another size.

    Raises:
        ImageError: a file is not an image, or the mask does not fit the original.
        ConfigError: ``max_outside`` is not in [0, 1], or the images are not given exactly once.

    Cost:
        As `keep`: 1 to 8 s on one core; less than a second with ``kept``.
    """
    if max_outside is not None and not 0 <= max_outside <= 1:
        raise ConfigError(f"`max_outside` is a share from 0 to 1; got {max_outside:g}")
    if kept is not None and original is None and edited is None:
        first, second = kept.original, kept.given
    elif kept is None and original is not None and edited is not None:
        first, second = read_pixels(original, "the original"), read_pixels(edited, "the edited image")
    else:
        raise ConfigError("`check` needs either `original` and `edited` or `kept`. Pass one of the two")
    third = None if mask is None else read_pixels(mask, "the mask")
    plane, convention = (None, "") if third is None else mask_plane(third, first.size)
    allowed = None if plane is None else plane > 0.5
    kept = keep(first, second, progress=progress) if kept is None else kept.whole
    change, certain = kept.detected, _certain(kept)
    found = _found(kept, certain)
    if found == "faint change":
        certain = np.arange(len(certain)) > 0
    changed = np.full(first.size[::-1], found in ("whole image", "different images"))
    faint, numbers = np.zeros_like(changed), np.zeros(changed.shape, dtype=np.int32)
    regions = list[Region]()
    if found in ("local change", "faint change", "all colors") and change is not None:
        opacity = cv2.resize(change.mask * certain[change.numbers], first.size, interpolation=cv2.INTER_LINEAR)
        changed, faint = opacity > _OPAQUE, (opacity > _VISIBLE) & (opacity <= _OPAQUE)
        numbers = cv2.resize(change.numbers, first.size, interpolation=cv2.INTER_NEAREST)
    margin = _noise(kept) * _MARGIN * max(first.size) + _edge_px(kept)
    inside = numbers == certain.argmax() if allowed is None else grown(allowed, math.ceil(margin))
    edit, other = changed & inside, changed & ~inside
    if change is not None and found in ("local change", "faint change"):
        shares, outside = (
            np.bincount(numbers[part], minlength=change.count + 1) / part.size for part in (changed, other)
        )
        for one in (one for one in separate_changes(change, first.size) if certain[one.number]):
            share = float(shares[one.number])
            regions.append(Region(number=one.number, box=one.box, share=share, outside=float(outside[one.number])))
    inverted = allowed is not None and looks_inverted(changed, allowed)
    report = Report(
        found=found,
        inside=_share(edit, faint & inside, kept),
        outside=_share(other, faint & ~inside, kept),
        mask_share=None if allowed is None else float(allowed.mean()),
        max_outside=MAX_OUTSIDE if max_outside is None and allowed is not None else max_outside,
        became_transparent=kept.became_transparent,
        became_opaque=kept.became_opaque,
        least_px=kept.least_px,
        regions=tuple(region for region in regions if region.share >= _noise(kept) * _SPECK),
        box_uncertainty_px=_edge_px(kept),
        **_alignment(kept),
        size=first.size,
        edited_size=second.size,
        rest_db=plain(kept.outside_db_before),
        doubts=(*kept.doubts, *_faint(kept, certain), *filter(None, [convention, INVERTED if inverted else ""])),
        original=kept.record.original,
        edited=kept.record.edited,
        mask=None if third is None else KeptImage(name=third.name, fingerprint=third.fingerprint),
        passed=False, verdict="", next_step="", reasons=(), also=(),
    )  # fmt: skip
    places = [None if one is None else one.path for one in (first, second, third)]
    report = _judged(report, places, expect_size=expect_size, some=not certain[1:].all(), inverted=inverted)
    return CheckResult(report=report, kept=kept, edit=edit, other=other, allowed=allowed)


def _certain(kept: KeepResult) -> NDArray[np.bool_]:
    """Which changes, by number, are more than noise. Of those less than twice as strong, the share must be certain."""
    change = kept.detected
    if change is None:
        return np.zeros(1, dtype=bool)
    certain = change.contrasts >= _CERTAIN
    for number in np.flatnonzero(certain & (change.contrasts < 2 * _CERTAIN)):
        opacity = cv2.resize(change.mask * (change.numbers == number), kept.original.size)
        share = _share(opacity > _OPAQUE, (opacity > _VISIBLE) & (opacity <= _OPAQUE), kept)
        certain[number] = share.value > share.uncertainty
    return certain


def _found(kept: KeepResult, certain: NDArray[np.bool_]) -> Found:
    change = kept.detected
    if kept.verdict == "different images":
        return "different images"
    if change is None or is_redrawn(change):
        return "whole image"
    if kept.verdict.startswith("reframed"):
        return "reframed"
    if float((change.mask * certain[change.numbers]).mean()) >= change.least_share:
        return "local change"
    if kept.verdict.startswith("global"):
        return "all colors"
    return "faint change" if float(change.mask.mean()) >= change.least_share else "nothing"


def _faint(kept: KeepResult, certain: NDArray[np.bool_]) -> tuple[str, ...]:
    """A doubt on the changes that are not counted, if there are any."""
    count = len(certain) - 1 - int(certain.sum())
    text = f"{count} faint difference{'s' if count > 1 else ''} not counted: noise elsewhere is about as strong"
    return (text,) if count and kept.verdict in ("kept", "nothing found") else ()


def _noise(kept: KeepResult) -> int:
    """What uncertainties are multiplied by: 0 if all that was not changed is the same bit for bit, otherwise 1."""
    return 0 if kept.least_px == 0 else 1


def _edge_px(kept: KeepResult) -> float:
    """Uncertainty of an outline in the original's pixels."""
    step = 1.0 if kept.detected is None else max(kept.original.size) / max(kept.detected.mask.shape)
    return _noise(kept) * _EDGE_PX * max(step, 1.0) + kept.uncertainty_px


def _share(mask: Mask, faint: Mask, kept: KeepResult) -> Measure:
    """Share of the pixels; it is as uncertain as the outline, and as what is too faint to be counted."""
    width = 2 * math.ceil(_edge_px(kept)) + 1
    band = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((width, width), np.uint8)).mean() / 2
    off = _OUTLINE_FACTOR * float(band) + float(faint.mean())
    return Measure(value=float(mask.mean()), uncertainty=0.0 if mask.all() else _noise(kept) * max(off, _LEAST_SHARE))


def _alignment(kept: KeepResult) -> dict[str, Any]:
    """Frame and colors, each with its uncertainty."""
    if kept.detected is None:
        return dict.fromkeys(_ALIGNMENT)
    off, cast = max(kept.uncertainty_px, _LEAST_PX), _CAST_FACTOR * kept.detected.tones.cast_uncertainty
    spread = off / (_MEAN_RADIUS * min(kept.original.size))
    values = (*kept.shift_px, kept.zoom, kept.rotation_degrees, kept.cast)
    errors = (off, off, spread, math.degrees(spread), max(cast, _LEAST_CAST))
    pairs = zip(_ALIGNMENT, values, errors, strict=True)
    return {name: Measure(value=value, uncertainty=_noise(kept) * float(error)) for name, value, error in pairs}


def _judged(report: Report, places: Sequence[Path | None], *, expect_size: bool, some: bool, inverted: bool) -> Report:
    """The report with its verdict, its reasons and the next step; with ``some``, not all changes are certain."""
    limit, outside, found = report.max_outside, report.outside, report.found
    within, where = ("", "elsewhere") if report.mask is None else (" inside the mask", "outside the mask")
    sizes = " instead of ".join(f"{width}x{height}" for width, height in (report.edited_size, report.size))
    cast = "" if report.cast is None else f"all colors changed by {report.cast.text(1)} of 255 levels"
    reasons: dict[Reason, str] = {}
    if found in ("whole image", "all colors"):
        verdict = cast if found == "all colors" else "the whole image changed"
        reasons = {} if limit == 1 else {"whole image": verdict}
    elif found in ("reframed", "different images"):
        different = "the images cannot be aligned: they show different things or views"
        verdict = "the image was only reframed" if found == "reframed" else different
        reasons[found] = verdict
    else:
        verdict = f"{report.inside.text(2, 100)} % of the image changed{within}"
        if found == "faint change":
            reasons["unsure"] = "what differs is no stronger than the noise elsewhere"
            limit = None
        elif report.inside.value < NOTHING * bool(report.least_px) or not report.inside.value:
            least = f"nothing larger than {report.least_px} px" if report.least_px else "no pixel"
            reasons["no edit"] = f"{least} changed{within}" if within or report.least_px else "the images are identical"
        if limit is not None and outside.value > limit:
            reasons["changed outside"] = f"{outside.text(2, 100)} % changed {where}, where {100 * limit:g} % may"
    if expect_size and report.size != report.edited_size:
        reasons["size"] = f"the size is {sizes}"
    near = limit is not None and found == "local change" and abs(outside.value - limit) < outside.uncertainty
    also = _also(report, where, sizes, cast)
    names = (name if place is None else shlex.quote(str(place)) for name, place in zip(_NAMES, places, strict=True))
    original, edited, mask = names
    keep_all = f"latentedit keep {original} {edited}"
    first = report.regions[0].number if report.regions else 1
    keep_some = f"{keep_all} --only {first}" if report.mask is None else f"{keep_all} --mask {mask}"
    if some and report.regions:
        keep_all += f" --only {','.join(str(region.number) for region in report.regions)}"
    step = next(iter(reasons), "also" if also else "passed")
    if step == "whole image" and report.mask is not None:
        step = "changed outside"
    step = "inverted" if inverted else step
    return dataclasses.replace(
        report,
        passed=not reasons,
        verdict="; ".join(reasons.values()) or verdict,
        reasons=tuple(reasons),
        also=also,
        doubts=(*report.doubts, *[f"what changed {where} is too close to the limit to be certain"][: int(near)]),
        next_step=_STEPS[step].format(keep_all=keep_all, keep_some=keep_some),
    )


def _also(report: Report, where: str, sizes: str, cast: str) -> tuple[str, ...]:
    """What else changed, as far as it can be seen and is certain."""
    also: dict[str, bool] = {}
    right, down, zoom, turn, tint = (getattr(report, name) for name in _ALIGNMENT)
    if report.cast is not None:
        shift, off = math.hypot(right.value, down.value), right.uncertainty
        also[f"moved by {right.value:+.2f}, {down.value:+.2f} ± {off:.2f} px"] = shift > max(_UNSEEN["shift"], off)
        also[f"zoomed by {zoom.text(4)}"] = abs(zoom.value - 1) > max(_UNSEEN["zoom"], zoom.uncertainty)
        also[f"turned by {turn.text()} degrees"] = abs(turn.value) > max(_UNSEEN["turn"], turn.uncertainty)
        also[cast] = tint.value > max(_UNSEEN["cast"], tint.uncertainty) and report.found != "all colors"
    also |= dict.fromkeys(transparency_lines(report.became_transparent, report.became_opaque), True)
    also[f"size {sizes}"] = report.size != report.edited_size
    others = sum(region.outside > region.share / 2 for region in report.regions)
    spread = f"{others} more place{'s' if others > 1 else ''}"
    also[f"{report.outside.text(2, 100)} % of the image {where}, in {spread}"] = (
        others > 0 and report.outside.value > report.outside.uncertainty
    )
    return tuple(text for text, holds in also.items() if holds)


def _outline(pixels: NDArray[np.uint8], mask: Mask, color: tuple[int, int, int]) -> None:
    """Draw the outline of a mask of any size."""
    small = cv2.resize(mask.astype(np.uint8), pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    outlines, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(pixels, outlines, -1, color, 2)
