"""``latentedit analyze``: the measurements of the papers. What is heavy is imported when the command runs."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli import options
from latentedit.core.errors import ConfigError, nearest
from latentedit.core.plugins import EXPERIMENTS
from latentedit_keep.console import print_json, print_rows, progress_bar, say, typed_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentedit_bench.experiments.claim import Claim

_PREFIX = "geometry-"
"""Before the names of experiments that look at pictures; left out here."""


def _names() -> list[str]:
    return [name.removeprefix(_PREFIX) for name in EXPERIMENTS.names() if name.startswith(_PREFIX)]


def _complete(incomplete: str) -> list[str]:
    return [name for name in ("list", *_names()) if name.startswith(incomplete)]


def analyze(
    name: Annotated[
        str,
        typer.Argument(
            help=f"One of {', '.join(_names())}; or `list` to see what each looks at.",
            show_default=False,
            autocompletion=_complete,
        ),
    ],
    pictures: Annotated[
        list[Path] | None, typer.Argument(help="Pictures to look at; a bundled model brings its own.")
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The folder for tables and plots.", rich_help_panel=options.OUTPUT),
    ] = Path("out/geometry"),
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A model; repeatable, a panel each. Default: the plan's.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", help="Pictures that a bundled model brings. Default: the plan's.")
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option("--levels", help="Noise levels, from almost noise, as 0.9,0.5,0.2. Default: the plan's."),
    ] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", help="Directions of each local basis. Default: the plan's.")
    ] = None,
    site: Annotated[str | None, typer.Option("--site", help="The feature; the model's own choice.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of every draw. Default: the plan's.")] = None,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure one aspect of the latent space: a table, a plot, and what they say. Stop it, and it goes on next time.

    What is not given is as in the experiment's plan, by which `latentedit reproduce` measures the same.

    Examples:
        latentedit analyze list
        latentedit analyze spectrum --count 4 --rank 5
        latentedit analyze frequency me.png you.png --levels 0.9,0.5,0.2 -o out/mine
    """
    from latentedit.latents.pictures import Picture
    from latentedit_bench.experiments.base import make_experiment
    from latentedit_bench.experiments.geometry import Geometry, analyse
    from latentedit_bench.experiments.page import write_analyses

    if name == "list":
        print_rows([(one, make_experiment(f"{_PREFIX}{one}").title) for one in _names()], indent=0)
        return
    if name not in _names():
        raise ConfigError(f"no analysis is called {name!r}: {nearest(name, _names())}")
    for option, value in (("--count", count), ("--rank", rank)):
        if value is not None and value < 1:
            raise ConfigError(f"{option} is {value}, and must be 1 or more")
    given: dict[str, Any] = {
        "models": tuple(model) if model else None,
        "pictures": count,
        "levels": _parse_levels(levels) if levels is not None else None,
        "rank": rank,
        "site": site,
        "seed": seed,
    }
    experiment = make_experiment(f"{_PREFIX}{name}")
    if not isinstance(experiment, Geometry):
        raise ConfigError(f"{name} looks at no pictures. Run it by: latentedit reproduce {experiment.name}")
    experiment = dataclasses.replace(experiment, **{key: one for key, one in given.items() if one is not None})
    opened = [Picture.open(picture) for picture in pictures or ()]
    with progress_bar(quiet=quiet or as_json) as progress:
        outcome, files = analyse(
            experiment, output, command=typed_command(), pictures=opened, device=device, progress=progress
        )
    claims = write_analyses(output)
    if as_json:
        print_json({"analysis": name, "verdict": outcome.line, "claims": outcome.claims, "files": files})
    elif not quiet:
        say(f"{name}: {outcome.line}")
        print_rows(claim_rows(outcome.claims))
        print_rows([("table", str(files[0])), ("plot", str(files[2])), ("claims", str(claims))])


def claim_rows(claims: "Sequence[Claim]") -> list[tuple[str, str]]:
    """A row a claim: the verdict, what was claimed, and the interval."""
    return [
        (
            claim.verdict.removesuffix(" at this size"),
            (
                f"  {claim.model}: {claim.statement}; {claim.measure}: "
                f"{claim.estimate:.3g} [{claim.low:.3g}, {claim.high:.3g}], {claim.samples} pictures"
            ),
        )
        for claim in claims
    ]


def _parse_levels(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--levels {text!r} is no list of numbers with commas. Try 0.9,0.5,0.2") from None
