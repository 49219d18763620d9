"""Writes docs/hardware.md from ``src/latentedit/models/known_models.json``, or prints the sizes of a model's networks.

python -m tools.hardware            # the page
python -m tools.hardware ORG/NAME   # the "needs" of a model of the hub, from its configurations, for the file
"""

import dataclasses
import json
import sys

import torch

from latentedit.core.device import dtype_name
from latentedit.editing.checkup import edit_costs
from latentedit.models.known import KnownModel, known_models
from latentedit.models.placement import Placement
from latentedit.models.registry import look_up
from latentedit_keep.base.files import write_text
from tools.running import ROOT

PAGE = ROOT / "docs" / "hardware.md"


def own_rows() -> list[tuple[str, KnownModel]]:
    """The known models but for those with networks of the same sizes."""
    return [(name, model) for name, model in known_models().items() if name == model.name]


def rows() -> list[tuple[str, ...]]:
    """The page's table."""
    gpu, cpu, fp8 = torch.device("cuda"), torch.device("cpu"), torch.float8_e4m3fn
    table: list[tuple[str, ...]] = []
    for name, model in own_rows():
        needs, half = model.needs, model.needs.half
        placements = [
            Placement(device=gpu, dtype=half),
            Placement(device=gpu, dtype=half, policy="model"),
            Placement(device=gpu, dtype=half, policy="model", storage=fp8),
            Placement(device=gpu, dtype=half, policy="groups"),
            Placement(device=cpu, dtype=half),
            Placement(device=cpu, dtype=torch.float32),
        ]
        sizes = [f"{needs.total_bytes(placement) / 1e9:.1f}" for placement in placements]
        denoiser = needs.parts[needs.denoiser].parameters
        others = needs.parameters - denoiser
        counts = [f"{method} {count}" for method, count in edit_costs(model).items()]
        table.append(
            (name, f"{denoiser / 1e9:.1f} + {others / 1e9:.1f}", *sizes, ", ".join(counts), str(model.generation))
        )
    return table


HEAD = """\
# Hardware requirements

What the most used models need, before any of them is downloaded. **Everything here is computed from the published
configurations, nothing was timed or measured**: the weights follow from them, activations are estimates for one image
of the preferred size. Written by `python -m tools.hardware`; `latentedit doctor --model NAME` compares the same figures
with your machine, offline, and prints the command to use.

GB (10^9 bytes). *Parameters*: denoiser + text encoders and autoencoder, in 10^9. *GPU*: all networks resident; only
the one in use (`--placement model`); the same with the denoiser's layers stored in 8 bits (`--storage fp8`); layer by
layer (`--placement groups`). Offloaded weights wait in memory, which needs the size of the column *CPU*.
"""

COSTS = """
*Edit* counts network evaluations of one edit at strength 1, by method, the default first; *generation* those of one
image with the recommended number of steps. Guidance counts two. An edit of {edit} evaluations takes as long as
{share} generations on {name}.
"""


def page() -> str:
    titles = ["model", "parameters", "GPU", "offloaded", "fp8, offloaded", "groups", "CPU", "CPU, float32"]
    lines = [[*titles, "edit", "generation"], ["---"] * 10, *rows()]
    model = known_models()["black-forest-labs/FLUX.1-dev"]
    edit = next(iter(edit_costs(model).values()))
    example = COSTS.format(edit=edit, share=f"{edit / model.generation:.1f}", name=model.name)
    alike = [f"- {', '.join(one.alike)}: as {name}" for name, one in own_rows() if one.alike]
    table = [f"| {' | '.join(line)} |" for line in lines]
    parts = [
        HEAD,
        *table,
        example,
        "Networks of the same sizes:",
        "",
        *alike,
        "",
        "The source of each configuration is in `src/latentedit/models/known_models.json`.",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the page, or print the needs of a model."""
    if not sys.argv[1:]:
        write_text(PAGE, page())
    for name in sys.argv[1:]:
        needs = dataclasses.asdict(look_up(name))
        print(json.dumps(needs | {"half": dtype_name(needs["half"])}, indent=1))


if __name__ == "__main__":
    main()
