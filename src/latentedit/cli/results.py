"""Results of commands: checks that they can be written, and reports as rows for the terminal and JSON for programs."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from latentedit.core.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from latentedit.cli.options import ModelChoice
    from latentedit.editing.result import EditResult, Effect
    from latentedit.latents.encode import PictureLike
    from latentedit.latents.pictures import MaskLike, Picture
    from latentedit.latents.record import RunRecord

_FACTS = ("method", "strength", "verdict", "knowledge", "cost", "notes", "record")


def result_rows(
    result: "EditResult",
    *,
    effect: "Effect",
    origin: Literal["captioned", "given", "instructed", "not needed"],
    sheet: Path | None,
    view: Path | None = None,
    again: str,
) -> list[tuple[str, str]]:
    """Labels and texts that describe an edit, with the effect measured on the written file."""
    cost, knowledge = result.cost, result.knowledge
    size, changes = effect.size_text, result.read_changes
    if changes is not None:
        size = f"{', '.join(changes) or 'no attribute changed'}; {size}"
    remedy = "" if effect.rest_psnr_db == result.effect.rest_psnr_db else " (JPEG; write a .png to keep it identical)"
    doubtful = knowledge is not None and knowledge.state != "known"
    how_captioned: str = origin
    if origin == "captioned":
        unsuited = ", by a captioner not trained on such images" if doubtful else ""
        how_captioned = f"captioned{unsuited}; correct it with --source-prompt"
    elif completed_rows(result):
        how_captioned = f"{origin}, completed"
    strengths = ", ".join(f"{strength:.2f}" for strength in result.strengths)
    guarding = f", {cost.guard_evaluations:g} for the guard" if cost.guard_evaluations else ""
    spent = f"{cost.evaluations:g} evaluations and {cost.verdict_evaluations:g} for the verdict{guarding}"
    rows = [
        *([("picture", knowledge.text)] if knowledge is not None and doubtful else []),
        ("caption", f"{result.caption or 'none'} ({how_captioned})"),
        ("target", result.target_caption or "no caption"),
        *completed_rows(result),
        ("method", f"{result.method}, strength{'s' if len(result.strengths) > 1 else ''} {strengths}"),
        ("verdict", f"{result.verdict.text}; {effect.rest_text}{remedy}"),
        ("effect", size),
        *cross_talk_rows(result.cross_talk),
        ("cost", f"{spent}, {cost.seconds:.1f} s, {cost.peak_bytes / 1e6:.0f} MB"),
    ]
    rows += [(name, str(path)) for name, path in (("sheet", sheet), ("view", view)) if path is not None]
    return [*rows, ("again", again)]


def completed_rows(result: "EditResult") -> list[tuple[str, str]]:
    """What the captioner added to the captions."""
    added = () if result.completion is None else result.completion.added
    return [("completed", f"from the image: {', '.join(added)}")] if added else []


def replay_command(
    output: Path,
    *,
    picture: Path,
    choice: "ModelChoice",
    mask: "MaskLike | None" = None,
    directions: Sequence[object] = (),
    references: Sequence[object] = (),
) -> str:
    """The command that reproduces a file; an original next to it and a bundled model need no option."""
    from latentedit.models.registry import bundled_names

    apart = picture.resolve().parent != output.resolve().parent
    files = {
        "--picture": [picture] if apart else [],
        "--direction": directions,
        "--mask": [] if mask is None else [mask],
        "--reference": references,
    }
    options = [word for name, paths in files.items() for path in paths for word in (name, str(path))]
    if choice.name in bundled_names():
        choice = dataclasses.replace(choice, model=None)
    options += dataclasses.replace(choice, device=None, dtype=None).arguments()
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
    picture: Path,
    *,
    output: Path,
    sheet: Path | None = None,
    view: Path | None = None,
    mask: "MaskLike | None" = None,
    references: "Sequence[PictureLike]" = (),
    sweep: bool = False,
) -> "Picture":
    """Open the image, after checking that every other input can be read and every output written."""
    from latentedit.display.page import check_page
    from latentedit.latents.pictures import Picture, open_mask

    opened = Picture.open(picture)
    if mask is not None:
        open_mask(mask, opened.size)
    others = [item for item in references if isinstance(item, Path)]
    for other in others:
        Picture.open(other)
    read = [picture, *others, *([mask] if isinstance(mask, Path) else [])]
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
    from latentedit.display.page import check_page
    from latentedit.editing.outputs import check_json_path
    from latentedit.latents.pictures import check_output

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


def recorded_model(record: "RunRecord", choice: "ModelChoice") -> "ModelChoice":
    """The chosen model, or the record's if it is bundled: a file must not trigger a download."""
    from latentedit.models.registry import bundled_names

    if choice.model is None and record.model.name not in bundled_names():
        raise ConfigError(f"the record names {record.model.name!r}, which is not a bundled model. Give it with --model")
    return choice if choice.model is not None else dataclasses.replace(choice, model=record.model.name)
