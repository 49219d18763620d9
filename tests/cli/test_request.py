"""Checks of arguments before the model is loaded."""

import contextlib
import dataclasses
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from latentedit.cli.edit import recorded_model
from latentedit.cli.options import ModelChoice
from latentedit.cli.options import _edit_option as option_of
from latentedit.cli.program import check_arrows
from latentedit.core.errors import ConfigError
from latentedit.core.files import sibling_path
from latentedit.core.recipe import option as declare
from latentedit.encoding.record import RunRecord
from tests.encoding.test_record import example_record


@contextlib.contextmanager
def stdout_to(name: str) -> Iterator[int]:
    """Inside, file descriptor 1 is a new file."""
    created, before = os.open(name, os.O_CREAT | os.O_RDWR), os.dup(1)
    os.dup2(created, 1)
    try:
        yield created
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(created)


@pytest.mark.parametrize(
    ("left", "meant"),
    [
        ("--change =", '"=> glasses"'),
        ("--change -", '"=> glasses"'),
        ("--change hat=", '"hat => glasses"'),
        ("--change hat =", '"hat => glasses"'),
        ("--add a --change hat -", '"hat => glasses"'),
    ],
)
def test_an_unquoted_arrow_is_rejected_with_the_file_that_the_shell_created(
    tmp_path: Path, left: str, meant: str
) -> None:
    """A shell reads ``--change => glasses`` as ``--change =`` with standard output to a file of that name."""
    with contextlib.chdir(tmp_path), stdout_to("glasses") as created:
        with pytest.raises(ConfigError, match=f"{meant}.* glasses"):
            check_arrows(["edit", *left.split()])
        os.write(created, b"not empty")
        os.close(os.open("other", os.O_CREAT))
        with pytest.raises(ConfigError):
            check_arrows(["edit", *left.split()])
    for line in ("edit --change =>x", "edit --change a=>", "keep a -", "edit --prompt =", "edit -o a="):
        check_arrows(line.split())


@pytest.mark.parametrize(("typed", "value"), [("--fade 0.4", 0.4), ("--fade=-2", -2.0), ("", 0.5)])
def test_a_field_with_a_number_is_an_option_with_a_number(typed: str, value: float) -> None:
    """The field is declared as in the steps for a new option in CONTRIBUTING.md."""
    (field,) = dataclasses.fields(dataclasses.make_dataclass("Request", [("fade", float, declare(0.5))]))
    received: list[object] = []

    def command(**given: object) -> None:
        received.append(given["fade"])

    described: Any = command
    described.__signature__ = inspect.Signature([option_of(field, "How soft.")])
    app = typer.Typer()
    app.command()(described)
    assert CliRunner().invoke(app, typed.split()).exit_code == 0
    assert (received, type(received[0])) == ([value], float)
    assert CliRunner().invoke(app, ["--fade", "soft"]).exit_code == 2


@pytest.mark.parametrize(
    ("image", "output"),
    [("a/me.png", "a/me.edited.png"), ("me", "me.edited.png"), ("a.b.jpg", "a.b.edited.png"), (".", ".edited.png")],
)
def test_default_names_of_results(image: str, output: str) -> None:
    assert sibling_path(Path(image), "edited.png") == Path(output)


@pytest.mark.parametrize("letter", ["b", "é", "\udc80"])
def test_very_long_names_are_shortened(letter: str, tmp_path: Path) -> None:
    """Names that differ only at their end stay different, and leave room for the name of a JSON file."""
    count = 251 // len(os.fsencode(letter))
    names = [sibling_path(tmp_path / f"{letter * (count - 1)}{end}.png", "edited.png") for end in "ab"]
    assert len(set(names)) == 2
    for name in names:
        assert len(os.fsencode(name.name)) < 240
        name.with_name(f"{name.name}.json").touch()


@pytest.mark.parametrize("given", [None, "org/name", "./folder", ""])
def test_the_model_is_the_requested_or_a_bundled_one(bundled: Path, given: str | None) -> None:
    """A foreign file must neither start a download nor open a folder."""
    record = example_record()
    assert recorded_model(record, ModelChoice(model=given)).name == ("portraits" if given is None else given)
    for name in ("org/name", "folder", "/home/me/portraits", ""):
        other: RunRecord = record.model_copy(update={"model": record.model.model_copy(update={"name": name})})
        if given is None:
            with pytest.raises(ConfigError, match="with --model"):
                recorded_model(other, ModelChoice())
        else:
            assert recorded_model(other, ModelChoice(model=given)).name == given
