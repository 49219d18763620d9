"""Copy only an editor's change onto the original's own pixels. Needs OpenCV; neither a model nor torch."""

import dataclasses
import importlib.metadata
import inspect
import itertools
import json
import math
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import ExifTags, Image

from latentedit.core.console import Progress, Tick, Ticks, nothing
from latentedit.core.errors import ConfigError, FileFormatError, Hinted, OutputError, explaining
from latentedit.core.files import (
    Encoded,
    atomic_file,
    check_format,
    check_no_input,
    read_object,
    user_path,
)
from latentedit.core.strengths import read_strength
from latentedit.keeping.rounds import Chain
from latentedit.photo.color import Pixels, levels
from latentedit.photo.images import HasImage, ImageInput, PixelImage, TensorLike, read_pixels
from latentedit.photo.layers import MASKS, check_ending, save_layers
from latentedit.photo.parts import MetadataReport
from latentedit.photo.provenance import Declaration, Role, marked
from latentedit.photo.saving import LOSSY, WRITABLE, format_of, keeps_alpha, save_image
from latentedit.photo.warp import Array, Box, Matrix, cv2
from latentedit.pixels.analysis import Analysis, SeparateChange, analyze
from latentedit.pixels.change import LITTLE_LEFT, LOCAL, OPAQUE, UNSURE_PX, DetectedChange, Found
from latentedit.pixels.differing import agreement_db, difference, differing, transparency_changed
from latentedit.pixels.finding import OUTSIDE
from latentedit.pixels.masks import SEEN, looks_inverted, mask_of, opaque_bounds, read_boxes
from latentedit.pixels.verdict import EXTENDED
from latentedit.viewer.view import View, ViewerFrame

