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
    outcome = command(*TASK, "-o", place)
    assert outcome.code == 0, outcome.err
    assert f"latentedit bench score {place}" in outcome.out
    for picture in (place / "images").iterdir():
        shutil.copy(picture, place / "outputs")
    return place


def test_a_task_is_written_and_scored(command: Command, folder: Path) -> None:
    found = sorted(path.name for path in folder.iterdir())
    assert found == ["README.md", "images", "items.jsonl", "outputs", "task.json"]
    (folder / "outputs" / "public-001.png").unlink()
    outcome = command("bench", "score", folder, "--no-keep", "--name", "copies")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("copies on open-portraits 1.3.0, public, 64 px\n")
    assert "error 1.000; done 0.000\n" in outcome.out
    assert "1 of 3 files\n" in outcome.out
    assert "outputs/public-001.png is missing" in outcome.err
    told = json.loads((folder / "score.json").read_text())
    assert told["entry"]["failed"] == 1
    assert [one["error"] for one in told["items"]] == 3 * [1]
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
