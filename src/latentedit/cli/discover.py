"""``latentedit discover``: unsupervised directions of an image. Heavy imports are inside the command."""

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli import options
from latentedit.cli.options import ModelChoice, Report, chooses_model, option
from latentedit.editing.request import check_texts

if TYPE_CHECKING:
    from latentedit.editing.discovery import DirectionProbe, Discovery
    from latentedit.geometry.pullback import LocalBasis
    from latentedit.identification.direction import Direction

Preserved = Annotated[
    str | None, typer.Option("--source-prompt", help="Caption of what should stay. Without it, anything may change.")
]
_PAPER = "Settings of a paper, 2302.12469 or 2307.12868, except for options you pass."
_METHODS = ("pullback", "pca")
_METHOD = (
    "pullback: what changes the feature most here; pca: principal components of the feature over noises (GANSpace)."
)
Site = Annotated[str | None, typer.Option("--site", help="Feature of the network. Default: chosen for the model.")]


@chooses_model
def discover(
    image: Annotated[Path, options.argument("The image.", "IMAGE")],
    output: Annotated[Path, options.output("Output folder.")],
    source_prompt: Preserved = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Text condition of the search.")] = None,
    level: Annotated[
        float | None, typer.Option("--level", help="Noise level: large changes near 1, details near 0. Default: 0.85.")
    ] = None,
    rank: Annotated[int | None, typer.Option("--rank", min=1, help="Number of directions. Default: 10.")] = None,
    method: Annotated[str, option(None, "--method", words=_METHODS, help=_METHOD)] = "pullback",
    site: Site = None,
    settings_of: Annotated[str | None, typer.Option("--settings-of", help=_PAPER)] = None,
    *,
    choice: ModelChoice,
    seed: options.Seed = 0,
    report: Report,
) -> None:
    """Find, name and save the directions along which an image changes most.

    A sheet in the folder shows each direction; `latentedit sweep` and `latentedit transport` accept the files.

    Examples:
        latentedit discover me.png -o found/
        latentedit discover me.png -o found/ --rank 5 --level 0.6
        latentedit discover me.png -o found/ --prompt "a person with glasses"
        latentedit discover me.png -o found/ --method pca --rank 3
        latentedit discover me.png -o found/ --settings-of 2302.12469
    """
    check_texts({"--source-prompt": source_prompt, "--prompt": prompt})
    from latentedit.core.setting import Level, check_value

    if level is not None:
        check_value(Level, **{"--level": level})
    from latentedit.editing.discovery import Method, check_folder, write_discovery
    from latentedit.editing.discovery import discover as walk_basis
    from latentedit.encoding.encode import encode
    from latentedit.encoding.images import SourceImage
    from latentedit.geometry import papers

    check_value(Method, **{"--method": method})
    settings = {} if settings_of is None else dict(papers.settings_of(settings_of).basis)
    given = {"level": level, "rank": rank, "prompt": prompt}
    settings |= {name: value for name, value in given.items() if value is not None}
    opened = SourceImage.open(image)
    check_folder(output)
    with report.progress() as progress:
        backbone = choice.load()
        latent = encode(backbone, opened, source_prompt=source_prompt or "")
        how: dict[str, Any] = {"site": site, "seed": seed, "method": method, **settings}
        discovery = walk_basis(latent, progress=progress, **how)
    index, basis = write_discovery(discovery, output), discovery.basis
    report.warn(basis.notes)
    cost, files = discovery.cost, [row["file"] for row in index["directions"]]
    first = discovery.directions[0].direction
    spent = f"{cost.evaluations:g} for edits, {cost.seconds:.1f} s after the basis, {cost.peak_bytes / 1e6:.0f} MB"
    rows = [
        ("settings", basis_text(basis)),
        *((f"{k + 1}", f"{probe_text(discovery.directions[k].probe)}  {file}") for k, file in enumerate(files)),
        ("random", _random(discovery)),
        ("cost", f"{basis_cost(basis)}, {spent}"),
        ("sheet", str(output / "directions.png")),
        ("try", try_command(image, output / files[0], first, choice=choice, source_prompt=source_prompt)),
    ]
    report.result({"image": image, "output": output, **index}, f"{image} -> {output}", rows)


def try_command(
    image: Path, file: Path, direction: "Direction", *, choice: ModelChoice, source_prompt: str | None
) -> str:
    """The command that sweeps along a direction, half as far as damage begins."""
    known = direction.calibration
    lowest, highest = (-1.0, 1.0) if known is None else (max(known.lowest, -1.0), min(known.highest, 1.0))
    ends = (lowest / 2, lowest / 4, 0.0, highest / 4, highest / 2)
    strengths = ",".join(f"{math.trunc(100 * strength) / 100:g}" for strength in ends)
    more = ["--direction", str(file), f"--strengths={strengths}"]
    more += [] if source_prompt is None else ["--source-prompt", source_prompt]
    more += choice.arguments()
    return shlex.join(["latentedit", "sweep", str(image), *more])


def basis_text(basis: "LocalBasis") -> str:
    """Settings of a basis, and what it preserves."""
    caption = basis.latent.captions[0]
    under = f", prompt: {basis.prompt}" if basis.prompt != caption else ""
    keeping = f"preserving: {caption}" if caption else "anything may change"
    return f"{basis.site}, level {basis.level:.2f}{under}; {keeping}"


def basis_cost(basis: "LocalBasis") -> str:
    """Cost of a basis."""
    return f"{basis.evaluations:g} evaluations for the basis ({basis.products} products)"


def probe_text(probe: "DirectionProbe") -> str:
    """The name of a direction, and its purity if the model has an attribute reader."""
    meaning = probe.meaning
    return meaning.name if math.isnan(meaning.purity) else f"{meaning.name}; purity {meaning.purity:.2f}"


def _random(discovery: "Discovery") -> str:
    """Effect of random directions of the same length, and purity of random directions of the same effect."""
    same, other = discovery.equal_length, discovery.equal_effect
    short = sum(probe.effect for probe in same) / len(same)
    own = sum(direction.probe.effect for direction in discovery.directions[: len(same)]) / len(same)
    text = f"{len(same)} directions as long have {100 * short / max(own, 1e-30):.0f} % of the effect"
    purities = [probe.meaning.purity for probe in other if not math.isnan(probe.meaning.purity)]
    if not purities:
        return text
    effect, purity = sum(probe.effect for probe in other) / len(other), sum(purities) / len(purities)
    return f"{text}; longer ones of effect {effect:.2f} have purity {purity:.2f}"
