"""``latentedit path``: the ways between two pictures. What is heavy is imported when the command runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentedit.cli.console import Device, Json, Model, Quiet, Seed, print_json, print_rows, progress_bar, say, warn
from latentedit.cli.request import check_texts
from latentedit.core.errors import ConfigError

if TYPE_CHECKING:
    from latentedit.directions.latent_path import PathsBetween
    from latentedit.latents.pictures import Picture

_ALL = "all"


def path(
    first: Annotated[Path, typer.Argument(metavar="A", help="The picture to start from.", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", help="The picture to end at.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The strip that is written: FILE.png.")],
    method: Annotated[
        str, typer.Option("--method", help="lerp, slerp or geodesic (shortest inside the network); or all.")
    ] = _ALL,
    frames: Annotated[int, typer.Option("--frames", help="Pictures of each path, the two given ones included.")] = 7,
    level: Annotated[float, typer.Option("--level", help="How noisy the latents are between which it goes.")] = 0.85,
    site: Annotated[
        str | None,
        typer.Option("--site", help="The feature of the network in which lengths count; the model's own choice."),
    ] = None,
    rank: Annotated[int, typer.Option("--rank", help="Of the tangent spaces whose turning is measured.")] = 10,
    source: Annotated[str | None, typer.Option("--from", help="What A shows; read from it if not given.")] = None,
    target: Annotated[str | None, typer.Option("--to", help="What B shows; read from it if not given.")] = None,
    model: Model = "portraits",
    seed: Seed = 0,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Walk from one picture to another in the latent space, and measure how long each way is."""
    check_texts({"--from": source, "--to": target})
    if not 0 < level <= 1:
        raise ConfigError(f"expected --level in (0, 1]; got {level:g}. Try 0.85")
    if rank < 1:
        raise ConfigError(f"expected --rank to be 1 or more; got {rank}. Try 10")
    from latentedit.api import verbs
    from latentedit.api.sheets.path_strip import draw_paths, paths_json
    from latentedit.directions.latent_path import METHODS, check_methods, paths_between
    from latentedit.latents.pair import encode_pair
    from latentedit.latents.pictures import save_image

    methods = METHODS if method == _ALL else (method,)
    check_methods(methods, frames)
    opened = _open_checked((first, second), output)
    with progress_bar(quiet=quiet or as_json) as progress:
        backbone = verbs.load(model, device=device)
        latent = encode_pair(backbone, opened, (source, target))
        between = paths_between(
            latent,
            methods=methods,
            frames=frames,
            level=level,
            site=site,
            rank=rank,
            seed=seed,
            progress=progress,
        )
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
    texts = [caption or "no text" for caption in between.latent.captions]
    segments = len(between.paths[0].turns)
    rows = [
        ("drawn at", f"level {between.level:.2f}; lengths at {between.site}, rank {between.rank}, under no text"),
        ("from", texts[0]),
        ("to", texts[1]),
    ]
    rows += [
        (one.method, f"feature length {one.length:.4g}, semantic length {one.semantic_length:.2f} rad")
        for one in between.paths
    ]
    random = f"semantic length {segments * between.random.mean:.2f} rad, if nothing stayed from picture to picture"
    return [*rows, ("random", random), ("cost", f"{between.evaluations} evaluations")]


def _open_checked(places: tuple[Path, Path], output: Path) -> list["Picture"]:
    """Both pictures, where the strip can be written beside them."""
    from latentedit.latents.pair import SAME_TWICE
    from latentedit.latents.pictures import Picture, check_output

    opened = [Picture.open(place) for place in places]
    for place in places:
        check_output(output, source=place)
    if opened[0].fingerprint == opened[1].fingerprint:
        raise ConfigError(SAME_TWICE)
    return opened
