"""What an edit gives back: the picture, what changed and what did not, what it cost, how to make it again."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.api.outputs import OutputFile, beside_file, write_together
from latentedit.api.sheets import draw_sheet, draw_sweep
from latentedit.api.undo import difference
from latentedit.api.viewer.page import is_page
from latentedit.api.viewer.views import View
from latentedit.core.cost import Cost
from latentedit.core.errors import ShapeError
from latentedit.core.progress import Progress
from latentedit.directions.direction import Direction
from latentedit.directions.text import change_words, changed_phrases
from latentedit.editors.judge import Verdict
from latentedit.latents.captions.base import one_line
from latentedit.latents.joint import JointLatent
from latentedit.latents.knowledge import Knowledge
from latentedit.latents.pictures import strips
from latentedit.latents.record import RunRecord
from latentedit_keep.colour import shown
from latentedit_keep.files import write_text
from latentedit_keep.pictures import read_image, save_image

CHANGED_LEVELS = 8
"""A pixel counts as changed when a channel moves by more than this many of 255 levels."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an edit did to a picture, measured on the 8-bit pictures at their own size.

    Args:
        changed_share: share of pixels of which a colour channel moved by more than 8/255, in [0, 1].
        change_rms: root mean square of the change of those pixels, on a scale where white is 1; 0 where there are none.
        rest_psnr_db: agreement of the other pixels in dB; infinite where they are identical, or where none is left.
        read_before: attribute to value as the model's reader sees the source; None where there is no reader.
        read_after: the same for the edited picture.
    """

    changed_share: float
    change_rms: float
    rest_psnr_db: float
    read_before: Mapping[str, str] | None = None
    read_after: Mapping[str, str] | None = None

    @property
    def size_text(self) -> str:
        """How many pixels changed, and by how much."""
        return f"{100 * self.changed_share:.1f} % of the pixels changed, by {100 * self.change_rms:.0f} % of full scale"

    @property
    def rest_text(self) -> str:
        """What became of the other pixels."""
        if math.isinf(self.rest_psnr_db):
            return "every other pixel as it was"
        return f"the rest of the picture agrees to {self.rest_psnr_db:.0f} dB"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditResult:
    """One edited picture.

    Args:
        image: the edited picture, at the source's own size and mode.
        source: the picture as it came.
        strength: of the edit.
        method: the editor's name.
        caption: what the source shows.
        target_caption: what was asked for; empty for a direction without words.
        verdict: how much of the change was made.
        knowledge: whether the model knows the source; None where it was not asked, or has no calibrated guard.
        effect: what changed.
        cross_talk: between the directions that were applied together, ``[k, k]``; None for a single one.
        latent: the edited picture, to go on from, or back.
        cost: what it took.
        notes: what the user should know about the captions.
        record: enough to make it again.
    """

    image: Image.Image
    source: Image.Image
    strength: float
    method: str
    caption: str
    target_caption: str
    verdict: Verdict
    knowledge: Knowledge | None = None
    effect: Effect
    cross_talk: Float[Tensor, "k k"] | None
    latent: JointLatent
    cost: Cost
    notes: tuple[str, ...]
    record: RunRecord

    def __repr__(self) -> str:
        words = self.target_caption if self.record.instructed else change_words(self.caption, self.target_caption)
        change = f' "{one_line(words)[:50]}"' if self.target_caption else ""
        rest = "" if math.isinf(self.effect.rest_psnr_db) else f", {self.effect.rest_psnr_db:.0f} dB"
        return f"<EditResult {self.method} {self.strength:.2f}{change}: {self.verdict.label}{rest}>"

    def save(self, path: str | Path, *, sheet: str | Path | None = None, view: str | Path | None = None) -> None:
        """Write the edited picture with its record and what `undo` needs, the JSON beside it, and more; all or nothing.

        Args:
            path: of the picture; a PNG carries its record, and what `undo` needs.
            sheet: where source, edited and difference go side by side, if they are wanted.
            view: where the page goes that shows the edit in a browser (see `viewer`), if it is wanted.

        Raises:
            OutputError: a place that cannot be written to, that is named twice, or where the JSON of something else
                lies.
            ConfigError: more edits in the latent than a record holds.
        """
        text, payload = self.record.to_json(), difference(self.source, self.image)
        picture = (Path(path), lambda place: save_image(self.image, place, record=text, payload=payload))
        files = [picture, beside_file(path, self.record, [self.measures])]
        if sheet is not None:
            files += self._sheet_files(sheet)
        if view is not None:
            files.append(_view_file([self], view))
        write_together(files)

    def effect_in(self, path: str | Path) -> Effect:
        """The effect in the file that `save` wrote: JPEG changes all of it a little.

        Raises:
            ImageError: the file is gone, or damaged.
        """
        read: dict[str, Any] = {"read_before": self.effect.read_before, "read_after": self.effect.read_after}
        return measure_effect(self.source, read_image(path), **read)

    def save_sheet(self, path: str | Path) -> None:
        """Write source, edited and difference side by side with what was asked for, and the JSON beside it.

        Raises:
            OutputError: a place that cannot be written to, or where the JSON of something else lies.
            ConfigError: more edits in the latent than a record holds.
        """
        write_together(self._sheet_files(path))

    def undo(self) -> Image.Image:
        """The source; `latentedit.undo` gives the same from the file that `save` writes."""
        return self.source

    def replay(self, *, directions: Sequence[Direction] = (), progress: Progress | None = None) -> "list[EditResult]":
        """Make it again from its record, one result a strength; the same as ``latentedit replay``.

        Args:
            directions: those that were not found on this picture.

        Raises:
            ConfigError: a direction that is missing.
        """
        from latentedit.api.replay import replay_frame  # noqa: PLC0415  # it makes results, so it knows this module

        (frame,), beside = self.latent.frames, self.latent.beside
        return replay_frame(
            self.record, self.latent.backbone, frame, directions=directions, beside=beside, progress=progress
        )

    @property
    def strengths(self) -> tuple[float, ...]:
        """One for each direction where several were put together, otherwise the one of the edit."""
        several = tuple(direction.strength for direction in self.record.directions)
        return several if len(several) > 1 else (self.strength,)

    @property
    def read_changes(self) -> tuple[str, ...] | None:
        """The attributes that a reader sees differ, such as "accessory none -> glasses".

        None without a reader, and below strength 1: of half a change a classifier reads all or nothing.
        """
        before, after = self.effect.read_before, self.effect.read_after
        if before is None or after is None or min(self.strengths) < 1:
            return None
        return tuple(f"{name} {before[name]} -> {after[name]}" for name in before if before[name] != after.get(name))

    @property
    def measures(self) -> dict[str, Any]:
        """What the JSON beside a picture says of one strength."""
        names = ("strength", "verdict", "knowledge", "effect", "cost", "notes")
        return {name: getattr(self, name) for name in names}

    def _repr_html_(self) -> str:
        """For notebooks: the edit in the viewer."""
        return _view([self]).iframe

    def _sheet_files(self, path: str | Path) -> list[OutputFile]:
        record = self.record.model_copy(update={"output": "sheet"})
        change = ", ".join(changed_phrases(self.caption, self.target_caption)[1]) if self.target_caption else ""
        title = f"{record.picture.name or 'picture'}: {change or 'strength'} {self.strength:g}"
        lines, text = (*self.caption_lines, f"{self.method}: {self.verdict.text}"), record.to_json()

        def write(place: Path) -> None:
            save_image(draw_sheet(self.source, self.image, title=title, lines=lines), place, record=text)

        return [(Path(path), write), beside_file(path, record, [self.measures])]

    @property
    def caption_lines(self) -> tuple[str, ...]:
        """What a sheet says of source and target; a direction without words has no target to tell."""
        target = (f"to: {self.target_caption}",) if self.target_caption else ()
        return (f"from: {self.caption}", *target)


def write_sweep(results: Sequence[EditResult], path: str | Path) -> None:
    """Write pictures by strength, as a sheet or a page, and the JSON beside it; both or neither.

    Raises:
        OutputError: a place that cannot be written to, or where the JSON of something else lies.
        ConfigError: more edits in the latent than a record holds.
    """
    first, strengths = results[0], tuple(float(result.strength) for result in results)
    record = first.record.model_copy(update={"output": "sweep", "strengths": strengths})
    labels = [f"{result.strength:.2f}\n{result.verdict.label}" for result in results]
    lines, images, text = first.caption_lines, [result.image for result in results], record.to_json()

    def write(place: Path) -> None:
        sheet = draw_sweep(images, labels, title=record.picture.name or "picture", lines=lines)
        save_image(sheet, place, record=text)

    shown = _view_file(results, path) if is_page(path) else (Path(path), write)
    write_together([shown, beside_file(path, record, [result.measures for result in results])])


def _view(results: Sequence[EditResult]) -> View:
    from latentedit.api.viewer.from_results import view  # noqa: PLC0415  # it knows results, so it knows this module

    return view(results)


def _view_file(results: Sequence[EditResult], path: str | Path) -> OutputFile:
    page = _view(results).html
    return Path(path), lambda place: write_text(place, page)


def measure_effect(
    source: Image.Image,
    edited: Image.Image,
    *,
    read_before: Mapping[str, str] | None = None,
    read_after: Mapping[str, str] | None = None,
) -> Effect:
    """Compare two pictures of one size in sRGB, colour channels only.

    Raises:
        ShapeError: pictures of different sizes.
    """
    if source.size != edited.size:
        raise ShapeError(f"two pictures of different sizes cannot be compared; got {source.size} and {edited.size}")
    seen = shown(source), shown(edited)
    count, moved, rest = 0, 0, 0  # pixels that changed; squares of their changes, and of the others', in levels
    for strip in strips(source.size):
        before, after = (np.asarray(one.crop(strip).convert("RGB"), dtype=np.int32) for one in seen)
        squares = (after - before) ** 2
        changed = squares.max(axis=2) > CHANGED_LEVELS**2
        count += int(changed.sum())
        moved += int(squares[changed].sum(dtype=np.int64))
        rest += int(squares.sum(dtype=np.int64))
    rest, pixels = rest - moved, source.width * source.height
    error = rest / (3 * (pixels - count)) / 255**2 if rest else 0.0
    return Effect(
        changed_share=count / pixels,
        change_rms=math.sqrt(moved / (3 * count)) / 255 if count else 0.0,
        rest_psnr_db=-10 * math.log10(error) if error > 0 else math.inf,
        read_before=read_before,
        read_after=read_after,
    )
