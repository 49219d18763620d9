"""``latentedit path``: paths between two images. Heavy imports are inside the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli import options
from latentedit.cli.discover import Site
from latentedit.cli.options import ModelChoice, Report, chooses_model, option
from latentedit.core.errors import ConfigError
from latentedit.core.files import existing
from latentedit.editing.request import check_texts

if TYPE_CHECKING:
    from latentedit.geometry.paths import LatentPath, PathsBetween

_METHODS = ("all", "geodesic", "lerp", "slerp")
_METHOD = "lerp, slerp, geodesic (shortest in feature space) or all."


@chooses_model
def path(
    first: Annotated[Path, options.argument("The first image.", "A")],
    second: Annotated[Path, options.argument("The last image.", "B")],
    output: Annotated[Path, options.output("Output file: FILE.png.")],
    method: Annotated[str, option(None, "--method", words=_METHODS, help=_METHOD)] = "all",
    frames: Annotated[int, typer.Option("--frames", help="Images per path, including both ends.")] = 7,
    level: Annotated[float, typer.Option("--level", help="Noise level at which to interpolate.")] = 0.85,
    site: Site = None,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Rank of the tangent spaces used for curvature.")] = 10,
    source_prompt: Annotated[
        str | None, typer.Option("--source-prompt", help="Caption of A. Default: written by the captioner.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Caption of B. Default: written by the captioner.")
    ] = None,
    *,
    choice: ModelChoice,
    seed: options.Seed = 0,
    report: Report,
) -> None:
    """Interpolate between two images in latent space, and measure the length of each path.

    Examples:
        latentedit path me.png you.png -o strip.png
        latentedit path me.png you.png -o strip.png --method slerp --frames 11
        latentedit path me.png you.png -o strip.png --level 0.6 --json
    """
    check_texts({"--source-prompt": source_prompt, "--prompt": prompt})
    from latentedit.core.setting import Level, check_value
    from latentedit.editing.sheet import draw_paths
    from latentedit.encoding.images import SourceImage, check_output, save_image
    from latentedit.geometry.paths import METHODS, SAME_TWICE, check_methods, encode_pair, paths_between

    check_value(Level, **{"--level": level})
    methods = METHODS if method == "all" else (method,)
    check_methods(methods, frames)
    opened = [SourceImage.open(file) for file in (first, second)]
    for file in (first, second):
        check_output(output, source=file)
    if opened[0].fingerprint == opened[1].fingerprint:
        raise ConfigError(SAME_TWICE)
    with report.progress() as progress:
        backbone = choice.load()
        latent = encode_pair(backbone, opened, (source_prompt, prompt))
        how: dict[str, Any] = {"frames": frames, "level": level, "site": site, "rank": rank, "seed": seed}
        between = paths_between(latent, methods=methods, **how, progress=progress)
        strip = draw_paths(between, title=f"{first.name} -> {second.name}")
    replaced = existing(output)
    save_image(strip, output)
    notes = [f"{curve.method}: {note}" for curve in between.paths for note in curve.notes]
    report.warn(notes, replaced)
    facts = paths_json(between)
    rows = [
        ("settings", f"level {between.level:.2f}; lengths at {between.site}, rank {between.rank}, without text"),
        *zip(("from", "to"), (caption or "no text" for caption in between.latent.captions), strict=True),
        *(row for curve in between.paths for row in _measured(curve)),
        ("random", f"semantic length {facts['random']['semantic_length']:.2f} rad for random tangent spaces"),
        ("cost", f"{between.evaluations} evaluations"),
    ]
    files = {"first": first, "second": second, "output": output}
    report.result(files | facts, f"{first}, {second} -> {output}", rows)


def _measured(curve: "LatentPath") -> "list[tuple[str, str]]":
    """The lengths of a path, and its profile: the length of each segment in feature space, from A to B."""
    lengths = f"feature length {curve.length:.4g}, semantic length {curve.semantic_length:.2f} rad"
    return [(curve.method, lengths), ("profile", " ".join(f"{length:.3g}" for length in curve.speeds.tolist()))]


def paths_json(between: "PathsBetween") -> "dict[str, Any]":
    """The paths and their measures for ``--json``."""
    segments, random = len(between.paths[0].turns), between.random
    return {
        "captions": between.latent.captions,
        **{name: getattr(between, name) for name in ("level", "site", "rank", "steps", "seed", "evaluations")},
        "frames": segments + 1,
        "random": {
            "a_segment": {name: getattr(random, name) for name in ("mean", "low", "high")},
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
    }
