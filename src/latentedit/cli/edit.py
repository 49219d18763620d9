"""``latentedit edit``, and checks and reports of results for all commands. Heavy imports are inside the functions."""

import dataclasses
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from latentedit.cli import options
from latentedit.cli.options import ModelChoice, Report, chooses_model, option, refuse
from latentedit.cli.run_status import finish
from latentedit.core.console import typed_command
from latentedit.core.errors import ConfigError, OutputError
from latentedit.core.files import existing, sibling_path, user_path
from latentedit.core.options import MANY, OUTPUT
from latentedit.editing.request import EditRequest

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from latentedit.batch.edits import EditJob
    from latentedit.editing.effect import Effect
    from latentedit.editing.result import EditResult
    from latentedit.encoding.encode import ImageLike
    from latentedit.encoding.images import MaskLike, SourceImage
    from latentedit.encoding.record import RunRecord

_BATCH = 8  # default number of images edited together
_MANIFESTS = (".csv", ".json", ".yaml", ".yml")
_NO_UNDO = "only a .png can be undone; its other pixels stay identical, too"
_FACTS = ("method", "strength", "verdict", "knowledge", "cost", "notes", "record")


@chooses_model
def edit(
    image: Annotated[Path, options.argument("The image to edit, or a folder or manifest of images.", "IMAGE")],
    *,
    request: options.Edit,
    choice: ModelChoice,
    output: Annotated[
        Path | None, options.output("Output file or folder. Default: a new one next to the image.")
    ] = None,
    sheet: Annotated[
        Path | None, option(OUTPUT, "--sheet", help="Also write a sheet: source, result and difference side by side.")
    ] = None,
    view: Annotated[
        Path | None, option(OUTPUT, "--view", help="Also write an HTML page with a slider, a wipe and the difference.")
    ] = None,
    batch: Annotated[
        int | None, option(MANY, "--batch", min=1, help="Batch size; reduced when memory runs out. Default: 8.")
    ] = None,
    workers: options.Workers = None,
    ray: options.Ray = None,
    verbose: options.Verbose = False,
    report: Report,
) -> None:
    """Edit an image, or many, and leave everything else as it is.

    `latentedit undo` restores the original, `latentedit replay` reproduces the result.

    Examples:
        latentedit edit me.png --change "=> glasses"
        latentedit edit me.png --add glasses --strength 0.7 -o glasses.png
        latentedit edit me.png --instruction "add glasses" --model kontext/
        latentedit edit portraits/ --change "=> glasses" -o edited/ --workers 2
    """
    mask, directions, references = request.mask, request.direction, request.references
    if is_many(image):
        refuse("use these with a single image", {"--sheet": sheet, "--view": view, "--mask": mask})
        edit_many(image, request, choice=choice, output=output, batch=batch, workers=workers, ray=ray, report=report)
        return
    refuse("use these with a folder or a manifest", {"--batch": batch, "--workers": workers, "--ray": ray})
    request.check_target()
    output = output if output is not None else sibling_path(image, "edited.png")
    # Cheap checks come first: files and names before the model, the model before the edit.
    from latentedit.editing.verbs import edit_images, read_directions

    opened = open_checked(image, output=output, sheet=sheet, view=view, mask=mask, references=references)
    request = read_directions(request)
    with report.progress() as progress:
        (result,) = edit_images(choice.load(), [opened], request, progress=progress)
    replaced = existing(output, sheet, view)
    result.save(output, sheet=sheet, view=view)
    effect = result.effect_in(output)
    report.warn(result.notes, replaced)
    read = "captioned" if result.caption else "not needed"
    origin = "instructed" if result.record.instructed else read if request.source_prompt is None else "given"
    files = {"image": image, "output": output, "sheet": sheet, "view": view}
    about = {"seed": request.seed, "caption_origin": origin, "directions": directions}
    rows = result_rows(result, output=output, sheet=sheet, view=view)
    if verbose:
        used: dict[str, Any] = {"mask": mask, "directions": directions, "references": references}
        again = replay_command(output, image=image, choice=choice, **used)
        rows += detail_rows(result, effect=effect, origin=origin, again=again)
    report.result(result_json(result, effect=effect, **files, **about), f"{image} -> {output}", rows)


def is_many(path: Path) -> bool:
    """Whether a path is a folder or a manifest rather than an image."""
    try:
        return path.suffix.lower() in _MANIFESTS or path.is_dir()
    except OSError:  # a name that no file can have
        return False


