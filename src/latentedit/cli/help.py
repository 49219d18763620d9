"""``latentedit help``: a command, or how to choose and load a model."""

from typing import Annotated

import typer

from latentedit.cli.options import ModelChoice, chooses_model

_MODEL = "model"  # the topic that is no command


def explain(
    topic: Annotated[list[str] | None, typer.Argument(help="A command, or model.", metavar="TOPIC")] = None,
) -> None:
    """Explain a command; `help model`: how to choose and load a model.

    Examples:
        latentedit help model
        latentedit help direction make
    """
    from latentedit.cli.program import prepared, run

    if topic == [_MODEL]:
        prepared("COMMAND", _model, all_options=True).make_context("latentedit COMMAND", ["--help"])
    raise typer.Exit(run([*(topic or []), "--help"]))


@chooses_model
def _model(*, choice: ModelChoice) -> None:
    """How to choose and load a model, in every command that has --model.

    `latentedit models list` and `models families` list models.

    Examples:
        latentedit edit me.png --add glasses --model portraits-unet
        latentedit edit me.png --add glasses --model org/name@revision
    """