FORMAT = 4  # version of the records
ImageLike = ImageInput | PixelImage  # or the result of `read_pixels`
Boxes = Sequence[int] | Sequence[Sequence[int]] | Sequence[str]  # x, y, width, height of each, or as text
_STEPS = "aligned, compared, put back"
_STRENGTHS = "Give 1 for the full change, 0 for the original"
_TICKS = 20  # steps of a usual pair
_ENLARGED = 1.1  # times, from which on a change is called so: less cannot be seen
_MANY = 20  # separate changes from which a doubt is reported
SMALLER = "what is smaller or fainter was not kept"
INVERTED = "everything that changed lies outside the mask or the box: it may be inverted, or misplaced"
_MEASURED_PIXELS = 500_000  # agreement is measured on a regular grid of about this many pixels


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeptImage:
    """Name of an image without its folder, and fingerprint of its pixels."""

    name: str
    fingerprint: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeepRecord:
    """Everything that is needed to repeat a `keep` on the same images. Contains neither paths nor dates."""

    original: KeptImage
    between: tuple[KeptImage, ...] = ()  # the edits before the last one, if each was made from the one before
    edited: KeptImage
    mask: KeptImage | None = None
    box: tuple[Box, ...] | None = None  # x, y, width and height of each, instead of a mask
    strength: float
    only: tuple[int, ...] | None = None  # numbers of the changes that were kept; None for all
    ai: bool = False  # whether AI took part: so one of the files declares, or so it was said
    found: Found
    recolored: bool  # whether all colors changed as if that was the request
    versions: dict[str, str]  # versions of latentedit, OpenCV, NumPy and Python

    def to_json(self) -> str:
        """One line; equal records give equal text. "output" distinguishes it from the records of edits."""
        fields = {"format": FORMAT, "output": "kept", **dataclasses.asdict(self)}
        return json.dumps(fields, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, name: str) -> "KeepRecord":
        """Read the output of `to_json`; raises a `FileFormatError` for anything else."""
        why = f"{name} contains no record of latentedit keep. Pass a PNG written by latentedit keep"
        try:
            fields = read_object(text)
        except (ValueError, RecursionError) as error:
            raise FileFormatError(why) from error
        check_format(fields, f"the record in {name}", FORMAT)
        try:
            given: dict[str, Any] = {key: fields[key] for key in fields.keys() - {"format", "output"}}
            given |= {key: given[key] and KeptImage(**given[key]) for key in ("original", "edited", "mask")}
            given["between"] = tuple(KeptImage(**one) for one in given["between"])
            given["only"] = given["only"] and tuple(int(number) for number in given["only"])
            given["box"] = None if given["box"] is None else read_boxes(given["box"])
            given |= {"strength": float(given["strength"]), "versions": dict(given["versions"])}
            record = cls(**given)
            images = [one for one in (record.original, *record.between, record.edited, record.mask) if one is not None]
            texts: list[object] = [record.found, *record.versions.values()]
            texts += [text for image in images for text in (image.name, image.fingerprint)]
            if json.loads(record.to_json()) != fields or not all(isinstance(text, str) for text in texts):
                raise ValueError("it has unknown fields")
        except (ConfigError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FileFormatError(why) from error
        return record


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeepResult(Hinted):
    """The original with nothing but the change.

    Args:
        original: the original at its full bit depth.
        given: the editor's image as it was given.
        analysis: frame, colors and detected change of the pair, which `check` reuses.
        kept: the result, with the original's size, bit depth, alpha channel, profile and EXIF.
        mask: opacity of the edited image in the result, 8-bit gray of the original's size.
        changed_share: share of the original's pixels whose content was taken from the edit, as `check` states it: what
            fades, and a seam that was moved to where both images agree, is not counted.
        became_transparent: share of the pixels whose alpha fell by a tenth or more.
        became_opaque: share of those whose alpha rose.
        outside_db_before: PSNR of the editor's image against the original outside the mask.
        outside_db_after: the same of the result; infinite where it is identical.
        doubts: what is uncertain, one clause each.
        record: what is needed to repeat it.
        rounds: what was found in each of several edits in a row; None of a single edit.
    """

    original: PixelImage
    given: PixelImage
    analysis: Analysis
    kept: PixelImage
    mask: Image.Image
    changed_share: float
    became_transparent: float
    became_opaque: float
    outside_db_before: float
    outside_db_after: float
    doubts: tuple[str, ...]
    record: KeepRecord
    rounds: Chain | None = None

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """For NumPy and Pillow: that of the image."""
        return self.image.__array_interface__

    def __repr__(self) -> str:
        return f"<KeepResult {self.original.name[-40:]!r}: {self.verdict}, {100 * self.changed_share:.2f} % changed>"

    @property
    def image(self) -> Image.Image:
        """The result as an 8-bit Pillow image; ``kept.pixels`` has all bits."""
        return self.kept.image

    @property
    def edited(self) -> PixelImage:
        """The editor's image, upright."""
        return self.analysis.upright if self.analysis.turned else self.given

    @property
    def found(self) -> Found:
        """The verdict on the content."""
        return self.analysis.found

    @property
    def recolored(self) -> bool:
        """Whether all colors changed as if that was the request, whatever happened to the content."""
        return self.analysis.recolored

    @property
    def verdict(self) -> str:
        """Both verdicts, in words."""
        if self.detected is not None and self.detected.light_alone is not None:
            return "only the light changed"
        content = "" if self.recolored and self.found in ("identical", "nothing") else self.found
        return "; ".join(filter(None, ("all colors changed" if self.recolored else "", content)))

    @property
    def detected(self) -> DetectedChange | None:
        """All that was detected, at the working size; None if the images could not be compared."""
        return self.analysis.change

    @property
    def differs(self) -> bool:
        """Whether any pixel of the result is another one than the original's."""
        return bool(difference(self.original.pixels, self.kept.pixels).any())

    @property
    def changes(self) -> tuple[SeparateChange, ...]:
        """The separate changes, the largest first; those that are too faint to be kept by default come last."""
        return self.analysis.changes

    @property
    def changes_left_out(self) -> tuple[int, ...]:
        """Numbers of the separate changes of which nothing is in the result, by ``only`` or by the mask."""
        if self.detected is None or not self.changes:
            return ()
        numbers = self.analysis.full(self.detected.numbers, labels=True)
        counts = np.bincount(numbers[np.asarray(self.mask) > 0], minlength=1 + len(self.changes))
        return tuple(change.number for change in self.changes if not counts[change.number])

    @property
    def matrix(self) -> Matrix:
        """3 x 3, from centers of the original's pixels to those of the editor's image."""
        return self.analysis.registration.matrix @ self.analysis.offset

    @property
    def shift_px(self) -> tuple[float, float]:
        """How far the editor moved the center of what it shows to the right and down, in the original's pixels."""
        return self.analysis.registration.shift_px

    @property
    def zoom(self) -> float:
        """Magnification beyond the change of size."""
        return self.analysis.registration.zoom

    @property
    def enlarged(self) -> float:
        """How many pixels of the original, across, a pixel of the editor's image covers; 1 if it is not enlarged."""
        return max(1.0, 1 / math.sqrt(abs(np.linalg.det(self.matrix[:2, :2]))))

    @property
    def whole(self) -> "KeepResult":
        """The result without mask, at strength 1 and with all changes, from the same analysis."""
        record = self.record
        if record.mask is None and record.box is None and record.only is None and record.strength == 1:
            return self
        return self.composed()

    def composed(
        self,
        *,
        mask: ImageLike | None = None,
        box: Boxes | None = None,
        strength: float = 1.0,
        only: Sequence[int] | None = None,
    ) -> "KeepResult":
        """The result that `keep` returns with these settings, from the same analysis: in less than a second."""
        strength = read_strength(strength, examples=_STRENGTHS, least=0, most=1)
        check_only(only)
        request = _Request.of(self.original, mask, box, strength=strength, only=only, ai=self.record.ai)
        return _composed(self.original, self.given, self.analysis.unmasked, request, nothing, self.rounds)

    @property
    def measures(self) -> dict[str, Any]:
        """Verdicts and measurements as plain values.

        "crop" has left, top, right and bottom of the part of the original that the edited image shows, None for all of
        it; shift, zoom and clockwise rotation are those within that part. "turned" names in words how the image was
        turned or mirrored beyond that. "uncertainty_px" is the likely error of the alignment, "cast" the mean change of
        all colors that was undone, in levels of 255, "enlarged" how many pixels across one of the edited image became,
        and "least_px" the side of the smallest change that is found for certain: 0 if all else is identical, None if
        unknown. After several edits in a row, frame and colors are those of the last one.
        """
        analysis, frame = self.analysis, self.analysis.registration
        others = ("changes", "changes_left_out", "outside_db_before", "outside_db_after", "doubts", "declares")
        return {
            "found": self.found, "recolored": self.recolored, "verdict": self.verdict, "crop": analysis.box,
            "shift_px": frame.shift_px, "zoom": frame.zoom, "rotation_degrees": frame.rotation_degrees,
            "turned": analysis.turned,
            "uncertainty_px": frame.uncertainty_px, "cast": analysis.cast, "enlarged": self.enlarged,
            "changed_share": self.changed_share, "became_transparent": self.became_transparent,
            "became_opaque": self.became_opaque, "least_px": analysis.least_px,
            **{name: getattr(self, name) for name in others},
            **({} if self.rounds is None else self.rounds.measured),
        }  # fmt: skip

    @property
    def declares(self) -> dict[Role, Declaration | None]:
        """The statements of both images' files on their own making; nothing of it is verified."""
        return {"original": self.original.carried.declares, "edited": self.given.carried.declares}

    def save(self, path: str | Path, *, overwrite: bool = False) -> MetadataReport:
        """Write the result, or raise an `OutputError`; a PNG carries the record. In a JPEG, new holes are white.
        Of images that cannot be aligned, the result is the original, with a warning.

        ``overwrite`` also replaces the original or the edited image; other files are always replaced.

        Returns what became of all that the original's file holds beside its pixels, by comparing the inventories of
        both files; what is left out is also a warning. A JPEG's HDR gain map is carried, with no boost in the change.
        """
        self._check_place(path, overwrite)
        if self.found == "different images":
            warnings.warn(f"the images cannot be aligned: {Path(path).name} is the original", stacklevel=2)
        kept = self.kept
        if kept.pixels.shape[2] > self.original.pixels.shape[2] and not keeps_alpha(path):
            lines = ", ".join(alpha_lines(self.became_transparent, 0))
            warnings.warn(f"{lines}, which {Path(path).name} cannot keep: it is white there. Use .png", stacklevel=2)
            kept = dataclasses.replace(kept, pixels=np.rint(levels(kept.pixels)).astype(np.uint8))
        gain_map = kept.carried.gain_map
        if gain_map is not None and format_of(path) == "JPEG":
            gain_map = gain_map.around(np.asarray(self.mask) / np.float32(255), kept.carried.turn)
        if format_of(path) == "BMP" and self.record.ai and self.differs:
            warnings.warn(f"{Path(path).name} does not say that AI took part: BMP has no XMP. Use .png", stacklevel=2)
        return save_image(kept, path, record=self.record.to_json(), gain_map=gain_map)

    def _check_place(self, path: str | Path, overwrite: bool) -> None:
        if not overwrite:
            between = () if self.rounds is None else (path for *_, path in self.rounds.sources)
            check_no_input(user_path(path, error=OutputError), (self.original.path, *between, self.edited.path))

    def save_mask(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write ``mask`` as an 8-bit gray PNG, TIFF or BMP, or raise an `OutputError`; ``overwrite`` as for `save`."""
        ending = check_ending(path, MASKS)
        self._check_place(path, overwrite)
        with atomic_file(path) as file:
            self.mask.save(file, format=WRITABLE[ending])

    def save_layers(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the change as a layer that composes over the original to the result, for other programs.

        Args:
            path: .png for the layer alone, in the original's frame; .ora (OpenRaster) or .tif (for Photoshop and
                Affinity) for the original and the layer, with the result as the image that other programs show.
            overwrite: as for `save`.

        Raises:
            OutputError: another ending, a file that cannot be written, or a change that no layer on top can make: one
                to less alpha, or of what is partly transparent.
            MissingDependencyError: .tif without the extra ``latentedit[layers]``.
        """
        self._check_place(path, overwrite)
        base, kept = dataclasses.replace(self.original, pixels=self.analysis.original.pixels), self.kept
        if base.pixels.shape[2] == 3 and self.original.alpha is not None:  # alpha is a mask, which hides no colors
            kept = dataclasses.replace(kept, pixels=kept.pixels[..., :3])
        save_layers(path, base, kept, np.asarray(self.mask) * np.float32(self.record.strength / 255))

    def as_written(self, path: str | Path) -> "KeepResult":
        """The result as `save` wrote it to a file: JPEG and AVIF change all pixels a little."""
        if format_of(path) not in LOSSY:
            return self
        written = read_pixels(path)
        agreement = agreement_db(written, self.original, np.asarray(self.mask) == 0)
        return dataclasses.replace(self, kept=written, outside_db_after=agreement)

    def view(self) -> View:
        """A page that compares original, edited image and result."""
        source = self.original.image
        edited = self.edited.image.convert(source.mode).resize(source.size, Image.Resampling.LANCZOS)
        lines = (*self.lines, *self.doubts)
        others, name = {"edited": edited, "mask": self.mask.convert(source.mode)}, self.original.name or "image"
        frames = [ViewerFrame(strength=1.0, image=self.image, verdict=self.verdict, lines=lines)]
        chosen = [change for change in self.changes if self.record.only is None or change.number in self.record.only]
        marks = [(change.number, change.box) for change in chosen if len(self.changes) > 1]
        return View(
            source=source, frames=frames, title=name, name=Path(name).stem, others=others, label="kept", marks=marks
        )

    @property
    def undone(self) -> tuple[str, ...]:
        """Sentences on what the editor did to frame and colors; all of it is undone but intended colors."""
        crop, cast, degrees = self.analysis.box, self.analysis.cast, self.analysis.registration.rotation_degrees
        (right, down), (off, spread, tint) = self.shift_px, self.analysis.uncertainties
        colors = f"colors changed by {cast:.1f} of 255 levels on average"
        if self.recolored and self.record.only is None:
            colors = f"all {colors}, and were kept"
        elif cast < max(0.1, tint):
            colors = ""
        frame = {
            f"moved by {right:+.2f}, {down:+.2f} px": math.hypot(right, down) >= max(0.01, off),
            f"zoom {self.zoom:.4f}": abs(self.zoom - 1) >= max(0.0001, spread),
            f"turned {degrees:+.2f} degrees": abs(degrees) >= max(0.01, math.degrees(spread)),
        }
        lines = (
            "" if crop is None else "the edited image is a crop from {},{} to {},{}".format(*crop),
            ", ".join(text for text, happened in frame.items() if happened),
            colors,
        )
        return tuple(filter(None, lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """The measurements in words, without what did not happen."""
        if self.found in ("identical", "different images"):
            return ()
        both = self.outside_db_before, self.outside_db_after
        before, after = (f"{db:.1f} dB" if math.isfinite(db) else "identical to the original" for db in both)
        kind, count = format_of(self.kept.path or "") or "JPEG", sum(not change.faint for change in self.changes)
        remedy = f" ({kind}; write .png to keep it identical)" if math.isfinite(self.outside_db_after) else ""
        least = self.mask.getextrema()[0]
        rest = f"everything else: {after}{remedy}; in the editor's image: {before}"
        coarse = "the change comes from {} x {}, enlarged {:.1f} times".format(*self.given.size, self.enlarged)
        return (
            *(self.undone if self.rounds is None else self.rounds.lines),
            f"{100 * self.changed_share:.2f} % of the image changed; separate changes: {count}",
            *([coarse] if self.changed_share and self.enlarged >= _ENLARGED else []),
            *alpha_lines(self.became_transparent, self.became_opaque),
            *([rest] if least == 0 else ["nothing of the original's pixels is left"] if least == 255 else []),
        )

    def _repr_html_(self) -> str:
        return self.view().iframe


@explaining
def keep(
    original: ImageLike,
    edited: ImageLike,
    *,
    between: Sequence[ImageLike] = (),
    mask: ImageLike | None = None,
    box: Boxes | None = None,
    strength: float = 1.0,
    only: Sequence[int] | None = None,
    ai: bool = False,
    progress: Progress | None = None,
) -> KeepResult:
    """Put an editor's change on the original's own pixels; every other pixel stays identical, bit for bit.

    The edited image is aligned to the original in geometry and color, and the change is detected. A change of the
    whole image is kept as such: aligned to the original's frame, in the editor's colors.

    Args:
        original: 8 or 16 bits.
        edited: the output of any editor, of any size.
        between: the edits before it, in order, if each was made from the one before. The change of each is then found
            beside the edit before, and put on the original; a change's number is that of its round, if all rounds
            changed something. An edit that cannot be aligned is left out, one that redrew or recolored the whole image
            is taken whole, and the doubts name both.
        mask: white where a change may be kept, or painted in one color; of the original's shape, in any size. Inside,
            all that can be seen is kept, also what is no stronger than the noise elsewhere. Where the edge cuts through
            a change, it fades inwards.
        box: the same as x, y, width and height in the original's pixels, or several such boxes; instead of a mask.
        strength: 0 is the original, bit for bit; 1 the full change.
        only: numbers of the separate changes to keep; by default all but the faint ones, which come last.
        ai: that AI made the change. The result says so in its XMP, if it differs from the original at all; it also
            does if one of the two files declares that AI took part.

    Raises:
        ImageError: a file is not an image, or the mask does not fit the original.
        ConfigError: the strength is outside [0, 1], a number in ``only`` does not exist, or a box is outside the image.

    Cost:
        1 to 8 s on one core, twice that for each of several edits, and about 40 bytes a pixel.
    """
    strength = read_strength(strength, examples=_STRENGTHS, least=0, most=1)
    check_only(only)  # before any work
    if not isinstance(between, (list, tuple)):
        raise ConfigError(f"between takes a list of images, in order; got {between!r:.80}. Give a list, also of one")
    original, edited = read_pixels(original, "the original"), read_pixels(edited, "the edited image")
    if between:
        return _in_a_row(original, between, edited, progress, mask=mask, box=box, strength=strength, only=only, ai=ai)
    request = _Request.of(original, mask, box, strength=strength, only=only, ai=ai)
    tick = Ticks(progress, _STEPS, _TICKS)
    result = _composed(original, edited, analyze(original, edited, tick), request, tick)
    tick.finish()
    return result


def _in_a_row(
    original: PixelImage,
    between: Sequence[ImageLike],
    edited: PixelImage,
    progress: Progress | None,
    *,
    mask: ImageLike | None,
    box: Boxes | None,
    ai: bool,
    **options: Any,
) -> KeepResult:
    edits = [*(read_pixels(one, f"edit {number}") for number, one in enumerate(between, 1)), edited]
    ai = ai or any(one.carried.declares_ai for one in edits)
    request, chain = _Request.of(original, mask, box, ai=ai, **options), Chain(original, keep)
    for edit in edits:
        chain.follow(edit, progress=progress, of=len(edits))
    return _composed(original, edited, chain.analysis(), request, nothing, chain)


def check_only(only: Any) -> None:
    """Raise a `ConfigError` for what is no list of numbers of changes, each once."""
    if only is None:
        return
    if not (isinstance(only, Sequence) and all(isinstance(number, Integral) for number in only)):
        raise ConfigError(f"only takes a list of the numbers of changes, such as [1, 3]; got {only!r:.80}")
    if len(set(only)) < len(only):
        raise ConfigError("only names a change more than once. Pass each number once, such as [1, 3]")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Request:
    """The part of a change that is to be kept."""

    mask: PixelImage | None  # the given mask, or one made from the boxes
    allowed: Array | None  # the mask's bounds on the opacity, at the original's size
    convention: str  # sentence on an unusual convention of the mask; empty for the usual one
    box: tuple[Box, ...] | None
    strength: float
    only: tuple[int, ...] | None
    ai: bool

    @classmethod
    def of(
        cls, original: PixelImage, mask: ImageLike | None, box: Boxes | None, *, strength: float, only: Any, ai: bool
    ) -> "_Request":
        """The request with its mask read, or an error for mask or boxes; the numbers are checked already."""
        limit, boxes = limits_of(mask, box, original.size)
        allowed, convention = (None, "") if limit is None else opaque_bounds(limit, original.size)
        numbers = None if only is None else tuple(only)
        return cls(
            mask=limit, allowed=allowed, convention=convention, box=boxes, strength=strength, only=numbers, ai=ai
        )


def limits_of(
    mask: ImageLike | None, box: Boxes | None, size: tuple[int, int]
) -> tuple[PixelImage | None, tuple[Box, ...] | None]:
    """The mask that was given or is made from boxes, and the boxes."""
    if mask is not None and box is not None:
        raise ConfigError("both a mask and a box say where. Pass one of the two")
    if box is not None:
        boxes = read_boxes(box)
        return mask_of(boxes, size), boxes
    return None if mask is None else read_pixels(mask, "the mask"), None


def _composed(
    original: PixelImage,
    given: PixelImage,
    analysis: Analysis,
    request: _Request,
    tick: Tick,
    rounds: Chain | None = None,
) -> KeepResult:
    """Put the change on the original, and measure the result."""
    if request.only is not None:
        analysis = analysis.in_parts
    elif request.allowed is not None:
        analysis = analysis.within(request.allowed > 0)
    opacity, content, change = analysis.to_keep(request.only)
    stated, strength = None, request.strength
    if request.allowed is not None:
        stated = request.convention, looks_inverted(opacity > 0.5, request.allowed > 0)
        bounds = analysis.faded(request.allowed, opacity, change, strength=strength)
        opacity, content = opacity * bounds, content * bounds
    changed_share = float((content > OPAQUE).mean() * (strength > 0))
    del content  # large
    pixels = analysis.composed(opacity, change, strength=strength, tick=tick)
    kept = dataclasses.replace(original, pixels=_with_alpha(pixels, original, analysis.original.pixels))
    differs = differing(original.pixels, kept.pixels, opacity)
    ai = request.ai or original.carried.declares_ai or given.carried.declares_ai
    carried = dataclasses.replace(original.carried, declares=None)
    if ai and differs.any():
        carried = dataclasses.replace(carried, xmp=marked(carried.xmp))
    kept = dataclasses.replace(kept, carried=carried)
    outside, mask = opacity <= SEEN, Image.fromarray(cv2.convertScaleAbs(opacity, alpha=255.0))
    del opacity
    shown = dataclasses.replace(original, pixels=original.pixels[analysis.window])
    clear, opaque = transparency_changed(original, kept)
    return KeepResult(
        original=original,
        given=given,
        analysis=analysis,
        kept=kept,
        mask=mask,
        changed_share=changed_share,
        became_transparent=clear,
        became_opaque=opaque,
        outside_db_before=agreement_db(analysis.upright, shown, outside[analysis.window]),
        outside_db_after=agreement_db(kept, original, outside) if (outside & differs).any() else math.inf,
        doubts=(*doubts_of(original, given, analysis, stated, request.only), *(rounds.doubt_lines if rounds else ())),
        record=_record_of(original, given, analysis, request, ai=ai, rounds=rounds),
        rounds=rounds,
    )


def _record_of(
    original: PixelImage, given: PixelImage, analysis: Analysis, request: _Request, *, ai: bool, rounds: Chain | None
) -> KeepRecord:
    mask = None if request.box else request.mask
    versions = {name: importlib.metadata.version(name) for name in ("latentedit", "numpy")}
    before = [] if rounds is None else rounds.sources[:-1]
    return KeepRecord(
        original=KeptImage(name=original.name, fingerprint=original.fingerprint),
        between=tuple(KeptImage(name=name, fingerprint=fingerprint) for name, fingerprint, _ in before),
        edited=KeptImage(name=given.name, fingerprint=given.fingerprint),
        mask=None if mask is None else KeptImage(name=mask.name, fingerprint=mask.fingerprint), box=request.box,
        strength=float(request.strength), only=request.only, found=analysis.found,
        recolored=analysis.recolored, ai=ai,
        versions=versions | {"opencv": cv2.__version__, "python": platform.python_version()},
    )  # fmt: skip


def _with_alpha(pixels: Pixels, original: PixelImage, compared: Pixels) -> Pixels:
    """The result with the channels that it needs: a mask in the original's alpha stays, and new alpha if it is used."""
    if original.pixels.shape[2] == 3:
        return pixels[..., :3] if pixels.shape[2] == 3 or pixels[..., 3].min() == np.iinfo(pixels.dtype).max else pixels
    is_mask = compared.shape[2] == 3 and original.alpha is not None
    return np.dstack([pixels[..., :3], original.pixels[..., 3]]) if is_mask or pixels.shape[2] == 3 else pixels


def keep_again(
    record: KeepRecord,
    original: ImageLike,
    edited: ImageLike,
    *,
    between: Sequence[ImageLike] = (),
    mask: ImageLike | None = None,
    progress: Progress | None = None,
) -> KeepResult:
    """Repeat a `keep` from its record; raises a `ConfigError` for an image or mask that the record does not name."""
    original, edited = read_pixels(original, "the original"), read_pixels(edited, "the edited image")
    edits = [read_pixels(one, f"edit {number}") for number, one in enumerate(between, 1)]
    mask = None if mask is None else read_pixels(mask, "the mask")
    names = ["original", "edited image", "mask"]
    images, recorded = [original, edited, mask], [record.original, record.edited, record.mask]
    for number, pair in enumerate(itertools.zip_longest(edits, record.between), 1):
        names.append(f"edited image {number}")
        images.append(pair[0])
        recorded.append(pair[1])
    for name, given, before in zip(names, images, recorded, strict=True):
        if (given and given.fingerprint) != (before and before.fingerprint):
            used = f"it was {before.name or 'another'}" if before else "there was none"
            raise ConfigError(f"the {name} differs from the recorded one: {used}. Pass the one that was used")
    again: dict[str, Any] = {"strength": record.strength, "only": record.only, "ai": record.ai, "box": record.box}
    return keep(original, edited, between=edits, mask=mask, **again, progress=progress)


@explaining
def wrap_pipeline(pipe: Callable[..., Any], *, strength: float = 1.0) -> Callable[..., "KeepResult | list[KeepResult]"]:
    """Wrap a diffusers pipeline, or anything called like one, so that it changes only what was requested.

    Args:
        pipe: called with ``prompt`` and ``image``, with transparent parts on white. It returns an image or several: as
            ``images`` of an output or a dict, or first in a tuple, as diffusers does, or by themselves.
        strength: strength of the change that is kept.

    Returns:
        A function of an image, a prompt and the pipeline's own settings. It returns one `KeepResult`, or a list where
        the pipeline makes several images. Each declares that AI took part.

    Raises:
        ConfigError: a pipeline that takes or returns no image, or a strength outside [0, 1].

    Example:
        result = le.wrap_pipeline(pipe)("me.png", "give her a red hat", num_inference_steps=28)
    """
    takes = inspect.signature(pipe).parameters.values() if callable(pipe) else ()
    if not any(parameter.name == "image" or parameter.kind is parameter.VAR_KEYWORD for parameter in takes):
        raise ConfigError(f"{type(pipe).__name__} takes no `image`. Wrap a pipeline that edits images")

    strength = read_strength(strength, examples=_STRENGTHS, least=0, most=1)

    def edit(image: ImageLike, prompt: str = "", **settings: Any) -> KeepResult | list[KeepResult]:
        original = read_pixels(image)
        if settings.get("output_type") == "latent":  # before an edit is paid for
            raise ConfigError('output_type="latent" gives no image. Leave it out')
        shown = Image.fromarray(np.rint(original.levels).astype(np.uint8))
        output = pipe(prompt=prompt, image=shown, **settings)
        if not (edited := _images_of(output)):
            raise ConfigError(f"the pipeline returned no image, but a {type(output).__name__}: {output!r:.80}")
        results = [keep(original, version, strength=strength, ai=True) for version in edited]
        return results[0] if len(results) == 1 else results

    return edit


def _images_of(output: Any) -> list[Any]:
    """The images in what a pipeline or another function returned; what else it returned is left out."""
    if isinstance(output, Mapping):
        named = cast("Mapping[str, Any]", output)
        output = named.get("images", named.get("image"))
    output = getattr(output, "images", output)
    if isinstance(output, (list, tuple)) or getattr(output, "ndim", 0) > 3:
        found = list(itertools.chain(*(_images_of(one) for one in cast("Sequence[Any]", output))))
        return [one for one in found if not isinstance(one, str)] or found  # a text beside images names no file
    is_image = isinstance(output, str | Path | Encoded | Image.Image | np.ndarray | TensorLike | HasImage)
    return [output] if is_image or hasattr(output, "read") else []


def alpha_lines(transparent: float, opaque: float) -> tuple[str, ...]:
    """Sentences on what happened to alpha."""
    parts = {"transparent": transparent, "opaque": opaque}
    return tuple(f"{100 * share:.1f} % became {what}" for what, share in parts.items() if share)


def beyond_line(share: float, sides: Sequence[str]) -> str:
    """A clause on what the edited image shows beyond the original."""
    where = "on all sides" if len(sides) == 4 else " and ".join(sides)
    return f"{100 * share:.0f} % of the edited image lies beyond the original, {where}"


def _is_photograph(image: PixelImage) -> bool:
    """Whether its EXIF names a camera."""
    exif = Image.Exif()
    exif.load(image.carried.exif)
    return bool(exif.get(ExifTags.Base.Make) or exif.get(ExifTags.Base.Model))


def doubts_of(
    original: PixelImage,
    edited: PixelImage,
    analysis: Analysis,
    mask: tuple[str, bool] | None = None,
    only: Sequence[int] | None = None,
) -> tuple[str, ...]:
    """One clause for each doubt, with what a mask is by convention and whether it looks inverted."""
    same_profile = original.carried.colors.profile == edited.carried.colors.profile
    converted = not same_profile and (original.space or edited.space)
    convention, inverted = mask or ("", False)
    cut_out, alike = analysis.original.alpha is not None, analysis.found in (*LOCAL[:2], "identical", "nothing")
    alike = alike and not analysis.recolored
    is_mask, on_ground = original.alpha is not None and not cut_out, cut_out and edited.alpha is None and alike
    swapped = _is_photograph(edited) and not _is_photograph(original)
    is_whole = analysis.found == "redrawn" and mask is None and only is None
    alone = "its number, a box or a mask" if analysis.changes else "a box or a mask"
    doubts = {
        "the two images have different color spaces: the change was converted to the original's": converted,
        "the original's alpha channel holds a mask: it was kept, and the change put on the colors under it": is_mask,
        "the edited image has no transparency: its ground was taken off; "
        "use it as it is if a ground was requested": on_ground,
        f"the editor turned the image: {analysis.turned}; that was undone": bool(analysis.turned),
        "the edited image was taken by a camera and the original was not: are they swapped?": swapped,
        "the image is the editor's: nothing of the original was found in it, so nothing of it is left; "
        f"{alone} around what was requested keeps that alone": is_whole,
        convention: bool(convention),
        INVERTED: inverted,
    }
    beyond, sides = analysis.beyond
    if beyond > EXTENDED or (beyond and analysis.found == "reframed"):
        doubts[f"{beyond_line(beyond, sides)}: that was not kept"] = True
    if analysis.change is not None and not analysis.change.exact:
        doubts |= _doubts_of_alignment(analysis, analysis.change)
    notes = [note for image in (original, edited) for note in image.carried.notes]
    return (*notes, *(doubt for doubt, holds in doubts.items() if holds))


def _doubts_of_alignment(analysis: Analysis, change: DetectedChange) -> dict[str, bool]:
    """Possible doubts on a change that is not exact, and whether each holds."""
    off, out = change.registration.uncertainty_px, change.registration.outside_share
    is_local, rest = analysis.is_local, analysis.rest_line
    lit, shade = (0, 0.0) if change.light is None else (change.light.number, change.light.most)
    faint = [str(each.number) for each in analysis.changes if each.faint and is_local and each.number != lit]
    which = f"change{'s' * (len(faint) > 1)} {', '.join(faint)} {'are' if len(faint) > 1 else 'is'}"
    is_repainted = is_local and change.is_repainted
    little_left = is_local and change.unchanged_share < LITTLE_LEFT
    first = "; after several edits in a row, give the first original"
    return {
        f"the alignment is uncertain by {off:.1f} px": off > UNSURE_PX,
        f"{100 * out:.0f} % of the original is outside the edited image": out > OUTSIDE,
        f"only the colors changed, all by {analysis.cast:.0f} of 255 levels; keep undoes that": analysis.only_colors
        and not analysis.recolored,
        f"{analysis.nothing_line}; {SMALLER}": analysis.found == "nothing" and not (rest or analysis.recolored),
        "what changed is no stronger than the noise elsewhere": analysis.found == "faint change"
        and change.light_alone is None,
        f"{which} faint, and left out unless named: noise elsewhere is about as strong": bool(faint),
        f"{'only' if change.light_alone else 'also'} the light changed, by up to {shade:.0f} levels: that is change "
        f"{lit}, left out unless named": is_local and bool(lit),
        f"{change.count} separate changes: some may be damage by the editor": is_local and change.count > _MANY,
        "less than half of the image is unchanged, which makes colors and alignment less certain"
        f"{'' if is_repainted else first}": little_left,
        rest: bool(rest),
        f"the rest was redrawn, too, by {change.residual:.0f} levels on average, and is not kept; "
        f"use the edited image itself if all of it was requested{first}": is_repainted,
    }
