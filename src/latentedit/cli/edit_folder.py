"""``latentedit edit`` on many pictures, those of a folder or of a manifest: a run that can be stopped and goes on."""

import dataclasses
import functools
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from latentedit.cli.console import print_json, progress_bar, say, typed_command, warn
from latentedit.cli.request import Wanted, check_strengths, check_wanted
from latentedit.cli.run_status import finish
from latentedit.core.errors import ConfigError, OutputError
from latentedit.core.files.reading import user_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latentedit.api.runs.asked import Asked
    from latentedit.api.runs.edits import EditWork
    from latentedit.api.runs.folder import RunFolder
    from latentedit.api.runs.jobs import EditJob
    from latentedit.api.runs.work import Row

BATCH = 8
"""Pictures that are edited together unless told."""

_MANIFESTS = (".csv", ".json", ".yaml", ".yml")

_NONE = Wanted(to=None, changes=(), caption=None)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The options that say what is wanted and how, for one picture or many, as they were typed.

    Args:
        to: a full caption.
        changes: instead of that.
        directions: instead of both, files.
        source: what is shown now.
        captioner: executor reads that.
        strengths: one or several.
        method: the editor's name.
        mixing: of several changes.
        local: keep the change to where it is strong.
        seed: of every random number.
    """

    to: str | None
    changes: "Sequence[str] | None"
    directions: "Sequence[Path] | None"
    source: str | None
    captioner: str | None
    strengths: "Sequence[float] | None"
    method: str
    mixing: str
    local: bool | None
    seed: int

    def wanted(self) -> Wanted:
        """What a picture should show.

        Raises:
            ConfigError: see `check_wanted` and `check_strengths`.
        """
        wanted = check_wanted(self.to, self.changes, self.source, self.directions or ())
        self._strengths(wanted)
        return wanted

    def asked(self, wanted: Wanted) -> "Asked":
        """The same with directions read, and names checked.

        Raises:
            LatentEditError: an unknown method or mixing, a file that is no direction, or what does not go together.
        """
        from latentedit.api.runs.asked import Asked
        from latentedit.directions.composition import check_mixing
        from latentedit.directions.direction_file import load_direction
        from latentedit.editors.registry import editor_class

        editor_class(self.method)
        return Asked(
            changes=wanted.changes,
            directions=tuple(load_direction(file) for file in wanted.directions),
            strengths=self._strengths(wanted),
            method=self.method,
            mixing=check_mixing(self.mixing),
            local=self.local,
            seed=self.seed,
        )

    def _strengths(self, wanted: Wanted) -> tuple[float, ...]:
        return tuple(check_strengths(self.strengths, max(1, len(wanted.changes), len(wanted.directions))))


def is_many(path: Path) -> bool:
    """A folder or a manifest, and no picture."""
    try:
        return path.suffix.lower() in _MANIFESTS or path.is_dir()
    except OSError:  # a name that no file can have
        return False


def refuse(why: str, given: "Mapping[str, object]") -> None:
    """Refuse options that make no sense where they were given.

    Args:
        why: what they would need, or what is there already.
        given: option to value; None, or nothing in it, where it was not given.

    Raises:
        ConfigError: naming those that were given.
    """
    named = [option for option, value in given.items() if value not in (None, (), [])]
    if named:
        raise ConfigError(f"expected no {' and no '.join(named)}: {why}. Leave out what is not meant")


def edit_many(
    place: Path,
    typed: Typed,
    *,
    model: str,
    device: str | None,
    output: Path | None,
    batch: int,
    workers: int | None,
    ray: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Edit every picture, or go on where that was stopped; one that cannot be edited is told and left out.

    Args:
        place: the folder or manifest.
        typed: what is wanted.
        model: its name.
        device: where it runs.
        output: the folder of the run; beside the pictures by default.
        batch: pictures that are edited together.
        workers: processes; see `api.runs.executors.Executor`.
        ray: address of a cluster; likewise.
        as_json: print one JSON object instead of text.
        quiet: print nothing but errors.

    Raises:
        typer.Exit: with 1 where something could not be edited.
        LatentEditError: whatever stops the whole.
    """
    from latentedit.api.runs.executors import Executor, run_work, suitable_workers

    executor = Executor(workers=workers, ray=ray)
    if batch < 1:
        raise ConfigError(f"expected --batch to be 1 or more; got {batch}")
    folder = default_folder(place) if output is None else output
    _check_apart(folder, place)
    pictures, wanted = _of_folder(place, typed) if place.is_dir() else _of_manifest(place, typed)
    asked = typed.asked(wanted)
    from latentedit.api.runs.edits import KIND, PICTURES_KEY, EditWork, Loaded
    from latentedit.api.runs.folder import RunFolder

    load = functools.partial(Loaded.named, model, device=device, captioner=typed.captioner)
    with progress_bar(quiet=quiet or as_json) as progress:
        loaded = load()
        work = EditWork.of(loaded, pictures, asked, batch=batch, captioner=typed.captioner)
        if executor.ray is None and executor.workers is None:
            executor = Executor(workers=suitable_workers(loaded.model.device, len(work.units)))
        if not executor.here:
            work = dataclasses.replace(work, load=load)
        free, command = [PICTURES_KEY], typed_command()
        run = RunFolder.start(folder, work.spec, kind=KIND, units=work.units, command=command, request={}, free=free)
        notes = run_work(run, work, executor=executor, progress=progress)
    rows = run.write_table()
    warn(() if quiet else notes)
    _tell(place, run, work, rows, as_json=as_json, quiet=quiet)
    finish(run)


