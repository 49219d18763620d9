"""Options that several commands take, each declared once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from latentedit.core.plugins import CAPTIONERS, EDITORS, MODELS


def _known(names: Sequence[str]) -> str:
    """Names for a help text."""
    return ", ".join(names) or "none installed"


def completed(*words: str) -> Callable[[str], list[str]]:
    """Completion of an option that takes one of a few words."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")
PLACEMENTS = ("resident", "model", "groups")
TEXT_ENCODERS = ("all", "required")
MIXINGS = ("sum", "inverse", "projection")
ARMS = ("image", "text", "joint")

CHANGE, CAPTION, MODEL, MANY, OUTPUT = "Change", "Caption", "Model", "Many pictures", "Output"
"""Panels of a command's help. What is only one command's own stands in typer's panel "Options"."""

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help=(
            f"A bundled model ({_known(MODELS.names())}), a diffusers folder, or a hub id; where something was edited "
            "before, its model, else portraits."
        ),
        autocompletion=MODELS.complete,
        rich_help_panel=MODEL,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="cpu, cuda or mps; chosen by itself if not given.",
        autocompletion=completed("cpu", "cuda", "mps"),
        rich_help_panel=MODEL,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="Of the networks: auto (the default: what suits the device), float32, bfloat16 or float16.",
        autocompletion=completed(*DTYPES),
        rich_help_panel=MODEL,
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
        autocompletion=completed(*PLACEMENTS),
        rich_help_panel=MODEL,
    ),
]
TextEncoders = Annotated[
    str | None,
    typer.Option(
        "--text-encoders",
        help="all (the default), or required: without those that the model can do without, such as SD3's T5.",
        autocompletion=completed(*TEXT_ENCODERS),
        rich_help_panel=MODEL,
    ),
]
Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        help="A LoRA's safetensors file, FILE or FILE:SCALE, such as style.safetensors:0.8. Repeatable.",
        rich_help_panel=MODEL,
    ),
]
Revision = Annotated[
    str | None,
    typer.Option("--revision", help="Of a hub id: a branch, tag or commit.", rich_help_panel=MODEL),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        help=(
            f"The editor: {_known(EDITORS.names())}. Default: eim; flowedit for a model without stored settings or "
            "calibration, unless only eim does what you ask for."
        ),
        autocompletion=EDITORS.complete,
        rich_help_panel=CHANGE,
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", help="The same seed gives the same file.", rich_help_panel=CHANGE),
]
Anyway = Annotated[
    bool,
    typer.Option(
        "--anyway", help="Edit a picture that the model does not know too, and say so.", rich_help_panel=CHANGE
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.", rich_help_panel=OUTPUT)]
To = Annotated[
    str | None, typer.Option("--to", help="What the picture should show: a full caption.", rich_help_panel=CHANGE)
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--change",
        help='Instead of --to: "OLD => NEW" in the caption; either may be empty. Repeatable.',
        rich_help_panel=CHANGE,
    ),
]
Adds = Annotated[
    list[str] | None,
    typer.Option(
        "--add",
        help='Add this to the picture: --add glasses is --change "=> glasses". Repeatable.',
        rich_help_panel=CHANGE,
    ),
]
Removes = Annotated[
    list[str] | None,
    typer.Option(
        "--remove",
        help='Remove this from the picture: --remove glasses is --change "glasses =>". Repeatable.',
        rich_help_panel=CHANGE,
    ),
]
Instructions = Annotated[
    list[str] | None,
    typer.Option(
        "--instruction",
        help="Instead of both, for models that take instructions: what to do with the picture. Repeatable.",
        rich_help_panel=CHANGE,
    ),
]
Beside = Annotated[
    list[Path] | None,
    typer.Option(
        "--beside", help="With --instruction: another picture for the model to see. Repeatable.", rich_help_panel=CHANGE
    ),
]
From = Annotated[
    str | None,
    typer.Option("--from", help="What the picture shows now; read from it if not given.", rich_help_panel=CAPTION),
]
Reader = Annotated[
    str | None,
    typer.Option(
        "--captioner",
        help=(
            f"Who reads the picture: a name ({_known(CAPTIONERS.names())}), openai:MODEL, or a folder or hub id; the "
            "model's own if not given."
        ),
        autocompletion=CAPTIONERS.complete,
        rich_help_panel=CAPTION,
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        "--mask",
        help="Where the picture may change: a picture of the same size, white where it may.",
        rich_help_panel=CHANGE,
    ),
]
Local = Annotated[
    bool | None,
    typer.Option(
        "--local/--no-local",
        help="Keep the change to where it is strong. Default: yes with eim, else no.",
        rich_help_panel=CHANGE,
    ),
]
Mixing = Annotated[
    str,
    typer.Option(
        "--mixing",
        help="Several changes: sum, inverse (of their cross-talk), or projection.",
        autocompletion=completed(*MIXINGS),
        rich_help_panel=CHANGE,
    ),
]
Strengths = Annotated[
    list[str] | None,
    typer.Option(
        "--strength",
        metavar="FLOAT",
        help=(
            "How much to change: 0 is the picture itself, 1 (the default) the whole change. Give one for all, or one "
            "for each --change, --add and --remove, in this order."
        ),
        rich_help_panel=CHANGE,
    ),
]
Directions = Annotated[
    list[Path] | None,
    typer.Option(
        "--direction", help="Instead of --to and --change: a direction's file. Repeatable.", rich_help_panel=CHANGE
    ),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where the result goes.", rich_help_panel=OUTPUT)]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="Processes, each with a model. Default: one a core or GPU; with --ray, one a GPU.",
        rich_help_panel=MANY,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Address of a Ray cluster that is to do the work: HOST:PORT, or auto for one here.",
        rich_help_panel=MANY,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUTPUT)]
