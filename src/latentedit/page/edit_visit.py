"""The state of an open page that has the tab *Edit*."""

import contextlib
import dataclasses
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError
from latentedit.editing.discovery import Discovery, discover, file_names
from latentedit.editing.request import EditRequest, check_texts
from latentedit.editing.result import EditResult
from latentedit.editing.session import Session
from latentedit.editors.base import check_strength, make_editor
from latentedit.encoding.encode import captioner_for, encode, target_captions, text_notes
from latentedit.encoding.familiarity import check_familiarity, guarded
from latentedit.encoding.images import SourceImage
from latentedit.identification.direction import ENDING, Direction
from latentedit.keeping.undoing import undo_stored
from latentedit.models.base import Backbone
from latentedit.page.downloads import Download, direction_file, image_file, own_name, plain_name, record_file
from latentedit.page.models import Models
from latentedit.page.visit import Visit, check_pixels
from latentedit.photo.images import read_pixels
from latentedit.photo.saving import read_chunks

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # fractions of the given strength that are rendered for the slider
MAX_PIXELS = 13_000_000  # largest image to edit: 12 megapixels of a phone are up to 12.6 million pixels
MAX_ENTRIES = 20  # length of the history; the oldest edits are dropped first
MAX_HISTORY_PIXELS = 480_000_000  # sum over all rendered strengths, three bytes a pixel; the last edit always stays
MAX_CHANGES = 4
_SAME = 1e-9  # strengths that differ by less are equal


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PageChange:
    """One change: "OLD => NEW", or the name of a direction file."""

    text: str
    strength: float = 1.0


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class PageEdit:
    """The results of one task."""

    results: list[EditResult]  # one for each of `STRENGTHS`
    directions: dict[str, Direction]  # keys are texts of changes; empty for editors without directions
    render: Callable[[Sequence[float], Progress | None], list[EditResult]]  # results at other strengths
    evaluations: int  # including those for verdicts
    seconds: float


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class HistoryEntry:
    """One image of the history."""

    title: str
    image: SourceImage
    caption: str
    before: "HistoryEntry | None" = None  # the entry that was edited; None for an uploaded image
    edit: PageEdit | None = None  # None for an uploaded image
    strength: float = 0.0  # as chosen on the page
    notes: tuple[str, ...] = ()  # warnings: aspects of the image that the model may get wrong
    payload: bytes | None = None  # data to undo an edit that was made before this session

    @property
    def pixels(self) -> int:
        """Number of pixels of all its images."""
        width, height = self.image.size
        return width * height * (1 if self.edit is None else len(self.edit.results))

    def keep(self, result: EditResult) -> None:
        """Show a result of the edit."""
        self.strength = result.strength
        self.image = SourceImage(image=result.image, path=self.image.path)
        (self.caption,) = result.latent.captions