def edit_many(
    source: Path,
    request: EditRequest,
    *,
    choice: ModelChoice,
    output: Path | None,
    batch: int | None,
    workers: int | None,
    ray: str | None,
    report: Report,
) -> None:
    """Edit every image, or resume; images that cannot be edited are reported, and the exit code is 1."""
    from latentedit.batch.executors import Executor, run_work, suitable_workers

    executor = Executor(workers=workers, ray=ray)
    folder = default_folder(source) if output is None else output
    if user_path(folder, error=OutputError).resolve() == user_path(source).resolve():
        raise OutputError(f"the run and the images would be one folder, {folder}. Choose another with -o")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"the output {folder} is a file, and a folder is written. Choose another with -o")
    jobs = _of_folder(source, request) if source.is_dir() else _of_manifest(source, request)
    from latentedit.batch.edits import IMAGES, KIND, EditWork
    from latentedit.batch.folder import TABLE, RunFolder
    from latentedit.editing.verbs import read_directions
    from latentedit.editors.base import default_note
    from latentedit.encoding.captions.base import make_captioner

    request = read_directions(request)
    with report.progress() as progress:
        model = choice.load()
        captioner = request.captioner
        if isinstance(captioner, str):  # an unknown one is refused before the run has a folder
            captioner = make_captioner(captioner, model)
        work = EditWork.of(model, jobs, request, batch=batch or _BATCH)
        if executor.ray is None and executor.workers is None:
            executor = Executor(workers=suitable_workers(model.device, len(work.units)))
        if executor.here:
            work = dataclasses.replace(work, request=dataclasses.replace(request, captioner=captioner))
        else:
            work = dataclasses.replace(work, load=choice.load)
        run = RunFolder.start(folder, work.spec, kind=KIND, units=work.units, command=typed_command(), request={})
        run_work(run, work, executor=executor, progress=progress)
    rows = run.write_table()
    report.warn(default_note(request.method, model, instructed=request.instructed))
    verdicts, failures = Counter[str](row["verdict"] for row in rows), run.failures()
    counts = ", ".join(f"{count} {word}" for word, count in sorted(verdicts.items()))
    edited = f"{len(rows)} edited ({counts})" if counts else "none edited"
    facts = {"folder": run.path, "images": sum(map(len, work.batches.values())), "edited": len(rows)}
    facts |= {"verdicts": verdicts, "failures": failures}
    where = f"{edited}, {len(failures)} failed; rows in {run.path / TABLE}"
    report.result(facts, f"{source} -> {run.path / IMAGES}: {where}")
    finish(run)


def default_folder(source: Path) -> Path:
    """Next to a folder or manifest, under its name with ".edited"."""
    source = source if source.name not in ("", "..") else source.resolve()
    if not source.name:
        raise ConfigError(f"the folder of the run cannot be named after {source}. Give one with -o")
    return source.parent / f"{source.name if source.is_dir() else source.stem}.edited"


def _of_folder(source: Path, request: EditRequest) -> "list[EditJob]":
    from latentedit.batch.edits import EditJob, images_in, stems_of

    request.check_target()
    paths = images_in(source)
    return [
        EditJob(id=os.fsencode(path.name).decode("utf-8", "replace"), path=path, name=name)
        for path, name in zip(paths, stems_of(paths), strict=True)
    ]


def _of_manifest(source: Path, request: EditRequest) -> "list[EditJob]":
    from latentedit.batch.edits import EditJob, unique_names
    from latentedit.batch.manifest import EditRow, load_manifest

    names = ("prompt", "change", "direction", "instruction", "source_prompt", "captioner")
    texts = {f"--{name.replace('_', '-')}": getattr(request, name) for name in names}
    refuse("a manifest says of each image what it shows and what it should show", texts)
    rows = load_manifest(source, EditRow)
    if any(row.mask for row in rows):
        raise ConfigError(f"{source} has masks, which many images cannot have. Edit those one by one with --mask")
    return [
        EditJob(id=row.id, path=row.image, name=name, caption=row.source_caption, target=row.target_caption)
        for row, name in zip(rows, unique_names(row.id for row in rows), strict=True)
    ]


def result_rows(
    result: "EditResult", *, output: Path, sheet: Path | None = None, view: Path | None = None
) -> list[tuple[str, str]]:
    """The change, how much of it was made, the files, and how to undo it."""
    files = [(name, str(path)) for name, path in (("sheet", sheet), ("view", view)) if path is not None]
    undo = shlex.join(["latentedit", "undo", str(output)]) if output.suffix.lower() == ".png" else _NO_UNDO
    rows = [("change", f"{result.change_text}, {result.strength_text}"), ("verdict", result.verdict.text)]
    if result.knowledge is not None and result.knowledge.state != "known":  # a warning says so
        rows.append(("caption", f"{result.caption}; if that is wrong, correct it with --source-prompt"))
    return [*rows, *files, ("undo", undo)]


def detail_rows(
    result: "EditResult",
    *,
    effect: "Effect",
    origin: Literal["captioned", "given", "instructed", "not needed"],
    again: str,
) -> list[tuple[str, str]]:
    """The captions, the effect on the written file, and what the edit cost."""
    cost = result.cost
    spent = [f"{cost.evaluations:g} evaluations", f"{cost.verdict_evaluations:g} to judge the result"]
    spent += [f"{cost.guard_evaluations:g} to check the image", f"{cost.seconds:.1f} s, {cost.peak_bytes / 1e6:.0f} MB"]
    return [
        ("caption", f"{result.caption or 'none'} ({origin})"),
        ("target", result.target_caption or "no caption"),
        *completed_rows(result),
        ("method", result.method),
        ("effect", "; ".join([*(result.read_changes or ()), effect.size_text, effect.rest_text])),
        *cross_talk_rows(result.cross_talk),
        ("cost", ", ".join(part for part in spent if not part.startswith("0 "))),
        ("again", again),
    ]


