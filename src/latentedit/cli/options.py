"""Options that several commands share, each declared once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit.core.plugins import CAPTIONERS, EDITORS, MODELS


def _installed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none installed"


def completed(*words: str) -> Callable[[str], list[str]]:
    """Completion of an option that takes one of a few words."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")
PLACEMENTS = ("resident", "model", "groups")
TEXT_ENCODERS = ("all", "required")
COMBINATIONS = ("sum", "inverse", "projection")
ARMS = ("image", "text", "joint")

CHANGE, CAPTION, MODEL, MANY, OUTPUT = "Change", "Caption", "Model", "Many images", "Output"
"""Panels of a command's help; options of a single command are in typer's panel "Options"."""


def argument(text: str, metavar: str | None = None) -> Any:
    """A required argument."""
    return typer.Argument(help=text, show_default=False, metavar=metavar)


def option(panel: str | None, *names: str, words: Sequence[str] | Callable[[str], Any] = (), **more: Any) -> Any:
    """An option in a panel, with completion of a few words or by a function."""
    complete = words if callable(words) else completed(*words) if words else None
    return typer.Option(*names, autocompletion=complete, rich_help_panel=panel, **more)


Model = Annotated[
    str | None,
    option(
        MODEL,
        "--model",
        words=MODELS.complete,
        help=(
            f"A bundled model ({_installed(MODELS.names())}), a diffusers folder or a hub id. Default: the model "
            "recorded in the file, otherwise portraits."
        ),
    ),
]
Device = Annotated[
    str | None,
    option(MODEL, "--device", words=("cpu", "cuda", "mps"), help="cpu, cuda or mps. Default: cuda if available."),
]
Dtype = Annotated[
    str | None,
    option(
        MODEL,
        "--dtype",
        words=DTYPES,
        help="Compute dtype: auto (chosen for the device), float32, bfloat16 or float16. Default: auto.",
    ),
]
PlacementPolicy = Annotated[
    str | None,
    option(
        MODEL,
        "--placement",
        words=PLACEMENTS,
        help=(
            "Offloading: resident (none), model (each network is moved to the device when it runs) or groups (layer "
            "by layer: least memory, slowest). Default: resident."
        ),
    ),
]
TextEncoders = Annotated[
    str | None,
    option(
        MODEL,
        "--text-encoders",
        words=TEXT_ENCODERS,
        help="all, or required: omit the encoders that the model can do without, such as SD3's T5. Default: all.",
    ),
]
Lora = Annotated[
    list[str] | None,
    option(
        MODEL,
        "--lora",
        help="A LoRA in a safetensors file: FILE or FILE:SCALE, such as style.safetensors:0.8. Repeatable.",
    ),
]
Revision = Annotated[str | None, option(MODEL, "--revision", help="Hub revision: branch, tag or commit.")]
Method = Annotated[
    str | None,
    option(
        CHANGE,
        "--method",
        words=EDITORS.complete,
        help=(
            f"The editor: {_installed(EDITORS.names())}. Default: eim; flowedit for a model without stored settings or "
            "calibration, unless only eim can do the edit."
        ),
    ),
]
Seed = Annotated[int, option(CHANGE, "--seed", help="Random seed; runs with the same seed are reproducible.")]
Force = Annotated[
    bool, option(CHANGE, "--force", help="Edit images that are out of distribution for the model, with a warning.")
]
Json = Annotated[bool, option(OUTPUT, "--json", help="Print one JSON object instead of text.")]
Prompt = Annotated[
    str | None, option(CHANGE, "--prompt", help="Target caption: a complete description of the edited image.")
]
Changes = Annotated[
    list[str] | None,
    option(
        CHANGE,
        "--change",
        help='Instead of --prompt: replace words of the caption, "OLD => NEW"; either may be empty. Repeatable.',
    ),
]
Adds = Annotated[
    list[str] | None,
    option(CHANGE, "--add", help='Add something: --add glasses is --change "=> glasses". Repeatable.'),
]
Removes = Annotated[
    list[str] | None,
    option(CHANGE, "--remove", help='Remove something: --remove glasses is --change "glasses =>". Repeatable.'),
]
Instructions = Annotated[
    list[str] | None,
    option(
        CHANGE,
        "--instruction",
        help="Instead of --prompt and --change: an edit instruction, for instruction-tuned models. Repeatable.",
    ),
]
References = Annotated[
    list[Path] | None,
    option(CHANGE, "--reference", help="With --instruction: an additional reference image. Repeatable."),
]
SourcePrompt = Annotated[
    str | None, option(CAPTION, "--source-prompt", help="Source caption. Default: written by the model's captioner.")
]
Captioner = Annotated[
    str | None,
    option(
        CAPTION,
        "--captioner",
        words=CAPTIONERS.complete,
        help=(
            f"Captioner: a name ({_installed(CAPTIONERS.names())}), openai:MODEL, a folder or a hub id. "
            "Default: the model's own."
        ),
    ),
]
Mask = Annotated[
    Path | None, option(CHANGE, "--mask", help="Mask image of the same size: white where the image may change.")
]
AutoMask = Annotated[
    bool | None,
    option(
        CHANGE,
        "--auto-mask/--no-auto-mask",
        help="Restrict the edit to an automatic soft mask. Default: yes with eim, otherwise no.",
    ),
]
Refine = Annotated[
    bool,
    option(CHANGE, "--refine", help="Redraw the core of the change under the target caption; costs 6 evaluations."),
]
Complete = Annotated[
    bool,
    option(CAPTION, "--complete/--no-complete", help="Complete partial captions from the image. Default: yes."),
]
Combine = Annotated[
    str,
    option(
        CHANGE,
        "--combine",
        words=COMBINATIONS,
        help="How several changes are combined: sum, inverse (of their cross-talk) or projection.",
    ),
]
Strengths = Annotated[
    list[str] | None,
    option(
        CHANGE,
        "--strength",
        metavar="FLOAT",
        help=(
            "Strength of the edit: 0 is the original image, 1 the full change. Give one for all changes, or one for "
            "each --change, --add and --remove, in this order. Default: 1."
        ),
    ),
]
Directions = Annotated[
    list[Path] | None,
    option(CHANGE, "--direction", help="Instead of --prompt and --change: a direction file. Repeatable."),
]


def output(text: str) -> Any:
    """The option that names the result."""
    return option(OUTPUT, "--output", "-o", help=text)


Output = Annotated[Path | None, output("Output file.")]
Workers = Annotated[
    int | None,
    option(
        MANY,
        "--workers",
        help="Number of processes, each with a model. Default: one per core or GPU; with --ray, one per GPU.",
    ),
]
Ray = Annotated[
    str | None, option(MANY, "--ray", help="Address of the Ray cluster to use: HOST:PORT, or auto for a local one.")
]
Quiet = Annotated[bool, option(OUTPUT, "--quiet", "-q", help="Print nothing but errors.")]