class EditVisit(Visit):
    """The state of both tabs; a task that is ended leaves the history unchanged."""

    def __init__(self, working: threading.Lock, models: Models) -> None:
        super().__init__(working)
        self.models = models
        self.entries: list[HistoryEntry] = []
        self.current: HistoryEntry | None = None
        self.directions: dict[str, Direction] = {}
        self.discovered: list[str] = []
        self._session: tuple[SourceImage, str, str, Session] | None = None
        self._force = False  # edit images that are out of distribution

    def keep_edit(self, strength: float | None, *, progress: Progress | None = None) -> None:
        """Compare the current image with the first one, at their own size, as the pair."""
        self.settle(strength, progress=progress)
        edited, original = self._opened().image, self.entries[0].image
        if edited is original:
            raise ConfigError("there is no edit to keep. Edit the image first")
        name = "image.png" if original.path is None else original.path.name
        names = {"original": name, "edited": f"{own_name(name)}.edited.png"}
        self.put(
            {
                role: dataclasses.replace(read_pixels(image.image), path=Path(names[role]))
                for role, image in (("original", original), ("edited", edited))
            }
        )
        self.keep_pair(progress=progress)

    def open(self, content: bytes, name: str, *, model: str, progress: Progress | None = None) -> HistoryEntry:
        """Open the content of a file, caption it, and start a new history."""
        check_pixels(name, content, MAX_PIXELS, "edit")
        image = SourceImage.open(Path(name).name, content=content)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "image.png")
            file.write_bytes(content)
            _, payload = read_chunks(file)  # data in a PNG that undo an earlier edit
        with self._task(model, progress) as (backbone, _):
            caption, notes = _caption(backbone, image)
        notes = (*image.notes, *notes)
        entry = HistoryEntry(title="original", image=image, caption=caption, notes=notes, payload=payload)
        self.entries, self.current, self._session, self._force = [entry], entry, None, False
        return entry

    def edit(
        self,
        changes: Sequence[PageChange],
        *,
        model: str,
        method: str | None,
        caption: str,
        force: bool = False,
        progress: Progress | None = None,
    ) -> HistoryEntry:
        """Edit the current image at all `STRENGTHS`; the full change becomes the current entry.

        Changes without text are ignored. ``force`` also edits images that are out of distribution, until another image
        is opened.
        """
        self._force = self._force or force
        before = self._opened()
        changes = [change for change in changes if change.text.strip()]
        if not changes:
            raise ConfigError("no edit requested. Write a change, such as => glasses")
        check_texts({"the caption": caption})
        started = time.perf_counter()
        with self._task(model, progress) as (backbone, report), backbone.count() as count:
            session = self._session_of(before, backbone, caption.strip())
            directions, render = self._plan(session, changes, method, report)
            full = 1.0 if len(directions) > 1 else changes[0].strength  # several directions have their own strengths
            if full == 0:
                raise ConfigError("strength 0 is the original image. Set another strength")
            results = render([share * full for share in STRENGTHS], report)
            if results[0].record.off_or_on:  # the slider has these two: in between are overlays
                results = [results[0], results[-1]]
        edit = PageEdit(
            results=results,
            directions=directions,
            render=render,
            evaluations=count.evaluations,
            seconds=time.perf_counter() - started,
        )
        title = ", ".join(f"{change.text.strip()} ({change.strength:g})" for change in changes)
        entry = HistoryEntry(title=title, image=before.image, caption=caption, before=before, edit=edit)
        before.caption = caption.strip()
        entry.keep(results[-1])
        self._append(entry)
        return entry

    def settle(self, strength: float | None, *, progress: Progress | None = None) -> EditResult | None:
        """Set the strength of the current edit, and return the result; None for an uploaded image.

        An entry that was edited further is not changed: a copy is added to the history.
        """
        if self.current is None or (edit := self.current.edit) is None:
            return None
        entry = self.current
        strength = entry.strength if strength is None else strength
        check_strength(strength)
        result = next((result for result in edit.results if abs(result.strength - strength) < _SAME), None)
        if result is None:
            with self._task(edit.results[0].latent.backbone.name, progress) as (_, report):
                (result,) = edit.render([strength], report)
        if result.strength != entry.strength:
            if any(later.before is entry for later in self.entries):  # undo returns from there to this image
                entry = dataclasses.replace(entry)
                self._append(entry)
            entry.keep(result)
        return result

    def undo(self, *, model: str, progress: Progress | None = None) -> HistoryEntry:
        """Restore the image before the last edit, bit for bit, even if that was made before this session."""
        entry = self._opened()
        if entry.before is not None:
            self.current = entry.before
        elif entry.payload is None:
            raise ConfigError("there is no edit to undo. Edit the image first")
        else:
            with self._task(model, progress) as (backbone, _):
                before = undo_stored(entry.image.image, entry.payload, str(entry.image.path or "the image"))
                image = SourceImage(image=before, path=entry.image.path)
                caption, notes = _caption(backbone, image)
            self._append(HistoryEntry(title="before its last edit", image=image, caption=caption, notes=notes))
        return self._opened()

    def go_to(self, index: int) -> HistoryEntry:
        if not 0 <= index < len(self.entries):
            raise ConfigError(f"the history has {len(self.entries)} images; got number {index + 1}. Reload the page")
        self.current = self.entries[index]
        return self.current

    def discover(self, *, model: str, rank: int, level: float, progress: Progress | None = None) -> Discovery:
        """Find ``rank`` directions of the current image, which a `Change` can then name."""
        image = self._opened().image
        with self._task(model, progress) as (backbone, report):
            latent = encode(backbone, image, source_prompt="")
            discovery = discover(latent, rank=rank, level=level, progress=report)
        named = zip(file_names(discovery), discovery.directions, strict=True)
        self.discovered = [self._store_direction(name, item.direction) for name, item in named]
        return discovery

    def add_direction(self, path: Path, *, model: str) -> str:
        """Read a direction file, and return the name by which a `Change` refers to it."""
        return self._store_direction(path.name, Direction.load(path, model=self.models.get(model)))

    def image_file(self, strength: float | None) -> Download:
        result = self.settle(strength)
        return image_file(self._opened().image, result)

    def direction_files(self) -> list[Download]:
        edit = self._opened().edit
        if edit is None or not edit.directions:
            raise ConfigError("this edit has no direction to save. Edit with the method eim")
        return [
            direction_file(f"{plain_name(text.removesuffix(ENDING))}{ENDING}", direction)
            for text, direction in edit.directions.items()
        ]

    def record_file(self, strength: float | None) -> Download:
        result = self.settle(strength)
        if result is None:
            raise ConfigError("there is no record to save. Edit the image first")
        return record_file(self._opened().image, result)

    @contextlib.contextmanager
    def _task(self, model: str, progress: Progress | None) -> Generator[tuple[Backbone, Progress]]:
        """The model and a progress callback that counts evaluations, while no other task runs."""
        report = self.reporting(progress)
        with self.alone():
            report("", 0, 0)
            backbone = self.models.get(model, report)
            with backbone.count() as count:
                yield backbone, lambda what, *steps: report(f"{what}, {count.evaluations} evaluations", *steps)
            report("", 0, 0)

    def _plan(
        self, session: Session, changes: Sequence[PageChange], method: str | None, report: Progress
    ) -> tuple[dict[str, Direction], Callable[[Sequence[float], Progress | None], list[EditResult]]]:
        """The directions by their text, and a function from strengths to results."""
        texts = [" ".join(change.text.split()) for change in changes]
        strengths = [change.strength for change in changes]
        described = [text for text in texts if text not in self.directions]
        latent, directions = session.latent, dict[str, Direction]()
        if described:
            target_captions(latent.backbone, latent.captions, to=None, change=described)  # refuses contradictions
        if len(described) == len(texts) and not make_editor(method, latent.backbone).moves_along:
            own = tuple(strengths) if len(set(strengths)) > 1 else (1.0,)
            request = EditRequest(change=tuple(texts), method=method, strength=own)
        elif len(set(texts)) < len(texts):
            raise ConfigError("two changes are the same. Remove a duplicate")
        else:
            for text in texts:
                stored = self.directions.get(text)
                directions[text] = session.identify(change=text, progress=report) if stored is None else stored
            own = tuple(strengths) if len(texts) > 1 else (1.0,)
            request = EditRequest(direction=tuple(directions.values()), method=method, strength=own)
        return directions, lambda at, progress: session.run(request, at, progress=progress)[0]

    def _session_of(self, entry: HistoryEntry, backbone: Backbone, caption: str) -> Session:
        """The session of an image with a caption, reused by its next edit."""
        match self._session:
            case (image, *key, session) if image is entry.image and key == [backbone.name, caption]:
                return session
            case _:
                session = Session(guarded(encode(backbone, entry.image, source_prompt=caption), force=self._force))
                self._session = (entry.image, backbone.name, caption, session)
                return session

    def _append(self, entry: HistoryEntry) -> None:
        self.entries.append(entry)
        entries, self.current = self.entries, entry
        while len(entries) > MAX_ENTRIES or (
            len(entries) > 2 and sum(one.pixels for one in entries) > MAX_HISTORY_PIXELS
        ):
            dropped = entries.pop(1)  # undo of a later edit still returns to its image, and no further
            dropped.edit = dropped.before = None

    def _store_direction(self, name: str, direction: Direction) -> str:
        """Store a direction with a unique name."""
        stem = plain_name(Path(name).name.removesuffix(ENDING))
        number, unique = 1, f"{stem}{ENDING}"
        while unique in self.directions:
            number, unique = number + 1, f"{stem}-{number + 1}{ENDING}"
        self.directions[unique] = direction
        return unique

    def _opened(self) -> HistoryEntry:
        if self.current is None:
            raise ConfigError("there is no image yet. Upload an image, or choose an example")
        return self.current


def _caption(backbone: Backbone, image: SourceImage) -> tuple[str, tuple[str, ...]]:
    """The caption by the model's captioner, and notes for the user."""
    if captioner_for(backbone) is None:
        return "", (f"The model {backbone.name} has no captioner. Describe the image.",)
    latent = encode(backbone, image)
    (caption,), (frame,) = latent.captions, latent.frames
    domain: str = backbone.defaults.get("knows", "")
    notes = [f"The model {backbone.name} was trained on {domain} only."] if domain else []
    knowledge = check_familiarity(latent).knowledge
    if any(familiarity.state == "unknown" for familiarity in knowledge):
        return caption, tuple(notes)  # the rest is about images that the model knows
    notes += text_notes(backbone, latent.left_out, latent.captions)
    notes += [doubt for familiarity in knowledge for doubt in familiarity.doubts]
    if frame.region is not None:
        left, top, width, height = frame.region
        notes.append(f"The model edits a crop of {width} x {height} pixels at ({left}, {top}).")
    return caption, tuple(notes)
