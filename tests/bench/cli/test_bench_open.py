"""``latentedit bench data --domain`` and ``bench score``: a task written, entered, scored; and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from tests.commands import Command, Refused

pytestmark = pytest.mark.slow

TASK = ("bench", "data", "--domain", "portraits", "--size", 64, "--items", 3)


@pytest.fixture
def folder(command: Command, tmp_path: Path) -> Path:
    """A task whose outputs are copies of the pictures."""
    place = tmp_path / "task"
    assert command(*TASK, "-o", place).code == 0
    for picture in (place / "images").iterdir():
        shutil.copy(picture, place / "outputs")
    return place


def test_a_task_is_written_and_says_how_to_go_on(command: Command, tmp_path: Path) -> None:
    outcome = command(*TASK, "-o", tmp_path / "task")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(f"open-portraits 1.2.0, public, 64 px: 3 items in {tmp_path / 'task'}\n")
    assert f"latentedit bench score {tmp_path / 'task'}" in outcome.out
    found = sorted(path.name for path in (tmp_path / "task").iterdir())
    assert found == ["README.md", "images", "items.jsonl", "outputs", "task.json"]


@pytest.mark.nightly
def test_a_folder_is_scored(command: Command, folder: Path) -> None:
    (folder / "outputs" / "public-001.png").unlink()
    outcome = command("bench", "score", folder, "--no-keep", "--name", "copies")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("copies on open-portraits 1.2.0, public, 64 px\n")
    assert "as it is               error 1.000; done 0.000\n" in outcome.out
    assert "edit 10 of 10 in a row error 1.000; done 0.000\n" in outcome.out
    assert "failed                 10 of 12 files\n" in outcome.out, "the third item goes on for nine more edits"
    assert "outputs/public-001.png is missing" in outcome.err
    told = json.loads((folder / "score.json").read_text())
    assert told["entry"]["failed"] == 10
    assert [one["error"] for one in told["items"]] == 12 * [1]
    assert "copies on open-portraits" in (folder / "score.html").read_text()
    again = command("bench", "score", folder, "--no-keep", "--name", "more", "--json")
    assert json.loads(again.out)["entry"]["name"] == "more"


def test_a_place_that_cannot_be_written_to_is_told_before_the_work(folder: Path, refused: Refused) -> None:
    (folder / "score.json").mkdir()
    (folder / "images" / "public-000.png").unlink()  # what scoring would stumble over
    assert "score.json is a folder" in refused("bench", "score", folder, "--no-keep")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (TASK, "Give -o FOLDER"),
        (("bench", "data", "--size", 512), "Name its --domain too"),
        ((*TASK, "--captions", "partial", "-o", "x"), "Leave them out"),
        (("bench", "score", "nowhere"), "no task is in nowhere"),
        (("bench", "score", "nowhere", "--workers", 0), "--workers is 0"),
    ],
)
def test_what_cannot_be_is_refused(refused: Refused, arguments: tuple[object, ...], said: str) -> None:
    assert said in refused(*arguments)
