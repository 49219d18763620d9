"""One visitor of the page: the picture, what was done with it, and the task that runs. Nothing here knows the page."""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from latentedit.api.discovery import Discovery, discover
from latentedit.api.discovery_files import file_names
from latentedit.app.downloads import Download, direction_files, picture_file, plain_name, record_file
from latentedit.app.history import Edit, Entry
from latentedit.app.models import Models
from latentedit.core.errors import ConfigError, ImageError, LatentEditError
from latentedit.core.progress import Progress
from latentedit.directions.direction import ENDING, Direction, load_direction
from latentedit.editing.request import EditRequest, check_texts
from latentedit.editing.result import EditResult
from latentedit.editing.session import Session
from latentedit.editing.undo import undo_stored
from latentedit.editors.base import check_strength
from latentedit.editors.eim import EIM
from latentedit.editors.registry import make_editor
from latentedit.geometry.local_basis import local_basis
from latentedit.guard.guard import check_familiarity, guarded
from latentedit.latents.captions.base import captioner_for
from latentedit.latents.captions.targets import target_captions
from latentedit.latents.encode import encode
from latentedit.latents.pictures import Picture
from latentedit.models.base import Backbone
from latentedit_keep.pictures import read_chunks

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of what was asked for that are rendered, so that the slider shows them without asking again."""

MAX_PIXELS = 4_000_000
"""Of a picture on the page: all rendered strengths travel to the browser and are kept for the history."""

MAX_ENTRIES = 20
"""Of the history; the oldest edits go first."""

MAX_CHANGES = 4

STOPPED = "stopped; the picture and its history are as they were"

_MAX_DIRECTIONS = 50
_SAME = 1e-9  # strengths that differ by less are one
_STEM_LETTERS = 60


class StoppedError(LatentEditError):
    """The visitor cancelled the task, or left."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One thing that should change.

    Args:
        text: "OLD => NEW", or the name of a direction that the visitor has.
        strength: 0 is nothing, 1 the whole change.
    """

    text: str
    strength: float = 1.0


class Visit:
    """One visitor's pictures, directions and task.

    Tasks that compute take turns with those of other visitors. Each of them tells its progress, and stops where it next
    does so once `stop` was called; the history is then as it was before.

    Args:
        models: that the page offers.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self.entries: list[Entry] = []
        self.current: Entry | None = None
        self.directions: dict[str, Direction] = {}
        self.discovered: list[str] = []
        self._session: tuple[Picture, str, str, Session] | None = None
        self._stops = 0  # so often was `stop` called
        self._closed = False
        self._anyway = False  # pictures that the model does not know are edited too

    def stop(self) -> None:
        """End the task that runs or waits for its turn, at its next step."""
        self._stops += 1

    def close(self) -> None:
        """The visitor has left: end what runs, and let go of everything."""
        self._closed = True
        self.stop()
        self.entries, self.current, self._session = [], None, None
        self.directions, self.discovered = {}, []

    def open(self, content: bytes, name: str, *, model: str, progress: Progress | None = None) -> Entry:
        """Begin with a picture, and read what it shows; the history begins anew.

        Args:
            content: of the file.
            name: of the file.

        Raises:
            ImageError: no picture fit for editing, or more than `MAX_PIXELS`.
            LatentEditError: see `latentedit.encode`.
        """
        picture = Picture.open(Path(name).name, content=content)
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise ImageError(
                f"the picture has {width} x {height} = {width * height / 1e6:.1f} megapixels; the page takes "
                f"{MAX_PIXELS // 1_000_000} at most. Scale it down, or use latentedit edit"
            )
        payload = _payload(content)
        with self._task(model, progress) as (backbone, _):
            caption, notes = _looked_at(backbone, picture)
        notes = (*picture.notes, *notes)
        entry = Entry(title="the picture", picture=picture, caption=caption, notes=notes, payload=payload)
        self.entries, self.current, self._session, self._anyway = [entry], entry, None, False
        return entry

    def edit(
        self,
        wishes: Sequence[Wish],
        *,
        model: str,
        method: str | None,
        caption: str,
        anyway: bool = False,
        progress: Progress | None = None,
    ) -> Entry:
        """Edit the current picture to all of `STRENGTHS`; the whole change becomes the current entry.

        Args:
            wishes: what should change; those without text are left out.
            model: by name.
            method: by name; None is the default of the model, and `eim` for what that alone does.
            caption: what the picture shows.
            anyway: edit a picture that the model does not know too; that holds until another one is opened.

        Raises:
            UnknownPictureError: such a picture, where nobody said so.
            LatentEditError: any wish that makes no sense, or a task that was stopped.
        """
        self._anyway = self._anyway or anyway
        before = self._opened()
        wanted = [wish for wish in wishes if wish.text.strip()]
        if not wanted:
            raise ConfigError('nothing says what should change. Write a change, such as "=> glasses"')
        check_texts({"the caption": caption})
        started = time.perf_counter()
        with self._task(model, progress) as (backbone, report), backbone.count() as count:
            session = self._session_of(before, backbone, caption.strip())
            directions, move = self._way(session, wanted, method, report)
            whole = 1.0 if len(directions) > 1 else wanted[0].strength  # several: each at a strength of its own
            if whole == 0:
                raise ConfigError("strength 0 is the picture itself. Give another strength")
            results = move([share * whole for share in STRENGTHS], report)
        edit = Edit(
            results=results,
            directions=directions,
            move=move,
            evaluations=count.evaluations,
            seconds=time.perf_counter() - started,
        )
        title = ", ".join(f"{wish.text.strip()} ({wish.strength:g})" for wish in wanted)
        entry = Entry(title=title, picture=before.picture, caption=caption, before=before, edit=edit)
        before.caption = caption.strip()
        entry.keep(results[-1])
        self._append(entry)
        return entry

    def settle(self, strength: float | None, *, progress: Progress | None = None) -> EditResult | None:
        """Keep the current entry at another strength, which is rendered if it was not yet.

        An entry that was edited further stays as it is, and another one is added to the history.

        Args:
            strength: of the edit; as it is where it is None.

        Returns:
            The result at that strength; None where the current picture was not edited.

        Raises:
            LatentEditError: a strength that makes no sense, or a task that was stopped.
        """
        if self.current is None or (edit := self.current.edit) is None:
            return None
        entry = self.current
        strength = entry.strength if strength is None else strength
        check_strength(strength)
        known = next((one for one in edit.results if abs(one.strength - strength) < _SAME), None)
        if known is None:
            with self._task(edit.results[0].latent.backbone.name, progress) as (_, report):
                (known,) = edit.move([strength], report)
        if known.strength != entry.strength:
            if any(one.before is entry for one in self.entries):  # those go back to this picture, as it was
                entry = dataclasses.replace(entry)
                self._append(entry)
            entry.keep(known)
        return known

    def undo(self, *, model: str, progress: Progress | None = None) -> Entry:
        """Go back to the picture before the last edit, bit for bit, also where that was made before this visit.

        Raises:
            ConfigError: nothing was edited.
            FileFormatError: what the file carries is damaged.
        """
        entry = self._opened()
        if entry.before is not None:
            self.current = entry.before
        elif entry.payload is None:
            raise ConfigError("there is no edit to take back: the picture is as it came. Edit it first")
        else:
            with self._task(model, progress) as (backbone, _):
                image = undo_stored(entry.picture, entry.payload)
                picture = Picture(image=image, path=entry.picture.path)
                caption, notes = _looked_at(backbone, picture)
            self._append(Entry(title="before its edit", picture=picture, caption=caption, notes=notes))
        return self._opened()

    def go_to(self, index: int) -> Entry:
        """Make an entry of the history the current one.

        Raises:
            ConfigError: there is none of that index.
        """
        if not 0 <= index < len(self.entries):
            raise ConfigError(f"the history has {len(self.entries)} pictures; got number {index + 1}. Choose another")
        self.current = self.entries[index]
        return self.current

    def discover(self, *, model: str, rank: int, level: float, progress: Progress | None = None) -> Discovery:
        """Find directions that nobody named at the current picture; they can be wished for by name afterwards.

        Args:
            rank: how many.
            level: how noisy, in (0, 1): near 1 large changes, towards 0 details.

        Raises:
            LatentEditError: see `local_basis` and `api.discovery.discover`; or the task was stopped.
        """
        picture = self._opened().picture
        with self._task(model, progress) as (backbone, report):
            latent = encode(backbone, picture, caption="")
            basis = local_basis(latent, rank=rank, level=level, progress=report)
            found = discover(basis, progress=report)
        names = zip(file_names(found), found.directions, strict=True)
        self.discovered = [self._keep(name, one.direction) for name, one in names]
        return found

    def add_direction(self, path: Path, *, model: str) -> str:
        """Read a direction's file; the name by which it can be wished for.

        Raises:
            FileFormatError: no direction, or a damaged one.
            ConfigError: a direction of another model.
        """
        return self._keep(path.name, load_direction(path, model=self.models.get(model)))

    def picture_file(self, strength: float | None) -> Download:
        """The current picture as PNG; an edited one with its record and what undoes it."""
        result = self.settle(strength)
        return picture_file(self._opened().picture, result)

    def direction_files(self) -> list[Download]:
        """The directions of the current edit.

        Raises:
            ConfigError: no edit, or one by a method that knows no directions.
        """
        edit = self._opened().edit
        if edit is None or not edit.directions:
            raise ConfigError("there is no direction to save: no edit along one was made. Edit with the method eim")
        return direction_files(edit.directions)

    def record_file(self, strength: float | None) -> Download:
        """The record of the current edit as JSON, and what was measured.

        Raises:
            ConfigError: no edit.
        """
        result = self.settle(strength)
        if result is None:
            raise ConfigError("there is no record: the picture is as it came. Edit it first")
        return record_file(self._opened().picture, result)

    @contextlib.contextmanager
    def _task(self, model: str, progress: Progress | None) -> Generator[tuple[Backbone, Progress]]:
        """The model, and what reports progress with the evaluations so far, while no other task computes."""
        begun = self._stops

        def check() -> None:
            if self._closed:
                raise StoppedError("the page was closed")
            if self._stops != begun:
                raise StoppedError(STOPPED)

        with self.models.working:
            check()
            backbone = self.models.get(model)
            with backbone.count() as count:

                def report(what: str, done: int, total: int) -> None:
                    check()
                    if progress is not None:
                        progress(f"{what}, {count.evaluations} evaluations", done, total)

                yield backbone, report
            check()

    def _way(
        self, session: Session, wanted: Sequence[Wish], method: str | None, report: Progress
    ) -> tuple[dict[str, Direction], Callable[[Sequence[float], Progress | None], list[EditResult]]]:
        """The directions by what was asked for, and what moves the picture to strengths of the whole."""
        texts = [" ".join(wish.text.split()) for wish in wanted]
        changes, strengths = [text for text in texts if text not in self.directions], [w.strength for w in wanted]
        latent, own = session.latent, tuple(strengths) if len(set(strengths)) > 1 else (1.0,)
        if changes:
            target_captions(latent.backbone, latent.captions, to=None, change=changes)  # refuses contradictions
        if len(changes) == len(texts):
            request = EditRequest(change=tuple(changes), method=method, strength=own)
            if type(make_editor(request.method, latent.backbone)) is not EIM:
                return {}, lambda at, told: [rows[0] for rows in session.run(request, at, progress=told)]
        if len(set(texts)) < len(texts):
            raise ConfigError("the same change is asked for twice. Leave one of them out")
        found = {
            text: self.directions[text] if text in self.directions else session.identify(change=text, progress=report)
            for text in texts
        }
        each = tuple(strengths) if len(found) > 1 else (1.0,)
        along = EditRequest(direction=tuple(found.values()), method=method, strength=each)
        return found, lambda at, told: [rows[0] for rows in session.run(along, at, progress=told)]

    def _session_of(self, entry: Entry, backbone: Backbone, caption: str) -> Session:
        """The session of a picture under a caption, kept for the next edit of the same."""
        match self._session:
            case (known, name, said, session) if known is entry.picture and (name, said) == (backbone.name, caption):
                return session
            case _:
                session = Session(guarded(encode(backbone, entry.picture, caption=caption), anyway=self._anyway))
                self._session = (entry.picture, backbone.name, caption, session)
                return session

    def _append(self, entry: Entry) -> None:
        self.entries.append(entry)
        if len(self.entries) > MAX_ENTRIES:
            del self.entries[1]
        self.current = entry

    def _keep(self, name: str, direction: Direction) -> str:
        """Remember a direction under a name of its own."""
        stem = plain_name(Path(name).name.removesuffix(ENDING))
        number, unique = 1, f"{stem}{ENDING}"
        while unique in self.directions:
            number, unique = number + 1, f"{stem}-{number + 1}{ENDING}"
        while len(self.directions) >= _MAX_DIRECTIONS:
            del self.directions[next(iter(self.directions))]
        self.directions[unique] = direction
        return unique

    def _opened(self) -> Entry:
        if self.current is None:
            raise ConfigError("there is no picture yet. Drop one, or take an example")
        return self.current


def _looked_at(backbone: Backbone, picture: Picture) -> tuple[str, tuple[str, ...]]:
    """What a picture shows as far as the model can read it, and what the visitor should know about that."""
    if captioner_for(backbone) is None:
        return "", (f"the model {backbone.name} reads no pictures: say what this one shows",)
    latent = encode(backbone, picture)
    (caption,), (frame,) = latent.captions, latent.frames
    known: str = backbone.defaults.get("knows", "")
    notes = [f"the model {backbone.name} only knows {known}"] if known else []
    notes += backbone.caption_notes([caption])
    notes += [doubt for one in check_familiarity(latent).knowledge for doubt in one.doubts]
    if frame.region is not None:
        left, top, width, height = frame.region
        notes.append(f"the model sees {width} x {height} px of the picture, from {left}, {top}")
    return caption, tuple(notes)


def _payload(content: bytes) -> bytes | None:
    """What undoes the edit that a PNG of ours carries."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "picture.png")
        place.write_bytes(content)
        return read_chunks(place)[1]
