"""``latentedit transport``: a discovered direction on another image. Heavy imports are inside the command."""

from pathlib import Path
from typing import Annotated

import typer

from latentedit.cli import options
from latentedit.cli.discover import Preserved, basis_cost, basis_text, probe_text, try_command
from latentedit.cli.options import ModelChoice, Report, chooses_model
from latentedit.core.errors import OutputError
from latentedit.core.files import existing
from latentedit.editing.request import check_texts


@chooses_model
def transport(
    file: Annotated[Path, options.argument("Direction file from `latentedit discover`.", "DIRECTION")],
    target: Annotated[Path, typer.Option("--target", help="The target image.", show_default=False)],
    output: Annotated[Path, options.output("Output file: FILE.safetensors.")],
    source_prompt: Preserved = None,
    rank: Annotated[
        int | None, typer.Option("--rank", min=1, help="Use a local basis of this rank. Default: the full Jacobian.")
    ] = None,
    *,
    choice: ModelChoice,
    seed: options.Seed = 0,
    report: Report,
) -> None:
    """Transport a discovered direction to another image.

    The same change of the network's features is found there.

    Examples:
        latentedit transport hair.safetensors --target you.png -o yours.safetensors
        latentedit transport a.safetensors --target b.png -o b.safetensors --rank 50
        latentedit sweep you.png --direction yours.safetensors --strengths=-1:1:5
    """
    check_texts({"--source-prompt": source_prompt})
    from latentedit.editing.discovery import transport
    from latentedit.encoding.captions.base import one_line
    from latentedit.encoding.encode import encode
    from latentedit.encoding.images import SourceImage
    from latentedit.geometry.transport import feature_of
    from latentedit.identification.direction import Direction, check_direction_output

    feature_of(Direction.load(file))
    opened, caption = SourceImage.open(target), source_prompt or ""
    output = check_direction_output(output)
    if output.resolve() == file.resolve():
        raise OutputError(f"the output would replace the direction {output}. Choose another name")
    with report.progress() as progress:
        backbone = choice.load()
        direction, latent = Direction.load(file, model=backbone), encode(backbone, opened, source_prompt=caption)
        result = transport(direction, latent, rank=rank, seed=seed, progress=progress)
    probe, transported, carried = result.discovered.probe, result.discovered.direction, result.carried
    replaced = existing(output)
    transported.save(output)
    report.warn(transported.notes, replaced)
    named, meaning = direction.settings.get("name"), probe.meaning
    name_before = one_line(named) if isinstance(named, str) and named else "not named"
    facts = {"direction": file, "image": target, "output": output, "name_before": name_before}
    facts |= {"captured": carried.captured, "chance": carried.chance, "length": probe.length, "effect": probe.effect}
    facts |= {name: getattr(meaning, name) for name in ("name", "purity", "place", "changes")}
    facts |= {"fingerprint": transported.fingerprint, "settings": dict(transported.settings)}
    facts["converged"] = result.basis.converged
    captured, chance = (f"{100 * share:.2g} %" for share in (carried.captured, carried.chance))
    rows = [
        ("transported to", basis_text(result.basis)),
        ("captured", f"{captured} of the change (chance: {chance})"),
        ("name", f"{name_before} -> {probe_text(probe)}"),
        ("cost", basis_cost(result.basis)),
        ("try", try_command(target, output, transported, choice=choice, source_prompt=source_prompt)),
    ]
    report.result(facts, f"{file} -> {output}", rows)
