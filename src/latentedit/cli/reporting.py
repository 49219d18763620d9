"""What commands say of a result: rows on a terminal, JSON for machines."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

    from latentedit.cli.model_choice import ModelChoice
    from latentedit.editing.result import EditResult, Effect


def result_rows(
    result: "EditResult",
    *,
    effect: "Effect",
    origin: str,
    sheet: Path | None,
    view: Path | None = None,
    again: str,
) -> list[tuple[str, str]]:
    """Label and text of everything that a person wants to know about an edit.

    The effect is that in the file, the caption was "read", "given", "instructed" or "not needed", and ``again`` is the
    `replay_command`.
    """
    cost, knowledge = result.cost, result.knowledge
    remedy = "" if effect.rest_psnr_db == result.effect.rest_psnr_db else " (JPEG; write .png to keep it identical)"
    doubtful = knowledge is not None and knowledge.state != "known"
    if origin == "read":
        origin = f"read{', by a reader that was not made for such pictures' if doubtful else ''}; --from to correct"
    guarding = f", {cost.guard_evaluations:g} for the guard" if cost.guard_evaluations else ""
    rows = [
        *([("picture", knowledge.text)] if knowledge is not None and doubtful else []),
        ("caption", f"{result.caption or 'none'} ({origin})"),
        ("target", result.target_caption or "not known in words"),
        ("method", how(result)),
        ("verdict", f"{result.verdict.text}; {effect.rest_text}{remedy}"),
        ("effect", _effect(effect.size_text, result.read_changes)),
        *cross_talk_rows(result.cross_talk),
        (
            "cost",
            (
                f"{cost.evaluations:g} evaluations and {cost.verdict_evaluations:g} for the verdict{guarding}, "
                f"{cost.seconds:.1f} s, {cost.peak_bytes / 1e6:.0f} MB"
            ),
        ),
    ]
    rows += [(name, str(place)) for name, place in (("sheet", sheet), ("view", view)) if place is not None]
    return [*rows, ("again", again)]


def replay_command(
    output: Path,
    *,
    picture: Path,
    choice: "ModelChoice",
    mask: Path | None = None,
    directions: "Sequence[Path]" = (),
    beside: "Sequence[Path]" = (),
) -> str:
    """The command that makes a file again, with the options that it needs.

    A picture is found without being named where it lies beside the file; a bundled model, device and dtype by the
    record.
    """
    from latentedit.models.registry import bundled_names

    options: list[str | Path] = []
    if picture.resolve().parent != output.resolve().parent:
        options += ["--picture", picture]
    for direction in directions:
        options += ["--direction", direction]
    if mask is not None:
        options += ["--mask", mask]
    for other in beside:
        options += ["--beside", other]
    if choice.name in bundled_names():
        choice = dataclasses.replace(choice, model=None)
    options += dataclasses.replace(choice, device=None, dtype=None).arguments()
    return shlex.join(["latentedit", "replay", str(output), *map(str, options)])


def result_json(result: "EditResult", *, effect: "Effect", **about: Any) -> dict[str, Any]:
    """The same for machines."""
    talk = result.cross_talk
    return {
        **about,
        "caption": result.caption,
        "target": result.target_caption,
        "method": result.method,
        "strength": result.strength,
        "verdict": result.verdict,
        "knowledge": result.knowledge,
        "effect": effect,
        "cross_talk": None if talk is None else talk.tolist(),
        "cost": result.cost,
        "notes": result.notes,
        "record": result.record,
    }


def cross_talk_rows(talk: "Float[Tensor, 'k k'] | None", names: "Sequence[str]" = ()) -> list[tuple[str, str]]:
    """One row a direction: how much of each other one comes along with it."""
    if talk is None:
        return []
    size = len(talk)
    labels = list(names) or [str(index + 1) for index in range(size)]
    rows = [("cross-talk", "share of each column's change that comes with each row's: " + ", ".join(labels))]
    return rows + table_rows(talk, labels)


def table_rows(table: "Float[Tensor, 'k k']", labels: "Sequence[str]") -> list[tuple[str, str]]:
    """Numbers with a label in front of each row."""
    return [
        ("", f"{label:<24.24} " + " ".join(f"{value:+.3f}" for value in row))
        for label, row in zip(labels, table.tolist(), strict=True)
    ]


def how(result: "EditResult") -> str:
    """Method and strength; the strength of each direction where several were put together."""
    strengths = result.strengths
    told = ", ".join(f"{strength:.2f}" for strength in strengths)
    return f"{result.method}, strength{'s' if len(strengths) > 1 else ''} {told}"


def _effect(size: str, changes: "Sequence[str] | None") -> str:
    if changes is None:
        return size
    return f"{', '.join(changes) or 'no attribute reads differently'}; {size}"