def default_folder(place: Path) -> Path:
    """Beside a folder or manifest, under its name with another ending.

    Raises:
        ConfigError: a folder that has no name.
    """
    whole = place if place.name not in ("", "..") else place.resolve()
    if not whole.name:
        raise ConfigError(
            f"expected a name for the folder of the run, for {place} has none; got none. Give one with -o"
        )
    return whole.parent / f"{whole.name if whole.is_dir() else whole.stem}.edited"


def _check_apart(folder: Path, place: Path) -> None:
    if user_path(folder, error=OutputError).resolve() == user_path(place).resolve():
        raise OutputError(f"expected a folder of its own for the run; got {folder} for both. Choose another with -o")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"expected the output {folder} to be a folder; it is a file. Choose another with -o")


def _of_folder(place: Path, typed: Typed) -> "tuple[list[EditJob], Wanted]":
    from latentedit.api.runs.jobs import EditJob, named_apart, pictures_in, shown

    wanted = typed.wanted()
    paths = pictures_in(place)
    return [
        EditJob(id=shown(path), path=path, name=name, caption=wanted.caption, target=wanted.to)
        for path, name in zip(paths, named_apart(paths), strict=True)
    ], wanted


def _of_manifest(place: Path, typed: Typed) -> "tuple[list[EditJob], Wanted]":
    from latentedit.api.manifests.items import PictureFile
    from latentedit.api.manifests.manifest import load_manifest
    from latentedit.api.runs.jobs import EditJob, ids_apart

    texts = {"--to": typed.to, "--change": typed.changes, "--direction": typed.directions}
    texts |= {"--from": typed.source, "--captioner": typed.captioner}
    refuse("a manifest says of each picture what it shows and what it should show", texts)
    items = load_manifest(place).items
    if any(item.mask is not None for item in items):
        raise ConfigError(
            f"expected a manifest without masks; {place} has some, and many pictures are edited without any. Leave the "
            "column out, or edit those pictures one by one with --mask"
        )
    names = ids_apart([item.id for item in items])
    pictures: list[EditJob] = []
    for item, name in zip(items, names, strict=True):
        assert isinstance(item.picture, PictureFile), "what a manifest's pictures are"
        path, said, wanted = item.picture.path, item.source_caption, item.target_caption
        pictures.append(EditJob(id=item.id, path=path, name=name, caption=said, target=wanted))
    return pictures, _NONE


def _tell(
    place: Path, run: "RunFolder", work: "EditWork", rows: "Sequence[Row]", *, as_json: bool, quiet: bool
) -> None:
    """How many were edited, with which verdicts, how many failed, and where they are."""
    from latentedit.api.runs.folder import TABLE
    from latentedit.api.runs.jobs import PICTURES

    failures = run.failures()
    verdicts = Counter[str](row["verdict"] for row in rows)
    if as_json:
        print_json(
            {
                "folder": run.path,
                "pictures": sum(map(len, work.batches.values())),
                "edited": len(rows),
                "verdicts": verdicts,
                "failures": failures,
            }
        )
    elif not quiet:
        counts = ", ".join(f"{count} {word}" for word, count in sorted(verdicts.items()))
        edited = f"{len(rows)} edited ({counts})" if counts else "none edited"
        say(f"{place} -> {run.path / PICTURES}: {edited}, {len(failures)} failed; rows in {run.path / TABLE}")
