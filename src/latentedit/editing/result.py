"""The result of an edit: the image, what changed and what did not, its cost, and the record that makes it again."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, NoReturn, cast

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.cost import Cost
from latentedit.core.errors import ConfigError, Hinted, ModelError, OutputError, ShapeError, explaining
from latentedit.editing.answer import Wanted, answered
from latentedit.editing.outputs import OutputFile, declaring, json_file, write_together
from latentedit.editing.sheet import draw_sheet, draw_sweep
from latentedit.editors.base import StrengthResult
from latentedit.editors.judge import LEAST_KEPT, MOST_KEPT, Judge, Verdict
from latentedit.editors.moving import Moved
from latentedit.encoding.captions.base import AttributeReader, shortened
from latentedit.encoding.captions.change import change_words, changed_phrases, prompt_doubts, via_doubts
from latentedit.encoding.captions.completion import Completion
from latentedit.encoding.encode import captioner_for, text_notes
from latentedit.encoding.images import Box, Frame, SourceImage, strips
from latentedit.encoding.joint import Familiarity, JointLatent
from latentedit.encoding.record import RunRecord
from latentedit.identification.composition import merged
from latentedit.identification.locality import composed_change, dropped_residual
from latentedit.models.base import Backbone
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import per_element
from latentedit_keep.base.files import write_text
from latentedit_keep.photo.images import OF_IMAGES, read_image
from latentedit_keep.photo.saving import format_of, save_image
from latentedit_keep.undoing import undo_difference
from latentedit_keep.viewer.page import is_page
from latentedit_keep.viewer.view import View, ViewerFrame

_TRANSLUCENT = "off or on: nothing lies in between, so a part of the strength is a translucent overlay. Use 0 or 1"
_INHERITED = "the mask of the edit before still holds: nothing else changes. To change more, save the image and edit it"
_DIRECTION = "latentedit.identify(model, image, ...), which finds the direction"
_INSTEAD = {  # what people look for in a result
    **OF_IMAGES,
    **dict.fromkeys(("direction", "save_direction"), _DIRECTION),
    **dict.fromkeys(("prompt", "target"), "`target_caption`"),
    **dict.fromkeys(("sweep", "at", "with_strength"), "latentedit.sweep(model, image, ..., strengths=[0, 0.5, 1])"),
    **dict.fromkeys(("metrics", "report", "to_dict", "diff"), "`measures`, or latentedit.check(original, result)"),
    **dict.fromkeys(("original", "before"), "`source`"),
    "plot": "`show()`",
    "json": "`record.to_json()`",
    "keep": "latentedit.keep(original, result)",
    "check": "latentedit.check(original, result)",
    "view": "latentedit.view(result), an interactive page",
    "seed": "`record.seed`",
    "settings": "`record.recipe.settings`",
    "mask": "`mask` of latentedit.keep(original, result), where it changed",
}
MOST_UNDO_PIXELS = 600_000  # of images in a page with what `undo` needs, about a byte per pixel and strength
_TOO_FINE = "too weak or too fine for the image's pixels", "more strength"
CHANGED_LEVELS = 8  # a pixel counts as changed when a channel moves by more than this many of 255 levels


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Effect(Hinted):
    """The effect of an edit on an image, measured on 8-bit pixels at its own size.

    Args:
        changed_share: share of pixels of which a color channel moved by more than 8/255, in [0, 1].
        change_rms: root mean square of the change of those pixels, where white is 1; 0 where there are none.
        rest_psnr_db: PSNR of the other pixels in dB; infinite where they are identical, or where none is left.
        read_before: attribute to value as the model's reader sees the source; None where there is no reader.
        read_after: the same for the edited image; None, too, where a strength lies between 0 and 1, or 0 and -1.
    """

    changed_share: float
    change_rms: float
    rest_psnr_db: float
    read_before: Mapping[str, str] | None = None
    read_after: Mapping[str, str] | None = None

    @property
    def size_text(self) -> str:
        """Share of the pixels that changed, and by how much."""
        share, rms = 100 * self.changed_share, 100 * self.change_rms
        return f"{share:.1f} % of pixels changed by more than {CHANGED_LEVELS} levels, RMS change {rms:.0f} %"

    @property
    def rest_text(self) -> str:
        """Agreement of the other pixels."""
        if math.isinf(self.rest_psnr_db):
            return "every other pixel is unchanged"
        return f"rest of the image: {self.rest_psnr_db:.0f} dB PSNR"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditResult(Hinted):
    """One edited image.

    Args:
        image: the edited image, at the source's own size and mode.
        source: the image before.
        strength: of the edit.
        method: name of the editor.
        caption: source caption.
        target_caption: target caption; empty for a direction without words.
        verdict: how much of the change was made, as the model sees it.
        knowledge: how familiar the source is to the model; None where that was not checked, or without a calibrated
            guard.
        effect: what changed.
        cross_talk: between the directions that were applied together, ``[k, k]``; None for a single one.
        latent: the edited image in latent space, to go on from, or back.
        cost: network evaluations, seconds and memory.
        notes: warnings for the user.
        record: enough to make the result again.
        completion: how the captions were completed from the image; None if they were not.
    """

    image: Image.Image
    source: Image.Image
    strength: float
    method: str
    caption: str
    target_caption: str
    verdict: Verdict
    knowledge: Familiarity | None = None
    effect: Effect
    cross_talk: Float[Tensor, "k k"] | None
    latent: JointLatent
    cost: Cost
    notes: tuple[str, ...]
    record: RunRecord
    completion: Completion | None = None
    _instead: ClassVar[Mapping[str, str]] = _INSTEAD

    def __repr__(self) -> str:
        words = self.target_caption if self.record.instructed else change_words(self.caption, self.target_caption)
        change = f' "{shortened(words, 60)}"' if self.target_caption else ""
        strengths = ", ".join(f"{strength:.2f}" for strength in self.strengths)
        rest = "" if math.isinf(self.effect.rest_psnr_db) else f", {self.effect.rest_psnr_db:.0f} dB"
        spent = f", seed {self.record.seed}, {self.cost.evaluations:g} evaluations"
        return f"<EditResult {self.method} {strengths}{change}: {self.verdict.label}{rest}{spent}>"

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """For NumPy and Pillow: that of the image."""
        return self.image.__array_interface__

    @property
    def images(self) -> list[Image.Image]:
        """The edited image in a list, as diffusers' pipelines return it."""
        return [self.image]

    def __getitem__(self, index: object) -> NoReturn:
        raise ConfigError(f"this is the result of one image; got the index {index!r}. Take `.image`")

    def show(self) -> None:
        """Open the edited image in the system's viewer, or show it in a notebook."""
        self.image.show()

    def save(
        self,
        path: str | Path,
        *,
        sheet: str | Path | None = None,
        view: str | Path | None = None,
        overwrite: bool = False,
    ) -> tuple[Path, ...]:
        """Write the edited image and a JSON file next to it, and more; all of the files or none.

        Args:
            path: of the image; a PNG contains its record, and the data for `undo`. Its XMP declares that AI took part,
                if it differs from the source.
            sheet: optional file with source, edited image and difference side by side.
            view: optional HTML page that shows the edit in a browser (see `view`).
            overwrite: also where it replaces the image that was edited, or a reference; other files are replaced.

        Returns:
            The image, its JSON file (``NAME.json``, or ``NAME.jpg.json`` next to a ``NAME.png`` with one), then those
            of sheet and view.

        Raises:
            OutputError: a file that cannot be written, that is named twice, that is the image itself, or whose JSON
                file belongs to another program.
            ConfigError: more edits in the latent than a record holds.
        """
        text, payload, image = self.record.to_json(), self.undo_data, declaring(self.image, self.source)
        files: list[OutputFile] = [
            (Path(path), lambda file: save_image(image, file, record=text, payload=payload)),
            json_file(path, self.record, [self.measures]),
        ]
        if sheet is not None:
            files += self._sheet_files(sheet)
        if view is not None:
            files.append(_view_file([self], view))
        write_together(files, inputs=() if overwrite else self.inputs)
        return tuple(file for file, _ in files)

    def effect_in(self, path: str | Path) -> Effect:
        """The effect in the file that `save` wrote; JPEG changes every pixel a little.

        Raises:
            ImageError: the file is gone, or damaged.
        """
        before, after = self.effect.read_before, self.effect.read_after
        return dataclasses.replace(measure_effect(self.source, read_image(path)), read_before=before, read_after=after)

    def save_sheet(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write source, edited image and difference side by side, and a JSON file next to it; as `save`."""
        write_together(self._sheet_files(path), inputs=() if overwrite else self.inputs)

    @property
    def inputs(self) -> tuple[SourceImage, ...]:
        """The image that was edited, and its references."""
        return (self.latent.frames[0].image, *self.latent.references)

    def undo(self) -> Image.Image:
        """The image before; `latentedit.undo` gives the same from the file that `save` writes."""
        return self.source

    def detach(self) -> "EditResult":
        """The same result without the model, whose memory it no longer holds; a pickle has none either."""
        talk = self.cross_talk
        return dataclasses.replace(self, latent=self.latent.detach(), cross_talk=None if talk is None else talk.cpu())

    @property
    def undo_data(self) -> bytes:
        """The data in a PNG from which `latentedit.undo` restores the original."""
        return undo_difference(self.source, self.image)

    @property
    def strengths(self) -> tuple[float, ...]:
        """The strength of each direction where several were combined, otherwise that of the edit."""
        return _strengths(self.record, self.strength)

    @property
    def strength_text(self) -> str:
        """The strength, or those of several directions, in words."""
        listed = ", ".join(f"{strength:g}" for strength in self.strengths)
        return f"strength{'s' if len(self.strengths) > 1 else ''} {listed}"

    @property
    def read_changes(self) -> tuple[str, ...] | None:
        """The attributes in which the reader sees a difference, such as "accessory none -> glasses".

        None without a reader, and for a part of a change, which a classifier sees as all or nothing.
        """
        before, after = self.effect.read_before, self.effect.read_after
        if before is None or after is None:
            return None
        changed = {name: value for name, value in before.items() if value != after.get(name)}
        return tuple(f"{name.replace('_', ' ')} {value} -> {after[name]}" for name, value in changed.items())

    @property
    def measures(self) -> dict[str, Any]:
        """The measurements of one strength in the JSON file of an image."""
        names = ("strength", "verdict", "knowledge", "effect", "cost")
        completed = () if self.completion is None else self.completion.notes  # a replay completes no captions
        notes = [note for note in self.notes if note not in completed]
        return {name: getattr(self, name) for name in names} | {"notes": notes}

    def _repr_html_(self) -> str:
        """The edit in the viewer, for notebooks."""
        return view([self]).iframe

    def _sheet_files(self, path: str | Path) -> list[OutputFile]:
        record = self.record.model_copy(update={"output": "sheet"})
        change = ", ".join(changed_phrases(self.caption, self.target_caption)[1]) if self.target_caption else ""
        title = f"{record.image.name or 'image'}: {change or 'edit'}, {self.strength_text}"
        lines, text = (*self.caption_lines, f"{self.method}: {self.verdict.text}"), record.to_json()

        def write(file: Path) -> None:

            sheet = draw_sheet(self.source, self.image, title=title, lines=lines)
            save_image(declaring(sheet), file, record=text)

        return [(Path(path), write), json_file(path, record, [self.measures])]

    @property
    def caption_lines(self) -> tuple[str, ...]:
        """The captions as a sheet shows them; a direction without words has no target caption."""
        target = (f"to: {self.target_caption}",) if self.target_caption else ()
        return (f"from: {self.caption}", *target)


class SweepResult(Hinted, list[EditResult]):
    """The results of one image, one for each strength."""

    _instead: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("grid", "sheet", "to_gif", "plot", "gif"), "`save(path)`: .png is a sheet, .html a slider"),
        "results": "the sweep itself, a list of results",
        "view": "latentedit.view(sweep), an interactive page",
        "image": "`images`, or sweep[-1].image",
    }

    @property
    def images(self) -> list[Image.Image]:
        """The edited images."""
        return [result.image for result in self]

    @property
    def notes(self) -> tuple[str, ...]:
        """The warnings of all results, each once."""
        return tuple(dict.fromkeys(note for result in self for note in result.notes))

    @property
    def cost(self) -> Cost:
        """The cost of all results together, of which each has its share."""
        each = [dataclasses.asdict(result.cost) for result in self]
        sums: dict[str, Any] = {name: round(math.fsum(one[name] for one in each), 6) for name in each[0]}
        return Cost(**sums | {"peak_bytes": max(one["peak_bytes"] for one in each)})

    def __getitem__(self, index: Any) -> Any:
        """As of a list; not by strength, since every strength is an edit of its own."""
        return self.at(index) if isinstance(index, float) else list.__getitem__(self, index)

    def at(self, strength: float) -> NoReturn:
        """Refused: every strength is an edit of its own."""
        raise ConfigError(f"a sweep has its own strengths only. Call latentedit.sweep with strengths=[{strength:g}]")

    def show(self) -> None:
        """Open the sheet in the system's viewer, or show it in a notebook."""
        self._sheet().show()

    def save(self, path: str | Path, *, overwrite: bool = False) -> tuple[Path, ...]:
        """Write the images as a sheet, or as a page with a slider where the name ends in .html, and a JSON file.

        Args:
            path: of the sheet or page.
            overwrite: as in `EditResult.save`.

        Returns:
            Both files.

        Raises:
            OutputError: as `EditResult.save`.
        """
        if not is_page(path) and format_of(path) is None:
            raise OutputError(f"{Path(path).name!r} is neither page nor image. Use .html for a slider or .png")
        record = self[0].record.model_copy(
            update={"output": "sweep", "strengths": tuple(float(result.strength) for result in self)}
        )
        text = record.to_json()
        sheet = (Path(path), lambda file: save_image(declaring(self._sheet()), file, record=text))
        files = [
            _view_file(self, path) if is_page(path) else sheet,
            json_file(path, record, [result.measures for result in self]),
        ]
        write_together(files, inputs=() if overwrite else self[0].inputs)
        return tuple(file for file, _ in files)

    def _sheet(self) -> Image.Image:

        verdicts = [result.verdict.label if result.strength else "unchanged" for result in self]
        labels = [
            f"{result.strength:.2f}\n" + text.replace(" (", "\n(") for result, text in zip(self, verdicts, strict=True)
        ]
        title, lines = self[0].record.image.name or "image", self[0].caption_lines
        return draw_sweep(self.images, labels, title=title, lines=lines)

    def _repr_html_(self) -> str:
        """The slider, for notebooks."""
        return view(self).iframe


def _strengths(record: RunRecord, strength: float) -> tuple[float, ...]:
    several = tuple(strength * direction.strength for direction in record.directions)
    return several if len(several) > 1 else (strength,)


def _view_file(results: Sequence[EditResult], path: str | Path) -> OutputFile:
    page = view(results).html
    return Path(path), lambda file: write_text(file, page)


def measure_effect(source: Image.Image, edited: Image.Image) -> Effect:
    """Compare two images of one size in sRGB, as they are seen: transparent parts on white."""
    if source.size != edited.size:
        raise ShapeError(f"images of different sizes cannot be compared; got {source.size} and {edited.size}")
    seen = [SourceImage(image=image).on_white() for image in (source, edited)]
    count, change, rest = 0, 0, 0  # pixels that changed; squares of their changes, and of the others', in levels
    for strip in strips(source.size):
        before, after = (np.asarray(image.crop(strip), dtype=np.int32) for image in seen)
        squares = (after - before) ** 2
        changed = squares.max(axis=2) > CHANGED_LEVELS**2
        count += int(changed.sum())
        change += int(squares[changed].sum(dtype=np.int64))
        rest += int(squares.sum(dtype=np.int64))
    rest, pixels = rest - change, source.width * source.height
    error = rest / (3 * (pixels - count)) / 255**2 if rest else 0.0
    return Effect(
        changed_share=count / pixels,
        change_rms=math.sqrt(change / (3 * count)) / 255 if count else 0.0,
        rest_psnr_db=-10 * math.log10(error) if error > 0 else math.inf,
    )


def measured(
    latent: JointLatent,
    moved: Moved,
    records: Sequence[RunRecord],
    spent: Callable[[], Cost],
    notes: Sequence[str] = (),
) -> list[list[EditResult]]:
    """Put the changes into the images, judge and measure them: per image one result per strength.

    Args:
        latent: the images.
        moved: their latents after the edit.
        records: one per image; strength and evaluations are added.
        spent: called when the images are made; they share the cost equally.
        notes: for all of them.
    """
    backbone = latent.backbone
    if not all(bool(torch.isfinite(step.z).all()) for step in moved.steps):
        raise ModelError(f"{backbone.name} gave latents that are not finite. Check its weights, or its dtype")
    saved = _saved(latent, moved, records[0])
    verdicts, cost = _verdicts(latent, moved, saved, spent, records[0].seed)
    edited = [images.pixels for images in saved[1:]]
    read = _readings(backbone, "read", [latent.pixels, *edited])
    sure = _readings(backbone, "read_surely", [saved[0].pixels, *edited])
    seen = [_Seen(*each) for each in zip(saved, [(), *verdicts], read, sure, strict=True)]
    results: list[list[EditResult]] = []
    for row, record in enumerate(records):
        of_image = (*_image_notes(latent, record, row), *notes)
        steps = range(len(moved.steps))
        results.append([_result(latent, moved, record, seen, row, step, cost, of_image) for step in steps])
    return results


def _verdicts(
    latent: JointLatent, moved: Moved, saved: Sequence["_Saved"], spent: Callable[[], Cost], seed: int
) -> tuple[list[list[Verdict]], Cost]:
    """Verdicts of each strength, of the images as they are saved, and an image's share of the cost."""
    total = spent()
    backbone, judge, (start, *edited) = latent.backbone, Judge.of(latent.backbone), saved
    judged = dataclasses.replace(latent, z=start.z)
    with backbone.count() as judging:
        before = judge.losses_at(backbone, start.z, (latent.condition, moved.target), seed=seed)
        verdicts = [
            judge.judge(judged, moved.target, images.z, strength=step.strength, seed=seed, before=before)
            for step, images in zip(moved.steps, edited, strict=True)
        ]
    shares = len(latent) * len(moved.steps)
    return verdicts, Cost(
        evaluations=total.evaluations / shares,
        seconds=total.seconds / shares,
        peak_bytes=total.peak_bytes,
        verdict_evaluations=judging.evaluations / shares,
        guard_evaluations=sum(familiarity.evaluations for familiarity in latent.knowledge) / shares,
    )


def _image_notes(latent: JointLatent, record: RunRecord, row: int) -> tuple[str, ...]:
    """Warnings about an image and its captions, at any strength."""
    frame = latent.frames[row]
    able = latent.backbone.capabilities.references > 0
    words = (record.caption, record.target_caption)
    doubts = () if record.instructed else prompt_doubts(*words, takes_instructions=able)
    return (
        *frame.image.notes,
        *([_INHERITED] if frame.allowed is not None and latent.provenance is not None else []),
        *(latent.knowledge[row].doubts if latent.knowledge else ()),
        *text_notes(latent.backbone, latent.left_out[row : row + 1], [*filter(None, words)]),
        *doubts,
        *via_doubts(record.caption, record.recipe.via, record.target_caption),
        *(latent.completions[row].notes if latent.completions else ()),
    )


def _result(
    latent: JointLatent,
    moved: Moved,
    record: RunRecord,
    seen: Sequence["_Seen"],
    row: int,
    at: int,
    cost: Cost,
    notes: tuple[str, ...],
) -> EditResult:
    """The result of an image at one strength."""
    step, frame, start, edited = moved.steps[at], latent.frames[row], seen[0], seen[at + 1]
    record = record.model_copy(update={"strengths": (step.strength,), "evaluations": moved.evaluations[at]})
    source, image, kept = frame.image.image, edited.saved.images[row], edited.saved.kept[row]
    effect = measure_effect(source, image)
    own = effect if latent.start is None else measure_effect(start.saved.images[row], image)
    strengths = _strengths(record, step.strength)
    # A reader sees a part of a change as all or nothing.
    is_full = all(strength == 0 or abs(strength) >= 1 for strength in strengths)
    effect = dataclasses.replace(effect, read_before=start.read[row], read_after=edited.read[row] if is_full else None)
    verdict = edited.verdicts[row]
    if record.caption and record.target_caption and not record.instructed and step.strength:
        wanted, left_out = _wanted(latent.backbone, record, strengths)
        verdict = answered(verdict, wanted, start.read_surely[row], edited.read_surely[row]).without(left_out)
    familiarity = latent.knowledge[row] if latent.knowledge else None
    verdict = verdict if familiarity is None else verdict.on(familiarity)
    if step.strength:
        verdict = verdict.shown(kept, own.changed_share > 0, _lost_in(frame))
    kept = kept if own.changed_share else min(kept, LEAST_KEPT)
    translucent = [_TRANSLUCENT] if record.off_or_on and 0 < abs(step.strength) < 1 else []
    talk = moved.cross_talk
    return EditResult(
        image=image,
        source=source,
        strength=step.strength,
        method=str(record.recipe.method),
        caption=record.caption,
        target_caption=record.target_caption,
        verdict=verdict,
        knowledge=familiarity,
        effect=effect,
        cross_talk=None if talk is None else talk[row if len(talk) > 1 else 0],
        latent=_following(latent, moved.target, step, row, record, kept),
        cost=cost,
        notes=(*notes, *step.notes, *translucent, *_clamped(step, row)),
        record=record,
        completion=latent.completions[row] if latent.completions else None,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Saved:
    """Images as they are saved, and the share of the change that was made which each still has."""

    images: list[Image.Image]
    pixels: Float[Tensor, "b 3 h w"]  # as the model sees the images
    z: Float[Tensor, "b *latent"]  # the clean latents of those
    kept: Sequence[float] = ()


class _Seen(NamedTuple):
    """What is seen in images as they are saved, each; there is no verdict on those before the edit."""

    saved: _Saved
    verdicts: Sequence[Verdict]
    read: list[dict[str, str] | None]
    read_surely: list[dict[str, str] | None]


def _saved(latent: JointLatent, moved: Moved, record: RunRecord) -> list[_Saved]:
    """The images before the edit, then those of each strength."""
    frames, backbone = latent.frames, latent.backbone
    first, *changes = _changes(latent, moved, record)
    start = _Saved(images=[frame.image.image for frame in frames], pixels=latent.pixels, z=latent.z)
    found = [start]
    for change in changes if latent.start is None else [first, *changes]:
        images = [frame.restore(row) for frame, row in zip(frames, change, strict=True)]
        framed = [
            SourceImage(image=image).fit(backbone.capabilities, region=frame.region).pixels
            for image, frame in zip(images, frames, strict=True)
        ]
        pixels, z = torch.stack(framed), start.z
        same = (pixels == start.pixels).flatten(1).all(1)
        if not bool(same.all()):
            z = backbone.encode(pixels.to(backbone.device, backbone.dtype))
            z = torch.where(per_element(same.to(z.device), z), start.z, z)
        made = (start.pixels + (change - first).to(start.pixels)).clamp(-1, 1) - start.pixels
        kept = [_share_kept(pixels[row] - start.pixels[row], made[row], frame.box) for row, frame in enumerate(frames)]
        found.append(_Saved(images=images, pixels=pixels, z=z, kept=kept))
        if change is first:
            start, found = found[-1], found[1:]
    return found


def _share_kept(shown: Float[Tensor, "3 h w"], made: Float[Tensor, "3 h w"], box: Box) -> float:
    """The share of the energy of a change that is where it is shown: ``<shown, made>^2 / |shown|^2 |made|^2``.

    1 where none was made. What fades evenly, under gray masks or in translucent images, has no loss here: the verdict
    sees how far it went.
    """
    left, top, width, height = box
    shown, made = (part[:, top : top + height, left : left + width].double() for part in (shown, made))
    both, energies = float((shown * made).sum()), float(shown.square().sum() * made.square().sum())
    return max(both, 0.0) ** 2 / energies if energies else float(not made.any())


def _lost_in(frame: Frame) -> tuple[str, str]:
    """Where the part of a change lies that an image does not show, and what to do."""
    image = frame.image.image
    clear = image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255)
    places = {"outside the mask": frame.allowed is not None, "under transparent pixels": clear}
    where = " or ".join(place for place, there in places.items() if there)
    return (where, "a larger mask" if frame.allowed is not None else "an opaque image") if where else _TOO_FINE


def _wanted(backbone: Backbone, record: RunRecord, strengths: Sequence[float]) -> tuple[Wanted, tuple[str, ...]]:
    """What a reader is to look for: changes at strength 1 or more; and the changes that the captions cannot state."""
    wanted = functools.partial(Wanted.of, backbone, captioner_for(backbone), record.caption, record.target_caption)
    if len(strengths) == 1:
        return wanted(full=record.target_caption if strengths[0] >= 1 else record.caption), ()
    parts = [(one.target_caption, strength) for one, strength in zip(record.directions, strengths, strict=True)]
    full, _ = merged(record.caption, [text for text, strength in parts if strength >= 1])
    requested = [text for text, strength in parts if strength > 0]
    names = [change_words(record.caption, text) if text else "a direction without words" for text in requested]
    left_out = tuple(names[index] for index in merged(record.caption, requested)[1])
    return wanted(full=full), left_out


def _changes(latent: JointLatent, moved: Moved, record: RunRecord) -> list[Float[Tensor, "b 3 h w"]]:
    """The change of the frames' pixels before the edit, and by each strength; exactly nothing by the frames' own."""
    backbone, recipe = latent.backbone, moved.recipe
    local = bool(recipe.auto_mask)
    start = latent.z if latent.start is None else latent.start
    decoded = backbone.decode(start) if latent.decoded is None else latent.decoded
    pixels, before, earlier = latent.pixels.to(decoded), 0.0, record.before  # what earlier edits dropped stays dropped
    while earlier is not None:
        before = max(before, dropped_residual(earlier.strengths[0], earlier.recipe.subtract_residual))
        earlier = earlier.before
    # In the latent of an earlier edit, its change is in all of them, and one mask is for the whole.
    several = moved.parts if latent.start is None and local else ()
    parts = [backbone.decode(start + part) - decoded for part in several]
    changes: list[Tensor] = []
    drops = [0.0, *(moved.dropped or (step.strength for step in moved.steps))]
    for z, far in zip([latent.z, *(step.z for step in moved.steps)], drops, strict=True):
        change = torch.zeros_like(decoded) if z is start else backbone.decode(z) - decoded
        dropped = max(before, dropped_residual(far, recipe.subtract_residual))
        changes.append(composed_change(change, pixels, decoded, dropped, local=local, parts=parts))
    return changes


def _readings(
    backbone: Backbone, how: Literal["read", "read_surely"], images: Sequence[Float[Tensor, "b 3 h w"]]
) -> list[list[dict[str, str] | None]]:
    """What the model's reader sees in batches of images at the model's size."""
    reader, count = captioner_for(backbone), len(images[0])
    if not isinstance(reader, AttributeReader):
        return [[None] * count] * len(images)
    read = getattr(reader, how)(torch.cat([*images]).to(backbone.device, backbone.dtype))
    return [list(read[start : start + count]) for start in range(0, len(read), count)]


def _following(
    latent: JointLatent, target: Condition, step: StrengthResult, index: int, record: RunRecord, kept: float
) -> JointLatent:
    """The latent of an edited image, to go on from there or back: of the image before where it shows no change."""
    row, caption, z = slice(index, index + 1), record.caption, step.z if kept >= LEAST_KEPT else latent.z
    condition = latent.condition[row] + (target[row] - latent.condition[row]) * step.strength
    if kept < MOST_KEPT:
        condition = latent.condition[row]
    if condition.reference is not None:  # what comes next starts from no change of the image as it is now
        condition = dataclasses.replace(latent.condition[row], reference=(z[row], *condition.reference[1:]))
    elif kept >= MOST_KEPT and step.strength > 0 and record.target_caption:  # away from it, the image does not show it
        caption = record.target_caption
    return JointLatent(
        backbone=latent.backbone,
        z=z[row],
        condition=condition,
        captions=(caption,),
        frames=latent.frames[row],
        start=(latent.z if latent.start is None else latent.start)[row],
        decoded=None if latent.decoded is None else latent.decoded[row],
        knowledge=tuple(dataclasses.replace(familiarity, evaluations=0) for familiarity in latent.knowledge[row]),
        provenance=record,
        references=latent.references,
        encoders=latent.encoders,
        left_out=latent.left_out[row],
    )


def _clamped(step: StrengthResult, index: int) -> list[str]:
    """A warning where the strength went beyond the limit of an image; nan is none."""
    limit = math.nan if step.limit is None else float(step.limit[index])
    if math.isnan(limit) or abs(step.strength) <= abs(limit):
        return []
    return [f"strength {step.strength:g} was clamped to {limit:.2f}, the largest that is predicted to do no damage"]


@explaining
def view(results: EditResult | Sequence[EditResult], title: str | None = None) -> View:
    """One edit, or one change at several strengths, as an interactive page.

    Args:
        results: a result of `edit`, or the results of `sweep` for one image.
        title: one line; by default the name of the image and the change.

    Raises:
        ConfigError: no results, or results of several images.

    Cost:
        No evaluation of the network.
    """
    results = list(results) if isinstance(results, Sequence) else [results]
    if others := [type(one).__name__ for one in cast("list[object]", results) if not isinstance(one, EditResult)]:
        raise ConfigError(f"a view shows results of edits; got {others[0]}. Call latentedit.edit first")
    count = len({result.record.image.fingerprint for result in results})
    if count != 1:
        raise ConfigError(f"a view shows the results of one image; got those of {count}. Make a view for each")
    first = results[0]
    name = first.record.image.name or "image"
    change = ", ".join(changed_phrases(first.caption, first.target_caption)[1]) if first.target_caption else ""
    unedited = [result.image for result in results if result.strength == 0]  # differs from the source of a second edit
    return View(
        source=unedited[0] if unedited else first.source,
        frames=tuple(_frame_of(result) for result in results),
        title=title if title is not None else f"{name}: {change}" if change else name,
        caption=first.caption,
        target_caption=first.target_caption,
        name=Path(name).stem,
        steps=first.record.off_or_on,
    )


def _frame_of(result: EditResult) -> ViewerFrame:
    effect = result.effect
    return ViewerFrame(
        strength=result.strength,
        image=result.image,
        verdict=result.verdict.label,
        reason=result.verdict.reason,
        lines=(*(result.read_changes or ()), effect.size_text, effect.rest_text),
        record=result.record,
        # Without seconds and memory, which differ from run to run, equal edits give equal pages.
        measures={name: value for name, value in result.measures.items() if name != "cost"},
        payload=result.undo_data if result.image.width * result.image.height <= MOST_UNDO_PIXELS else None,
    )
