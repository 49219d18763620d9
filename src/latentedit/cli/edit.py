"""``latentedit edit``: one picture, one change. What is heavy is imported when the command runs."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli.console import Debug, Device, Json, Model, Quiet, Seed, print_json, print_rows, progress_bar, warn
from latentedit.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from latentedit.editing.result import EditResult
    from latentedit.editing.verdict import Verdict


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What was asked for, checked."""

    picture: Path
    output: Path
    sheet: Path | None
    target: str
    caption: str | None


def edit(
    picture: Annotated[Path, typer.Argument(help="The picture to edit.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="What the picture should show: a full caption.", show_default=False)],
    source: Annotated[
        str | None, typer.Option("--from", help="What it shows now; read from the picture if not given.")
    ] = None,
    strength: Annotated[float, typer.Option("--strength", help="How much: 0 is the picture itself, 1 all.")] = 1.0,
    method: Annotated[str, typer.Option("--method", help="The editor.")] = "eim",
    model: Model = "portraits",
    seed: Seed = 0,
    device: Device = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the result goes; PICTURE.edited.png if not given.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Also write source, edited and difference side by side.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Edit a picture: from what it shows to what you ask for, and nothing else."""
    del debug
    request = _check(picture, to=to, caption=source, strength=strength, output=output, sheet=sheet)
    # Cheap checks first: the picture and the names before the model, the model before the work.
    from latentedit.editing.registry import editor_class
    from latentedit.editing.verbs import edit as edit_picture
    from latentedit.editing.verbs import load
    from latentedit.encoding.images import Picture, check_output

    opened = Picture.open(picture)
    for place in (request.output, request.sheet):
        if place is not None:
            transparent = opened.image.mode == "RGBA" and place == request.output
            check_output(place, source=picture, transparent=transparent)
    editor_class(method)
    with progress_bar(quiet=quiet or as_json) as progress:
        result = edit_picture(
            load(model, device=device),
            opened,
            to=request.target,
            caption=request.caption,
            strength=strength,
            method=method,
            seed=seed,
            progress=progress,
        )
    assert not isinstance(result, list), "one picture gives one result"
    _write(request, result)
    warn(() if quiet else result.notes)
    if as_json:
        print_json(_as_json(request, result, seed))
    elif not quiet:
        print(f"{request.picture} -> {request.output}")
        print_rows(_as_rows(request, result))


def _check(
    picture: Path, *, to: str, caption: str | None, strength: float, output: Path | None, sheet: Path | None
) -> _Request:
    """Refuse what can be refused without opening anything."""
    if not math.isfinite(strength):
        raise ConfigError(f"expected --strength to be a finite number; got {strength}. Try 1.0")
    for option, text in (("--to", to), ("--from", caption)):
        if text is not None and not text.strip():
            raise ConfigError(f"expected {option} to say what the picture shows; got an empty caption. Write one")
    output = output if output is not None else picture.with_name(f"{picture.stem}.edited.png")
    if sheet is not None and sheet.resolve() == output.resolve():
        raise OutputError(f"expected two places for picture and sheet; got {sheet} for both. Choose another --sheet")
    return _Request(picture=picture, output=output, sheet=sheet, target=to.strip(), caption=caption)


def _write(request: _Request, result: "EditResult") -> None:
    """Picture and sheet, or neither."""
    from latentedit.editing.sheet import draw_sheet
    from latentedit.encoding.images import save_image

    save_image(result.image, request.output)
    if request.sheet is None:
        return
    try:
        title = f"{request.picture.name}: {_change(result.caption, result.target_caption)}"
        lines = (f"from: {result.caption}", f"to: {result.target_caption}", f"{_how(result)}: {_effect(result)}")
        save_image(draw_sheet(result.source, result.image, title=title, lines=lines), request.sheet)
    except BaseException:
        request.output.unlink(missing_ok=True)
        raise


def _as_rows(request: _Request, result: "EditResult") -> list[tuple[str, str]]:
    origin = "read; --from to correct" if request.caption is None else "given"
    cost = result.cost
    rows = [
        ("caption", f"{result.caption} ({origin})"),
        ("target", result.target_caption),
        ("method", _how(result)),
        ("verdict", f"{verdict_text(result.verdict)}; {_rest(result)}"),
        ("effect", _effect(result)),
        (
            "cost",
            (
                f"{cost.evaluations:g} evaluations and {cost.verdict_evaluations:g} for the verdict, "
                f"{cost.seconds:.1f} s, {cost.peak_bytes / 1e6:.0f} MB"
            ),
        ),
    ]
    return rows if request.sheet is None else [*rows, ("sheet", str(request.sheet))]


def _change(caption: str, target: str) -> str:
    """The phrases that only the target has; the whole target where captions share no phrase."""
    from latentedit.directions.text import changed_phrases

    return ", ".join(changed_phrases(caption, target)[1]) or "nothing asked to change"


def _how(result: "EditResult") -> str:
    measured = "" if result.measured_strength is None else f", measured {result.measured_strength:.2f}"
    return f"{result.method}, strength {result.strength:.2f}{measured}"


def verdict_text(verdict: "Verdict") -> str:
    """The verdict as one clause: the word, why, and what to do."""
    remedy = f" ({verdict.remedy})" if verdict.remedy else ""
    return f"{verdict.word}: {verdict.reason}{remedy}"


def _effect(result: "EditResult") -> str:
    effect = result.effect
    size = f"{100 * effect.changed_share:.1f} % of the pixels changed, by {100 * effect.change_rms:.0f} % of full scale"
    changes = _read_changes(result)
    if changes is None:
        return size
    return f"{', '.join(changes) or 'no attribute reads differently'}; {size}"


def _rest(result: "EditResult") -> str:
    psnr = result.effect.rest_psnr_db
    return "every other pixel as it was" if math.isinf(psnr) else f"the rest of the picture agrees to {psnr:.0f} dB"


def _read_changes(result: "EditResult") -> list[str] | None:
    """What a reader says differs; None where the model has no reader."""
    before, after = result.effect.read_before, result.effect.read_after
    if before is None or after is None:
        return None
    return [f"{name} {before[name]} -> {after[name]}" for name in before if before[name] != after.get(name)]


def _as_json(request: _Request, result: "EditResult", seed: int) -> dict[str, Any]:
    return {
        "picture": request.picture,
        "output": request.output,
        "sheet": request.sheet,
        "caption": result.caption,
        "caption_origin": "read" if request.caption is None else "given",
        "target": result.target_caption,
        "method": result.method,
        "strength": result.strength,
        "seed": seed,
        "measured_strength": result.measured_strength,
        "verdict": result.verdict,
        "effect": result.effect,
        "cost": result.cost,
        "notes": result.notes,
        "record": result.record,
    }
