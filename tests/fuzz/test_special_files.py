"""Special files, impossible names and steering text: commands refuse them at once, and print them escaped."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands import *  # noqa: F403
from tests.commands import Command, Refused
from tests.fuzz.judge import bounded

TO = ("--change", "=> glasses", "--source-prompt", "a person with no glasses")
ESCAPES = "\x1b]0;pwned\x07\x1b[31m\u202e"


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    with bounded(25, 6_000_000_000):
        yield


def _sparse(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate(12_000_000_000)  # takes no room on the disk


SPECIAL: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "zeros": lambda place: place.symlink_to("/dev/zero"),
    "kernel messages": lambda place: place.symlink_to("/proc/kmsg"),
    "12 GB": _sparse,
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_in_a_models_folder_and_beside_an_output_are_refused(
    refused: Refused, picture: Path, miniature: Path, tmp_path: Path, kind: str
) -> None:
    SPECIAL[kind](tmp_path / "o.json")
    assert "o.json" in refused("edit", picture, *TO, "--model", miniature, "-o", tmp_path / "o.png")
    for number, file in enumerate(("model_index.json", "vae/config.json", "text_encoder/model.safetensors")):
        if (kind, number) != ("12 GB", 2):
            model = shutil.copytree(miniature, tmp_path / f"{number}")
            (model / file).unlink()
            SPECIAL[kind](model / file)
            assert str(model) in refused("edit", picture, *TO, "--model", model)


@pytest.mark.nightly
def test_special_files_among_the_pictures_of_a_folder_are_failures(
    command: Command, picture: Path, miniature: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(picture, folder / "a.png")
    for number, make in enumerate(SPECIAL.values()):
        make(folder / f"{number}.png")
    outcome = command("edit", folder, *TO, "--method", "sdedit", "--model", miniature, "--workers", 1, "--json")
    assert outcome.code == 1, outcome.err
    facts = json.loads(outcome.out)
    assert facts["edited"] == 1
    assert [one["item"] for one in facts["failures"]] == [f"{number}.png" for number in range(len(SPECIAL))]


@pytest.mark.parametrize("name", ["~nosuchuser/x", "A" * 5000, f"org/{'A' * 5000}"])
def test_names_that_no_file_can_have_are_refused(refused: Refused, picture: Path, miniature: Path, name: str) -> None:
    for option in ("--model", "--captioner", "--mask", "--direction", "-o"):
        model = ("--model", miniature) if option != "--model" else ()
        change = TO[:2] if option == "--captioner" else () if option == "--direction" else TO
        line = refused("edit", picture, *change, option, f"{name}.png" if option == "-o" else name, *model)
        assert name[-100:-5] in line or name in line, option


def test_links_in_a_circle_are_refused(refused: Refused, picture: Path, miniature: Path, tmp_path: Path) -> None:
    loop = tmp_path / "l.png"
    loop.symlink_to(loop)
    for words in (
        ("edit", picture, *TO, "-o", loop),
        ("edit", tmp_path, *TO, "-o", loop),
        ("edit", loop, *TO),
        ("sweep", picture, *TO, "-o", loop),
        ("discover", picture, "-o", loop),
    ):
        assert "l.png" in refused(*words, "--model", miniature)


@pytest.mark.nightly
def test_captions_and_file_names_do_not_steer_the_terminal(
    command: Command, picture: Path, miniature: Path, tmp_path: Path
) -> None:
    named = picture.rename(tmp_path / f"ne\nw{ESCAPES}.png")
    words = ("edit", named, "--source-prompt", "a person", "--prompt", f"a person with {ESCAPES}", "--method", "sdedit")
    outcome, wrong = (command(*words, "--model", miniature, *more) for more in ((), ("--mask", f"no{ESCAPES}.png")))
    assert (outcome.code, wrong.code) == (0, 2)
    assert r"a person with \x1b]0;pwned\x07\x1b[31m\u202e" in outcome.out
    for printed in (outcome, wrong):
        assert not {"\x1b", "\x07", "\u202e"} & set(printed.out + printed.err)
