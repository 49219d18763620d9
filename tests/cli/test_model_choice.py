"""``--model`` and related options: their commands, and the model they load."""

import pickle
from typing import Any

import pytest
import typer

from latentedit.cli.commands import COMMANDS
from latentedit.cli.options import ModelChoice, chooses_model
from latentedit.cli.program import prepared

OPTIONS = {"--model", "--device", "--dtype"}

LOADING = ("caption", "discover", "edit", "path", "replay", "sweep", "transport")


@pytest.mark.parametrize("name", [*LOADING, "direction make", "direction preview"])
def test_every_command_that_loads_a_model_has_all_the_options(name: str) -> None:
    first, *below = name.split()
    command = prepared(first, COMMANDS.load(first))
    for word in below:
        command = command.commands[word]
    assert {option for parameter in command.params for option in parameter.opts} >= OPTIONS


def test_options_that_are_not_given_are_not_passed_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    report: list[Any] = []
    monkeypatch.setattr("latentedit.models.registry.load", lambda *given, **more: report.append((given, more)))
    ModelChoice().load()
    ModelChoice(model="org/name", dtype="float16").load()
    assert report == [(("portraits",), {}), (("org/name",), {"dtype": "float16"})]


def test_a_choice_can_be_pickled_and_completed() -> None:
    choice = ModelChoice(model="a", dtype="auto")
    assert pickle.loads(pickle.dumps(choice)) == choice
    assert choice.or_else(ModelChoice(model="b", dtype="float32", device="cpu")) == ModelChoice(
        model="a", dtype="auto", device="cpu"
    )
    assert choice.arguments() == ["--model", "a", "--dtype", "auto"]


def test_the_options_replace_the_choice_in_the_signature(capsys: pytest.CaptureFixture[str]) -> None:
    @chooses_model
    def shown(first: int = 1, *, choice: ModelChoice, last: int = 2) -> None:
        typer.echo(f"{first} {last} {choice}")

    group = typer.Typer()
    group.command()(shown)
    group(["--first", "3", "--device", "cpu", "--last", "4"], standalone_mode=False)
    assert capsys.readouterr().out == f"3 4 {ModelChoice(device='cpu')}\n"
