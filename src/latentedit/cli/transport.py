"""``latentedit transport``: a discovered direction on another image. Heavy imports are inside the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentedit.cli import options
from latentedit.cli.discover import Preserved, basis_cost, basis_text, probe_text, try_command
from latentedit.cli.model_choice import ModelChoice, chooses_model
from latentedit.core.errors import ConfigError, OutputError
from latentedit.editing.request import check_texts
from latentedit_keep.console import print_json, print_rows, progress_bar, say, warn

if TYPE_CHECKING:
    from latentedit.directions.direction import Direction


@chooses_model
def transport(
    file: Annotated[
        Path, typer.Argument(metavar="DIRECTION", help="Direction file from `latentedit discover`.", show_default=False)
    ],
    picture: Annotated[Path, typer.Option("--to", help="The target image.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Output file: FILE.safetensors.", rich_help_panel=options.OUTPUT)
    ],
    source: Preserved = None,
    rank: Annotated[int, typer.Option("--rank", help="Rank of the target image's local basis.")] = 20,
    plain: Annotated[bool, typer.Option("--plain", help="Do not weight by inverse singular values.")] = False,
    damping: Annotated[
        float | None,
        typer.Option(
            "--damping", help="Share of the largest singular value below which directions are damped. Default: 0.1."
        ),
    ] = None,
    *,
    choice: ModelChoice,
    seed: options.Seed = 0,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Transport a discovered direction to another image, by the same change of the network's features.

    Examples:
        latentedit transport hair.safetensors --to you.png -o yours.safetensors
        latentedit transport hair.safetensors --to you.png -o b.safetensors --plain
        latentedit sweep you.png --direction yours.safetensors --strengths=-1:1:5
    """
    check_texts({"--from": source})
    if plain and damping is not None:
        raise ConfigError("--plain and --damping exclude each other: without weights nothing is damped. Omit one")
    from latentedit.core.settings import Count, Weight, check

    check(Count, **{"--rank": rank})
    check(Weight, **{"--damping": damping or 0.0})
    from latentedit.directions.direction import check_direction_output, load_direction, save_direction
    from latentedit.editing.discovery import transport_to
    from latentedit.geometry.transport import DAMPING, feature_of
    from latentedit.latents.encode import encode
    from latentedit.latents.pictures import Picture

    feature_of(load_direction(file))
    opened = Picture.open(picture)
    check_direction_output(output)
    if output.resolve() == file.resolve():
        raise OutputError(f"the output would replace the direction {output}. Choose another name")
    with progress_bar(quiet=quiet or as_json) as progress:
        backbone = choice.load()
        direction = load_direction(file, model=backbone)
        result = transport_to(
            direction,
            encode(backbone, opened, caption=source or ""),
            rank=rank,
            inverse=not plain,
            damping=DAMPING if damping is None else damping,
            seed=seed,
            progress=progress,
        )
    save_direction(result.found.direction, output)
    warn(() if quiet else result.found.direction.notes)
    probe, found, carried = result.found.probe, result.found.direction, result.carried
    if as_json:
        print_json(
            {
                "direction": file,
                "picture": picture,
                "output": output,
                "captured": carried.captured,
                "chance": carried.chance,
                "name_before": _name(direction),
                "name": probe.meaning.name,
                "purity": probe.meaning.purity,
                "place": probe.meaning.place,
                "changes": probe.meaning.changes,
                "length": probe.length,
                "effect": probe.effect,
                "fingerprint": found.fingerprint,
                "settings": dict(found.settings),
                "converged": result.basis.converged,
            }
        )
    elif not quiet:
        say(f"{file} -> {output}")
        captured, chance = (f"{100 * share:.2g} %" for share in (carried.captured, carried.chance))
        print_rows(
            [
                ("transported to", basis_text(result.basis)),
                ("captured", f"{captured} of the change, in {len(result.basis)} directions (chance: {chance})"),
                ("name", f"{_name(direction)} -> {probe_text(probe)}"),
                ("cost", basis_cost(result.basis)),
                ("try", try_command(picture, output, choice=choice, source=source)),
            ]
        )


def _name(direction: "Direction") -> str:
    """The name of the direction at its original image."""
    from latentedit.latents.captions.base import one_line

    name = direction.settings.get("name")
    return one_line(name) if isinstance(name, str) and name else "not probe_text"
