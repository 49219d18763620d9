"""Reports of a result: rows for the terminal, JSON for programs."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

    from latentedit.cli.model_choice import ModelChoice
    from latentedit.editing.result import EditResult, Effect

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
    strengths = ", ".join(f"{strength:.2f}" for strength in result.strengths)
    guarding = f", {cost.guard_evaluations:g} for the guard" if cost.guard_evaluations else ""
    spent = f"{cost.evaluations:g} evaluations and {cost.verdict_evaluations:g} for the verdict{guarding}"
    rows = [
        *([("picture", knowledge.text)] if knowledge is not None and doubtful else []),
        ("caption", f"{result.caption or 'none'} ({how_captioned})"),
        ("target", result.target_caption or "no caption"),
        ("method", f"{result.method}, strength{'s' if len(result.strengths) > 1 else ''} {strengths}"),
        ("verdict", f"{result.verdict.text}; {effect.rest_text}{remedy}"),
        ("effect", size),
        *cross_talk_rows(result.cross_talk),
        ("cost", f"{spent}, {cost.seconds:.1f} s, {cost.peak_bytes / 1e6:.0f} MB"),
    ]
    rows += [(name, str(path)) for name, path in (("sheet", sheet), ("view", view)) if path is not None]
    return [*rows, ("again", again)]


def replay_command(
    output: Path,
    *,
    picture: Path,
    choice: "ModelChoice",
    mask: Path | None = None,
    directions: "Sequence[Path]" = (),
    references: "Sequence[Path]" = (),
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
        "effect": effect,
        "cross_talk": None if talk is None else talk.tolist(),
        **{name: getattr(result, name) for name in _FACTS},
    }


def cross_talk_rows(talk: "Float[Tensor, 'k k'] | None", names: "Sequence[str]" = ()) -> list[tuple[str, str]]:
    """One row per direction: how much of every other change comes with it."""
    if talk is None:
        return []
    labels = list(names) or [str(index + 1) for index in range(len(talk))]
    rows = [("cross-talk", "share of each column's change that comes with each row: " + ", ".join(labels))]
    return rows + table_rows(talk, labels)


def table_rows(table: "Float[Tensor, 'k k']", labels: "Sequence[str]") -> list[tuple[str, str]]:
    """A matrix with a label before each row."""
    return [
        ("", f"{label:<24.24} " + " ".join(f"{value:+.3f}" for value in row))
        for label, row in zip(labels, table.tolist(), strict=True)
    ]
