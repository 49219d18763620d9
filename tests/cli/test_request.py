"""Checks of arguments before anything is loaded."""

import os
from pathlib import Path

import pytest

from latentedit.cli.edit import recorded_model
from latentedit.cli.main import check_arrows
from latentedit.cli.options import ModelChoice
from latentedit.core.errors import ConfigError
from latentedit.latents.record import RunRecord
from latentedit_keep.base.files import sibling_path
from tests.latents.test_record import example


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
def test_an_unquoted_arrow_is_refused_with_the_file_that_the_shell_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str, meant: str
) -> None:
    """What a shell leaves of ``--change => glasses``: standard output goes to a file of that name."""
    monkeypatch.chdir(tmp_path)
    made = os.open("glasses", os.O_CREAT | os.O_RDWR)
    status = os.fstat
    monkeypatch.setattr(os, "fstat", lambda number: status(made if number == 1 else number))
    with pytest.raises(ConfigError, match=f"{meant}.* the file glasses$"):
        check_arrows(["edit", *left.split()])
    os.write(made, b"of somebody")
    os.close(os.open("other", os.O_CREAT))
    with pytest.raises(ConfigError, match="NEW"):
        check_arrows(["edit", *left.split()])
    os.close(made)
    for line in ("edit --change =>x", "edit --change a=>", "keep a -", "edit --prompt =", "edit -o a="):
        check_arrows(line.split())


@pytest.mark.parametrize(
    ("image", "output"),
    [("a/me.png", "a/me.edited.png"), ("me", "me.edited.png"), ("a.b.jpg", "a.b.edited.png"), (".", ".edited.png")],
)
def test_default_name_of_a_result(image: str, output: str) -> None:
    assert sibling_path(Path(image), "edited.png") == Path(output)


@pytest.mark.parametrize("letter", ["b", "é", "\udc80"])
def test_a_very_long_name_is_cut(letter: str, tmp_path: Path) -> None:
    """Names that differ at their end stay different, and leave room for the name of a JSON file."""
    count = 251 // len(os.fsencode(letter))
    names = [sibling_path(tmp_path / f"{letter * (count - 1)}{end}.png", "edited.png") for end in "ab"]
    assert len(set(names)) == 2
    for name in names:
        assert len(os.fsencode(name.name)) < 240
        name.with_name(f"{name.name}.json").touch()


@pytest.mark.parametrize("given", [None, "org/name", "./folder", ""])
def test_the_model_is_the_given_one_or_a_bundled_one(bundled: Path, given: str | None) -> None:
    """A file of somebody else must not download anything or open a folder."""
    record = example()
    assert recorded_model(record, ModelChoice(model=given)).name == ("portraits" if given is None else given)
    for name in ("org/name", "folder", "/home/me/portraits", ""):
        other: RunRecord = record.model_copy(update={"model": record.model.model_copy(update={"name": name})})
        if given is None:
            with pytest.raises(ConfigError, match="with --model"):
                recorded_model(other, ModelChoice())
        else:
            assert recorded_model(other, ModelChoice(model=given)).name == given
