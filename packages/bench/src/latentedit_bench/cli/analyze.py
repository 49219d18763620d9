"""``latentedit analyze``: the measurements of the papers. What is heavy is imported when the command runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentedit.cli.console import Device, Json, Quiet, Seed, print_json, print_rows, progress_bar, say, typed_command
from latentedit.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentedit_bench.analysis.base import Claim

_NAMES = (
    "spectrum, frequency, samples, trajectory, datasets, prompts, transport, curvedness, edits, homogeneity; or "
    "`list` to see what each looks at"
)


def analyze(
    name: Annotated[str, typer.Argument(help=f"One of {_NAMES}.", show_default=False)],
    pictures: Annotated[
        list[Path] | None, typer.Argument(help="Pictures to look at; a bundled model brings its own.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for tables and plots.")] = Path(
        "out/geometry"
    ),
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A model; repeatable, a panel each. Default: the analysis' own.")
    ] = None,
    count: Annotated[int, typer.Option("--count", help="Pictures that a bundled model brings.")] = 8,
    levels: Annotated[
        str | None, typer.Option("--levels", help="Noise levels, as 0.9,0.5,0.2; from almost noise to almost picture.")
    ] = None,
    rank: Annotated[int, typer.Option("--rank", help="Directions of each local basis.")] = 10,
    site: Annotated[str | None, typer.Option("--site", help="The feature; the model's own choice.")] = None,
    seed: Seed = 0,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure one aspect of the latent space: a table, a plot, and what they say. Stop it, and it goes on next time."""
    from latentedit.api.verbs import load
    from latentedit.latents.pictures import Picture
    from latentedit_bench.analysis.claims import write_claims
    from latentedit_bench.analysis.registry import ANALYSES, make_analysis
    from latentedit_bench.analysis.run import WORK, run
    from latentedit_bench.analysis.study import LEVELS, Study
    from latentedit_bench.domains.base import sample_pictures

    if name == "list":
        print_rows([(one, make_analysis(one).title) for one in ANALYSES], indent=0)
        return
    analysis = make_analysis(name)
    wanted = _parse_levels(levels) if levels is not None else LEVELS
    for option, value in (("--count", count), ("--rank", rank)):
        if value < 1:
            raise ConfigError(f"expected {option} to be 1 or more; got {value}")
    opened = [Picture.open(picture) for picture in pictures or ()]
    with progress_bar(quiet=quiet or as_json) as progress:
        studies: list[Study] = []
        for one in model or analysis.models:
            backbone = load(one, device=device)
            shown = opened or sample_pictures(backbone.name, count)
            work = output / WORK
            study = Study.of(backbone, shown, levels=wanted, rank=rank, site=site, seed=seed, folder=work)
            studies.append(study)
        finished = run(analysis, studies, output, command=typed_command(), progress=progress)
    claims = write_claims(output)
    if as_json:
        found = finished.conclusion.claims
        print_json({"analysis": name, "verdict": finished.conclusion.line, "claims": found, "files": finished.files})
    elif not quiet:
        say(f"{name}: {finished.conclusion.line}")
        print_rows(claim_rows(finished.conclusion.claims))
        print_rows([("table", str(finished.files[0])), ("plot", str(finished.files[2])), ("claims", str(claims))])


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
        raise ConfigError(f"expected --levels as numbers with commas; got {text!r}. Try 0.9,0.5,0.2") from None
