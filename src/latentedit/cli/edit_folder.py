"""``latentedit edit`` on many pictures, those of a folder or of a manifest: a run that can be stopped and goes on."""

import dataclasses
import functools
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from latentedit.cli.model_choice import ModelChoice
from latentedit.cli.run_status import finish
from latentedit.core.errors import ConfigError, OutputError
from latentedit.editing.request import EditRequest
from latentedit_keep.console import print_json, progress_bar, say, typed_command, warn
from latentedit_keep.files import user_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latentedit.api.runs.edits import EditWork
    from latentedit.api.runs.folder import RunFolder
    from latentedit.api.runs.jobs import EditJob
    from latentedit.api.runs.work import Row

BATCH = 8
"""Pictures that are edited together unless told."""

_MANIFESTS = (".csv", ".json", ".yaml", ".yml")


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
        raise ConfigError(f"{' and '.join(named)} cannot be used here: {why}. Leave out what is not meant")


def edit_many(
    place: Path,
    request: EditRequest,
    *,
    choice: ModelChoice,
    output: Path | None,
    batch: int,
    workers: int | None,
    ray: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Edit every picture, or go on where that was stopped; one that cannot be edited is told and left out.

    Raises:
        typer.Exit: with 1 where something could not be edited.
        LatentEditError: whatever stops the whole.
    """
    from latentedit.api.runs.executors import Executor, run_work, suitable_workers
    from latentedit.editing.verbs import read_directions

    executor = Executor(workers=workers, ray=ray)
    if batch < 1:
        raise ConfigError(f"--batch must be 1 or more; got {batch}")
    folder = default_folder(place) if output is None else output
    _check_apart(folder, place)
    pictures = _of_folder(place, request, quiet=quiet) if place.is_dir() else _of_manifest(place, request)
    said = {"caption": request.caption, "target caption": request.to}
    request = read_directions(dataclasses.replace(request, to=None, caption=None))
    from latentedit.api.runs.edits import KIND, PICTURES_KEY, EditWork, Loaded
    from latentedit.api.runs.folder import RunFolder
    from latentedit.editors.registry import default_note

    captioner = request.captioner if isinstance(request.captioner, str) else None
    load = functools.partial(Loaded.by, choice.load, captioner=captioner)
    with progress_bar(quiet=quiet or as_json) as progress:
        loaded = load()
        work = EditWork.of(loaded, pictures, request, batch=batch, captioner=captioner)
        work = dataclasses.replace(work, spec={**work.spec, **said})
        if executor.ray is None and executor.workers is None:
            executor = Executor(workers=suitable_workers(loaded.model.device, len(work.units)))
        if not executor.here:
            work = dataclasses.replace(work, load=load)
        free, command = [PICTURES_KEY], typed_command()
        run = RunFolder.start(folder, work.spec, kind=KIND, units=work.units, command=command, request={}, free=free)
        notes = run_work(run, work, executor=executor, progress=progress)
    rows = run.write_table()
    warn(() if quiet else [*default_note(request.method, loaded.model, instructed=request.instructed), *notes])
    _tell(place, run, work, rows, as_json=as_json, quiet=quiet)
    finish(run)


def default_folder(place: Path) -> Path:
    """Beside a folder or manifest, under its name with another ending.

    Raises:
        ConfigError: a folder that has no name.
    """
    whole = place if place.name not in ("", "..") else place.resolve()
    if not whole.name:
        raise ConfigError(f"{place} has no name that the folder of the run could be called by. Give one with -o")
    return whole.parent / f"{whole.name if whole.is_dir() else whole.stem}.edited"


def _check_apart(folder: Path, place: Path) -> None:
    if user_path(folder, error=OutputError).resolve() == user_path(place).resolve():
        raise OutputError(f"the run and the pictures would be one folder, {folder}. Choose another with -o")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"the output {folder} is a file, and a folder is written. Choose another with -o")


def _of_folder(place: Path, request: EditRequest, *, quiet: bool) -> "list[EditJob]":
    from latentedit.api.runs.jobs import EditJob, foreign_in, named_apart, pictures_in, shown

    request.check_wanted()
    caption, target = (text if isinstance(text, str) else None for text in (request.caption, request.to))
    paths = pictures_in(place)
    if (foreign := foreign_in(place)) and not quiet:
        names, more = ", ".join(foreign[:3]), f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        warn([f"left out, for pictures of their kinds cannot be read: {names}{more}. Save them as PNG or JPEG"])
    return [
        EditJob(id=shown(path), path=path, name=name, caption=caption, target=target)
        for path, name in zip(paths, named_apart(paths), strict=True)
    ]


def _of_manifest(place: Path, request: EditRequest) -> "list[EditJob]":
    from latentedit.api.manifests.items import PictureFile
    from latentedit.api.manifests.manifest import load_manifest
    from latentedit.api.runs.jobs import EditJob, ids_apart

    texts = {"--to": request.to, "--change": request.change, "--direction": request.direction}
    texts |= {"--instruction": request.instruction, "--from": request.caption, "--captioner": request.captioner}
    refuse("a manifest says of each picture what it shows and what it should show", texts)
    items = load_manifest(place).items
    if any(item.mask is not None for item in items):
        raise ConfigError(
            f"{place} has masks, and many pictures are edited without any. Leave the column out, or edit those "
            "pictures one by one with --mask"
        )
    names = ids_apart([item.id for item in items])
    pictures: list[EditJob] = []
    for item, name in zip(items, names, strict=True):
        assert isinstance(item.picture, PictureFile), "what a manifest's pictures are"
        path, said, wanted = item.picture.path, item.source_caption, item.target_caption
        pictures.append(EditJob(id=item.id, path=path, name=name, caption=said, target=wanted))
    return pictures


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
