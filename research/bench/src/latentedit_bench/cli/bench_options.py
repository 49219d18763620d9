"""Options that the benchmark's commands share, and the data and models that these name."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.core import completed

if TYPE_CHECKING:
    from latentedit_bench.data.items import Dataset


def goes_to(what: str) -> Any:
    """The option for the file or folder of a result."""
    return typer.Option("--output", "-o", help=what)


def _complete_method(incomplete: str) -> list[str]:
    from latentedit_bench.ranking.search_spaces import method_names

    return [name for name in method_names() if name.startswith(incomplete)]


DATA = "counterfactual-portraits"

Data = Annotated[
    str,
    typer.Argument(
        help=f"{DATA} (rendered, with ground truth), a manifest (CSV, JSON, YAML), a PIE-Bench folder or a FlowEdit "
        "YAML file."
    ),
]
Split = Annotated[
    str,
    typer.Option(
        "--split",
        help="Split of the rendered set: calibration for tuning, test for reporting.",
        autocompletion=completed("calibration", "test"),
    ),
]
Captions = Annotated[
    str,
    typer.Option(
        "--captions",
        help="Captions of the rendered set: full, partial (half is left out), completed (partial, and completed by the "
        "model's captioner), paraphrased, or wrong (about something else); partial+full alternates.",
        autocompletion=completed("full", "partial", "completed", "paraphrased", "wrong"),
    ),
]
Items = Annotated[int | None, typer.Option("--items", help="Use only the first items; kinds of change alternate.")]
Processes = Annotated[int, typer.Option("--workers", min=1, help="Number of processes.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="A method of `bench methods` (quote names with commas) or any editor. Repeatable. Default: all.",
        autocompletion=_complete_method,
    ),
]


def open_dataset(
    place: str, *, split: str, captions: str, items: int | None, skip: int = 0, draw: int | None = None
) -> "Dataset":
    """The data set, or some of its items; with several kinds of captions by turns, "partial+full"."""
    from latentedit_bench.data.counterfactual import DRAW, PREFIX
    from latentedit_bench.data.loading import load_dataset, taking_turns

    kinds = captions.split("+") if place.startswith(PREFIX) else [captions]
    own = DRAW if draw is None else draw
    found = taking_turns([load_dataset(place, split=split, captions=kind, draw=own) for kind in kinds])
    return found.head(len(found.items) if items is None else items, skip=skip)
