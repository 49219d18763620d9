"""What the benchmark's commands share: their options, and the data and models that these name."""

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentedit.cli.options import completed
from latentedit.core.errors import ConfigError

if TYPE_CHECKING:
    from latentedit.api.manifests.items import Dataset


def _complete_method(incomplete: str) -> list[str]:
    """Methods of the search spaces of one word, by the file alone: the module that reads it needs torch."""
    import yaml

    text = resources.files("latentedit_bench.tuning").joinpath("search_spaces.yaml").read_text("utf-8")
    return [name for name in yaml.safe_load(text)["methods"] if name.startswith(incomplete) and " " not in name]


DATA = "counterfactual-portraits"

Data = Annotated[
    str,
    typer.Argument(
        help=f"{DATA} (rendered, with right answers), a manifest (CSV, JSON, YAML), PIE-Bench's folder or FlowEdit's "
        "YAML file."
    ),
]
Split = Annotated[
    str,
    typer.Option(
        "--split",
        help="Of the rendered set: calibration to choose, test to report.",
        autocompletion=completed("calibration", "test"),
    ),
]
Captions = Annotated[
    str,
    typer.Option(
        "--captions",
        help="Of the rendered set: full, partial (half is left unsaid), paraphrased, or wrong (about something else); "
        "partial+full by turns.",
        autocompletion=completed("full", "partial", "paraphrased", "wrong"),
    ),
]
Items = Annotated[int | None, typer.Option("--items", help="The first items only; the kinds of change take turns.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="A method of `bench methods`; to `bench run`, also an editor. Repeatable. Default: all.",
        autocompletion=_complete_method,
    ),
]


def parse_seeds(text: str) -> tuple[int, ...]:
    """Whole numbers between commas.

    Raises:
        ConfigError: something else.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--seeds is {text!r}. Give whole numbers between commas, such as 1,2,3") from None


def open_dataset(place: str, *, split: str, captions: str, items: int | None) -> "Dataset":
    """The data set, or its first items; by turns with each of several kinds of captions, "partial+full".

    Raises:
        ConfigError: nothing there, anything wrong with its content, or no number of items.
    """
    from latentedit_bench.data.counterfactual import PREFIX
    from latentedit_bench.data.loading import load_dataset, taking_turns

    if items is not None and items < 1:
        raise ConfigError(f"--items is {items}, and must be 1 or more")
    told = captions.split("+") if place.startswith(PREFIX) else [captions]
    found = taking_turns([load_dataset(place, split=split, captions=kind) for kind in told])
    return found if items is None else found.head(items)


def lasting(place: str) -> str:
    """A data set's name, or its path from wherever one goes on."""
    return str(Path(place).resolve()) if Path(place).exists() else place
