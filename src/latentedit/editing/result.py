"""The result of an edit: the image, what changed and what did not, its cost, and the record that makes it again."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.errors import ConfigError, Hinted, OutputError, explaining
from latentedit.core.files import write_text
from latentedit.editing.effect import Effect, measure_effect
from latentedit.editing.outputs import OutputFile, declaring, json_file, write_together
from latentedit.editing.sheet import draw_sheet, draw_sweep
from latentedit.editors.judge import Verdict
from latentedit.encoding.captions.base import shortened
from latentedit.encoding.captions.change import change_words, changed_phrases
from latentedit.encoding.captions.completion import Completion
from latentedit.encoding.images import SourceImage
from latentedit.encoding.joint import Familiarity, JointLatent
from latentedit.encoding.record import RunRecord
from latentedit.keeping.undoing import undo_difference
from latentedit.numerics.cost import Cost
from latentedit.photo.images import read_image
from latentedit.photo.saving import format_of, save_image
from latentedit.viewer.page import is_page
from latentedit.viewer.view import View, ViewerFrame

MOST_UNDO_PIXELS = (
    600_000  # pixels of the images in a page with the data for `undo`, about a byte per pixel and strength
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditResult(Hinted):
    """One edited image.

    Args:
        image: the edited image, at the source's own size, in 8-bit RGB or RGBA; `save` names what else is lost, such as
            16 bits, and gray as one channel.
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

    def __repr__(self) -> str:
        change = f' "{shortened(self.change_text, 60)}"' if self.target_caption else ""
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
        return strengths_of(self.record, self.strength)

    @property
    def change_text(self) -> str:
        """The instruction, or the difference of the captions as "OLD => NEW"; of several directions, each."""
        if not (applied := self.record.directions):
            return self._change_to(self.target_caption)
        unworded = "a direction without words"
        changes = (self._change_to(one.target_caption) or one.settings.get("name", unworded) for one in applied)
        return "; ".join(map(str, changes))

    def _change_to(self, target: str) -> str:
        return change_words(self.caption, target) if target and not self.record.instructed else target

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
        """Indexes like a list; a float is refused, since every strength is an edit of its own."""
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


def strengths_of(record: RunRecord, strength: float) -> tuple[float, ...]:
    """The strength of each direction where several were combined, otherwise that of the edit."""
    several = tuple(strength * direction.strength for direction in record.directions)
    return several if len(several) > 1 else (strength,)


def _view_file(results: Sequence[EditResult], path: str | Path) -> OutputFile:
    page = view(results).html
    return Path(path), lambda file: write_text(file, page)


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