def completed_rows(result: "EditResult") -> list[tuple[str, str]]:
    """A line that names the captioner's additions to the captions."""
    added = () if result.completion is None else result.completion.added
    return [("completed", f"from the image: {', '.join(added)}")] if added else []


def replay_command(
    output: Path,
    *,
    image: Path,
    choice: ModelChoice,
    mask: "MaskLike | None" = None,
    directions: Sequence[object] = (),
    references: Sequence[object] = (),
) -> str:
    """The command that reproduces a file; an original next to it and a bundled model need no option."""
    from latentedit.models.registry import bundled_names

    apart = image.resolve().parent != output.resolve().parent
    files = {
        "--image": [image] if apart else [],
        "--direction": directions,
        "--mask": [] if mask is None else [mask],
        "--reference": references,
    }
    options = [word for name, paths in files.items() for path in paths for word in (name, str(path))]
    model = None if choice.name in bundled_names() else choice.model
    options += dataclasses.replace(choice, model=model, device=None, dtype=None).arguments()
    return shlex.join(["latentedit", "replay", str(output), *options])


def result_json(result: "EditResult", *, effect: "Effect", **about: Any) -> dict[str, Any]:
    """The report as JSON."""
    talk = result.cross_talk
    return {
        **about,
        "caption": result.caption,
        "target": result.target_caption,
        "completion": result.completion,
        "effect": effect,
        "cross_talk": None if talk is None else talk.tolist(),
        **{name: getattr(result, name) for name in _FACTS},
    }


def cross_talk_rows(talk: "Float[Tensor, 'k k'] | None", names: Sequence[str] = ()) -> list[tuple[str, str]]:
    """One row per direction: how much of every other change comes with it."""
    if talk is None:
        return []
    labels = list(names) or [str(index + 1) for index in range(len(talk))]
    rows = [("cross-talk", "share of each column's change that comes with each row: " + ", ".join(labels))]
    return rows + table_rows(talk, labels)


def table_rows(table: "Float[Tensor, 'k k']", labels: Sequence[str]) -> list[tuple[str, str]]:
    """A matrix with a label before each row."""
    return [
        ("", f"{label:<24.24} " + " ".join(f"{value:+.3f}" for value in row))
        for label, row in zip(labels, table.tolist(), strict=True)
    ]


def open_checked(
    image: Path,
    *,
    output: Path,
    sheet: Path | None = None,
    view: Path | None = None,
    mask: "MaskLike | None" = None,
    references: "Sequence[ImageLike]" = (),
    sweep: bool = False,
) -> "SourceImage":
    """Open the image, after checking that every other input can be read and every output written."""
    from latentedit.encoding.images import SourceImage, open_mask
    from latentedit.viewer.page import check_page

    opened = SourceImage.open(image)
    if mask is not None:
        open_mask(mask, opened.size)
    others = [item for item in references if isinstance(item, Path)]
    for other in others:
        SourceImage.open(other)
    read = [image, *others, *([mask] if isinstance(mask, Path) else [])]
    check_written(output, inputs=read, sweep=sweep, transparent=opened.image.mode == "RGBA")
    if sheet is not None:
        check_written(sheet, inputs=read)
    if view is not None:
        for source in read:
            check_page(view, source=source)
    if sheet is not None and _files(output) & _files(sheet):
        raise OutputError(
            f"--output and --sheet, or their JSON files, would be the same file; got {sheet} for the second. Choose "
            "another --sheet"
        )
    return opened


def check_written(output: Path, *, inputs: Sequence[Path], sweep: bool = False, transparent: bool = False) -> None:
    """Refuse a result that cannot be written, with its JSON file, or would replace an input."""
    from latentedit.editing.outputs import check_json_path
    from latentedit.encoding.images import check_output
    from latentedit.viewer.page import check_page

    for source in inputs:
        if sweep:
            check_page(output, source=source, sheets=True)
        else:
            check_output(output, source=source, transparent=transparent)
    check_json_path(output)


def _files(output: Path) -> set[Path]:
    """An output and its JSON file."""
    from latentedit.editing.outputs import json_path

    return {output.resolve(), json_path(output).resolve()}


def recorded_model(record: "RunRecord", choice: ModelChoice) -> ModelChoice:
    """The chosen model, or the record's if it is bundled: a file must not trigger a download."""
    from latentedit.models.registry import bundled_names

    if choice.model is None and record.model.name not in bundled_names():
        raise ConfigError(f"the record names {record.model.name!r}, which is not a bundled model. Give it with --model")
    return choice if choice.model is not None else dataclasses.replace(choice, model=record.model.name)
