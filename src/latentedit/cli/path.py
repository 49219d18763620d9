"""``latentedit path``: paths between two images. Heavy imports are inside the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli import options
from latentedit.cli.discover import Site
from latentedit.cli.model_choice import ModelChoice, chooses_model
from latentedit.core.errors import ConfigError
from latentedit.editing.request import check_texts
from latentedit_keep.console import print_json, print_rows, progress_bar, say, warn

if TYPE_CHECKING:
    from latentedit.geometry.paths import PathsBetween


@chooses_model
def path(
    first: Annotated[Path, typer.Argument(metavar="A", help="The first image.", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", help="The last image.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Output file: FILE.png.", rich_help_panel=options.OUTPUT)
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="lerp, slerp, geodesic (shortest in feature space) or all.",
            autocompletion=options.completed("all", "geodesic", "lerp", "slerp"),
        ),
    ] = "all",
    frames: Annotated[int, typer.Option("--frames", help="Images per path, including both ends.")] = 7,
    level: Annotated[float, typer.Option("--level", help="Noise level at which to interpolate.")] = 0.85,
    site: Site = None,
    rank: Annotated[int, typer.Option("--rank", help="Rank of the tangent spaces used for curvature.")] = 10,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", help="Caption of A. Default: written by the captioner.", rich_help_panel=options.CAPTION
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--to", help="Caption of B. Default: written by the captioner.", rich_help_panel=options.CAPTION),
    ] = None,
    *,
    choice: ModelChoice,
    seed: options.Seed = 0,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Interpolate between two images in latent space, and measure the length of each path.

    Examples:
        latentedit path me.png you.png -o strip.png
        latentedit path me.png you.png -o strip.png --method slerp --frames 11
        latentedit path me.png you.png -o strip.png --level 0.6 --json
    """
    check_texts({"--from": source, "--to": target})
    from latentedit.core.settings import Count, Level, check
    from latentedit.display.sheet import draw_paths
    from latentedit.geometry.paths import METHODS, SAME_TWICE, check_methods, encode_pair, paths_between
    from latentedit.latents.pictures import Picture, check_output, save_image

    check(Level, **{"--level": level})
    check(Count, **{"--rank": rank})
    methods = METHODS if method == "all" else (method,)
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
        segments = len(between.paths[0].turns)
        print_rows(
            [
                (
                    "settings",
                    f"level {between.level:.2f}; lengths at {between.site}, rank {between.rank}, without text",
                ),
                *zip(("from", "to"), (caption or "no text" for caption in between.latent.captions), strict=True),
                *(
                    (one.method, f"feature length {one.length:.4g}, semantic length {one.semantic_length:.2f} rad")
                    for one in between.paths
                ),
                ("random", f"semantic length {segments * between.random.mean:.2f} rad for random tangent spaces"),
                ("cost", f"{between.evaluations} evaluations"),
            ]
        )


def paths_json(between: "PathsBetween") -> "dict[str, Any]":
    """The paths and their measures for ``--json``."""
    segments, random = len(between.paths[0].turns), between.random
    return {
        "captions": between.latent.captions,
        "level": between.level,
        "site": between.site,
        "rank": between.rank,
        "steps": between.steps,
        "seed": between.seed,
        "frames": segments + 1,
        "random": {
            "a_segment": {"mean": random.mean, "low": random.low, "high": random.high},
            "semantic_length": segments * random.mean,
        },
        "paths": [
            {
                "method": path.method,
                "feature_length": path.length,
                "feature_lengths": path.speeds.tolist(),
                "feature_energy": float(path.speeds.square().sum()),
                "semantic_length": path.semantic_length,
                "curvedness": path.turns.tolist(),
                "norms": path.points.flatten(1).double().norm(dim=1).tolist(),
                "notes": path.notes,
            }
            for path in between.paths
        ],
        "evaluations": between.evaluations,
    }
