"""What makes no sense is refused before anything is loaded, in one line."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from latentedit.cli.model_choice import ModelChoice
from latentedit.cli.request import check_arrows, recorded_model
from latentedit.core.errors import ConfigError, LatentEditError
from latentedit.latents.record import RunRecord
from latentedit_keep.files import named_beside
from tests.latents.test_record import example


def refusal(error: type[LatentEditError], act: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        act()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


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
def test_an_arrow_that_the_shell_took_is_told_with_the_file_that_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str, meant: str
) -> None:
    """What a shell leaves of ``--change => glasses``: standard output goes to a file of that name."""
    monkeypatch.chdir(tmp_path)
    made = os.open("glasses", os.O_CREAT | os.O_RDWR)
    status = os.fstat
    monkeypatch.setattr(os, "fstat", lambda number: status(made if number == 1 else number))
    assert refusal(ConfigError, lambda: check_arrows(["edit", *left.split()])).endswith("the file glasses")
    assert meant in refusal(ConfigError, lambda: check_arrows(["edit", *left.split()]))
    os.write(made, b"of somebody")
    os.close(os.open("other", os.O_CREAT))
    assert "glasses" not in refusal(ConfigError, lambda: check_arrows(["edit", *left.split()]))
    os.close(made)
    for line in ("edit --change =>x", "edit --change a=>", "keep a -", "edit --to =", "edit -o a="):
        check_arrows(line.split())


@pytest.mark.parametrize(
    ("picture", "output"),
    [("a/me.png", "a/me.edited.png"), ("me", "me.edited.png"), ("a.b.jpg", "a.b.edited.png"), (".", ".edited.png")],
)
def test_a_result_goes_beside_its_picture(picture: str, output: str) -> None:
    assert named_beside(Path(picture), "edited.png") == Path(output)


@pytest.mark.parametrize("letter", ["b", "é", "\udc80"])
def test_a_result_of_a_very_long_name_can_be_written(letter: str, tmp_path: Path) -> None:
    """With the JSON beside it; and names that differ at their end only stay apart."""
    count = 251 // len(os.fsencode(letter))
    names = [named_beside(tmp_path / f"{letter * (count - 1)}{end}.png", "edited.png") for end in "ab"]
    assert len(set(names)) == 2
    for name in names:
        assert len(os.fsencode(name.name)) < 240
        name.with_name(f"{name.name}.json").touch()


@pytest.mark.parametrize("named", [None, "org/name", "./folder", ""])
def test_the_model_is_the_one_that_was_named_or_a_bundled_one(bundled: Path, named: str | None) -> None:
    """A file of anyone's has nothing downloaded, and no folder opened."""
    record = example()
    assert record.model.name == "portraits"
    assert recorded_model(record, ModelChoice(model=named)).name == ("portraits" if named is None else named)
    for name in ("org/name", "folder", "/home/me/portraits", ""):
        other: RunRecord = record.model_copy(update={"model": record.model.model_copy(update={"name": name})})
        if named is None:
            assert "with --model" in refusal(ConfigError, lambda other=other: recorded_model(other, ModelChoice()))
        else:
            assert recorded_model(other, ModelChoice(model=named)).name == named
