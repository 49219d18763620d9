"""``latentedit path``: the ways between two pictures. What is heavy is imported when the command runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.api.request import check_texts
from latentedit.cli import options
from latentedit.cli.discover import Site
from latentedit.cli.model_choice import ModelChoice, chooses_model
from latentedit.core.errors import ConfigError
from latentedit_keep.console import print_json, print_rows, progress_bar, say, warn

if TYPE_CHECKING:
    from latentedit.geometry.paths import PathsBetween

_ALL = "all"


@chooses_model
def path(
    first: Annotated[Path, typer.Argument(metavar="A", help="The picture to start from.", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", help="The picture to end at.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The strip that is written: FILE.png.", rich_help_panel=options.OUTPUT),
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="lerp, slerp or geodesic (shortest inside the network); or all.",
            autocompletion=options.completed("all", "geodesic", "lerp", "slerp"),
        ),
    ] = _ALL,
    frames: Annotated[int, typer.Option("--frames", help="Pictures of each path, the two given ones included.")] = 7,
    level: Annotated[float, typer.Option("--level", help="How noisy the latents are between which it goes.")] = 0.85,
    site: Site = None,
    rank: Annotated[int, typer.Option("--rank", help="Of the tangent spaces whose turning is measured.")] = 10,
    source: Annotated[
        str | None,
        typer.Option("--from", help="What A shows; read from it if not given.", rich_help_panel=options.CAPTION),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--to", help="What B shows; read from it if not given.", rich_help_panel=options.CAPTION),
    ] = None,
    *,
    choice: ModelChoice,
    seed: options.Seed = 0,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Walk from one picture to another in the latent space, and measure how long each way is.

    Examples:
        latentedit path me.png you.png -o strip.png
        latentedit path me.png you.png -o strip.png --method slerp --frames 11
        latentedit path me.png you.png -o strip.png --level 0.6 --json
    """
    check_texts({"--from": source, "--to": target})
    from latentedit.api.path_sheet import draw_paths, paths_json
    from latentedit.core.settings import Count, Level, check
    from latentedit.geometry.paths import METHODS, SAME_TWICE, check_methods, encode_pair, paths_between
    from latentedit.latents.pictures import Picture, check_output, save_image

    check(Level, **{"--level": level})
    check(Count, **{"--rank": rank})
    methods = METHODS if method == _ALL else (method,)
    check_methods(methods, frames)
    opened = [Picture.open(place) for place in (first, second)]
    for place in (first, second):
        check_output(output, source=place)
    if opened[0].fingerprint == opened[1].fingerprint:
        raise ConfigError(SAME_TWICE)
    with progress_bar(quiet=quiet or as_json) as progress:
        backbone = choice.load()
        latent = encode_pair(backbone, opened, (source, target))
        how: dict[str, Any] = {"frames": frames, "level": level, "site": site, "rank": rank, "seed": seed}
        between = paths_between(latent, methods=methods, **how, progress=progress)
        strip = draw_paths(between, title=f"{first.name} -> {second.name}")
    save_image(strip, output)
    warn(() if quiet else tuple(f"{one.method}: {note}" for one in between.paths for note in one.notes))
    if as_json:
        print_json({"first": first, "second": second, "output": output, **paths_json(between)})
    elif not quiet:
        say(f"{first}, {second} -> {output}")
        print_rows(path_rows(between))


def path_rows(between: "PathsBetween") -> list[tuple[str, str]]:
    """Where it was drawn, a row a method with its lengths, what random spaces would have, and the cost."""
    segments = len(between.paths[0].turns)
    return [
        ("drawn at", f"level {between.level:.2f}; lengths at {between.site}, rank {between.rank}, under no text"),
        *zip(("from", "to"), (caption or "no text" for caption in between.latent.captions), strict=True),
        *(
            (one.method, f"feature length {one.length:.4g}, semantic length {one.semantic_length:.2f} rad")
            for one in between.paths
        ),
        (
            "random",
            f"semantic length {segments * between.random.mean:.2f} rad, if nothing stayed from picture to picture",
        ),
        ("cost", f"{between.evaluations} evaluations"),
    ]
