"""Options that several commands take, each declared once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from latentedit.core.plugins import CAPTIONERS, EDITORS, MODELS


def _known(names: Sequence[str]) -> str:
    """Names for a help text."""
    return ", ".join(names) or "none installed"


MIXINGS = ("sum", "inverse", "projection")
"""How several changes become one, for help and completion."""

_MODEL = "Model"
"""The panel of a command's help in which the options of `ModelChoice` stand."""

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help=(
            f"A bundled model ({_known(MODELS.names())}), a diffusers folder, or a hub id; where something was edited "
            "before, its model, else portraits."
        ),
        autocompletion=MODELS.complete,
        rich_help_panel=_MODEL,
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or mps; chosen by itself if not given.", rich_help_panel=_MODEL),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="Of the networks: auto (the default: what suits the device), float32, bfloat16 or float16.",
        rich_help_panel=_MODEL,
    ),
]
PlacementPolicy = Annotated[
    str | None,
    typer.Option(
        "--placement",
        help=(
            "Where networks wait: resident (the default: on the device), model (in memory, moved one by one) or groups "
            "(layer by layer: least memory, slowest)."
        ),
        rich_help_panel=_MODEL,
    ),
]
TextEncoders = Annotated[
    str | None,
    typer.Option(
        "--text-encoders",
        help="all (the default), or required: without those that the model can do without, such as SD3's T5.",
        rich_help_panel=_MODEL,
    ),
]
Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        help="A LoRA's safetensors file, FILE or FILE:SCALE, such as style.safetensors:0.8. Repeatable.",
        rich_help_panel=_MODEL,
    ),
]
Revision = Annotated[
    str | None,
    typer.Option("--revision", help="Of a hub id: a branch, tag or commit.", rich_help_panel=_MODEL),
]
Method = Annotated[
    str,
    typer.Option("--method", help=f"The editor: {_known(EDITORS.names())}.", autocompletion=EDITORS.complete),
]
Seed = Annotated[int, typer.Option("--seed", help="Of every random number; the same seed gives the same file.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
To = Annotated[str | None, typer.Option("--to", help="What the picture should show: a full caption.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--change", help="Instead of --to: OLD => NEW in the caption; either may be empty. Repeatable."),
]
From = Annotated[str | None, typer.Option("--from", help="What the picture shows now; read from it if not given.")]
Reader = Annotated[
    str | None,
    typer.Option(
        "--captioner",
        help=(
            f"Who reads the picture: a name ({_known(CAPTIONERS.names())}), openai:MODEL, or a folder or hub id; the "
            "model's own if not given."
        ),
        autocompletion=CAPTIONERS.complete,
    ),
]
Mask = Annotated[
    Path | None, typer.Option("--mask", help="Where the picture may change: a picture of its size, white for yes.")
]
Local = Annotated[
    bool | None,
    typer.Option("--local/--no-local", help="Keep the change to where it is strong. Default: yes with eim, else no."),
]
Mixing = Annotated[
    str,
    typer.Option(
        "--mixing",
        help="Several changes: sum, inverse (of their cross-talk), or projection.",
        autocompletion=lambda incomplete: [name for name in MIXINGS if name.startswith(incomplete)],
    ),
]
Strengths = Annotated[
    list[float] | None,
    typer.Option("--strength", help="How much: 0 is the picture itself, 1 all (the default). One, or one a change."),
]
Directions = Annotated[
    list[Path] | None,
    typer.Option("--direction", help="Instead of --to and --change: a direction's file. Repeatable."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where the result goes.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Processes, each with a model. Default: one a core or GPU; with --ray, one a GPU."),
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", help="Address of a Ray cluster that is to do the work: HOST:PORT, or auto for one here."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
