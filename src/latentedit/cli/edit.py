"""``latentedit edit``: one picture, one change or several. What is heavy is imported when the command runs."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentedit.cli.console import (
    Changes,
    Debug,
    Device,
    Directions,
    From,
    Json,
    Local,
    Mask,
    Mixing,
    Model,
    Output,
    Quiet,
    Reader,
    Seed,
    Strengths,
    To,
    print_json,
    print_rows,
    progress_bar,
    warn,
)
from latentedit.cli.reporting import replay_command, result_json, result_rows
from latentedit.cli.request import Wanted, check_strengths, check_wanted, default_output, open_checked
from latentedit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentedit.backbones.base import Backbone
    from latentedit.directions.composition import Mixing as MixingName
    from latentedit.editing.result import EditResult
    from latentedit.encoding.images import Picture
    from latentedit.types import Progress


def edit(
    picture: Annotated[Path, typer.Argument(help="The picture to edit.", show_default=False)],
    to: To = None,
    change: Changes = None,
    direction: Directions = None,
    source: From = None,
    captioner: Reader = None,
    mask: Mask = None,
    strength: Strengths = None,
    method: Annotated[str, typer.Option("--method", help="The editor.")] = "eim",
    mixing: Mixing = "sum",
    local: Local = None,
    model: Model = "portraits",
    seed: Seed = 0,
    device: Device = None,
    output: Output = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Also write source, edited and difference side by side.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Edit a picture: from what it shows to what you ask for, and nothing else."""
    del debug
    wanted = check_wanted(to, change, source, direction or ())
    strengths = check_strengths(strength, max(1, len(wanted.changes), len(wanted.directions)))
    output = output if output is not None else default_output(picture, "edited.png")
    # Cheap checks first: the picture and the names before the model, the model before the work.
    from latentedit.directions.composition import check_mixing
    from latentedit.editing.outputs import write_result
    from latentedit.editing.verbs import load

    opened = open_checked(picture, output=output, sheet=sheet, mask=mask)
    _check_method(method, wanted.directions)
    mixed = check_mixing(mixing)
    asked = _Asked(picture=opened, wanted=wanted, captioner=captioner, mask=mask, local=local, seed=seed)
    with progress_bar(quiet=quiet or as_json) as progress:
        backbone = load(model, device=device)
        if wanted.directions or (len(wanted.changes) > 1 and method == "eim"):
            result = _compose(backbone, asked, progress, strengths=strengths, mixing=mixed)
        else:
            result = _edit(backbone, asked, progress, strengths=strengths, method=method)
    write_result(result, output, sheet=sheet)
    warn(() if quiet else result.notes)
    origin, files = "read" if source is None else "given", wanted.directions
    if as_json:
        about = {"picture": picture, "output": output, "sheet": sheet, "seed": seed, "caption_origin": origin}
        print_json(result_json(result, **about, directions=files))
    elif not quiet:
        print(f"{picture} -> {output}")
        again = replay_command(output, picture=picture, model=model, mask=mask, directions=files)
        print_rows(result_rows(result, origin=origin, sheet=sheet, again=again))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What was asked for, checked."""

    picture: "Picture"
    wanted: Wanted
    captioner: str | None
    mask: Path | None
    local: bool | None
    seed: int


def _check_method(method: str, files: "Sequence[Path]") -> None:
    """The editor's name, and files that are directions; of any model, for that is not known yet."""
    from latentedit.directions.direction_file import load_direction
    from latentedit.editing.registry import editor_class

    editor_class(method)
    if files and method != "eim":
        raise ConfigError(f"expected --method eim with --direction; got {method!r}, which knows texts only")
    for file in files:
        load_direction(file)


def _edit(
    backbone: "Backbone", asked: _Asked, progress: "Progress | None", *, strengths: list[float], method: str
) -> "EditResult":
    """Towards one caption, with any editor."""
    from latentedit.editing.verbs import edit as edit_picture

    if len(set(strengths)) > 1:
        raise ConfigError(f"expected one --strength for method {method!r}; got several. Several need eim")
    result = edit_picture(
        backbone,
        asked.picture,
        to=asked.wanted.to,
        change=asked.wanted.change,
        caption=asked.wanted.caption,
        captioner=asked.captioner,
        mask=asked.mask,
        strength=strengths[0],
        method=method,
        local=asked.local,
        seed=asked.seed,
        progress=progress,
    )
    assert not isinstance(result, list), "one picture gives one result"
    return result


def _compose(
    backbone: "Backbone",
    asked: _Asked,
    progress: "Progress | None",
    *,
    strengths: list[float],
    mixing: "MixingName",
) -> "EditResult":
    """Several directions, each with a strength of its own: from files, or of several changes."""
    from latentedit.directions.direction_file import load_direction
    from latentedit.editing import verbs
    from latentedit.editing.measure import Meter
    from latentedit.encoding.encode import encode
    from latentedit.encoding.targets import target_captions

    wanted = asked.wanted
    given = [load_direction(file, model=backbone) for file in wanted.directions]
    latent = encode(backbone, asked.picture, caption=wanted.caption, captioner=asked.captioner, mask=asked.mask)
    if not given:
        target_captions(backbone, latent.captions, to=None, change=wanted.changes)  # refuses what contradicts itself
    meter = Meter(backbone)
    directions = given or [
        verbs.identify(latent, change=change, seed=asked.seed, progress=progress) for change in wanted.changes
    ]
    result = verbs.manipulate(
        latent, directions, strength=strengths, mixing=mixing, local=asked.local is not False, progress=progress
    )
    assert not isinstance(result, list), "one picture gives one result"
    evaluations, seconds = meter.read()
    judged = result.cost.verdict_evaluations
    return dataclasses.replace(
        result, cost=dataclasses.replace(result.cost, evaluations=evaluations - judged, seconds=seconds)
    )
