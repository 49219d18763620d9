"""latentedit bench on a tiny model: methods, data, tuning, a run, an open task; and what is refused in one line."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from latentedit_bench.data.counterfactual import counterfactual
from tests.api.manifests.pictures import write_picture
from tests.bench.cli.conftest import METHOD
from tests.commands import Command, Refused

pytestmark = pytest.mark.slow


@pytest.mark.nightly
def test_the_rendered_set_is_described_without_a_model(command: Command, unloaded: None) -> None:
    outcome = command("bench", "data", "--split", "calibration", "--items", 8)
    assert outcome.code == 0, outcome.err
    told = json.loads(command("bench", "data", "--split", "calibration", "--items", 8, "--json").out)
    assert told["kinds"] == {"single": 4, "pair": 1, "graded": 2, "triple": 1}
    assert told["fingerprint"] == counterfactual("portraits", "calibration").head(8).fingerprint
    assert told["manifest"] is None
    turns = json.loads(command("bench", "data", "--captions", "partial+full", "--json").out)
    assert turns["name"] == "counterfactual-portraits/test/partial by turns with counterfactual-portraits/test/full"
    assert turns["items"] == 480


def test_a_manifest_is_described_and_copied(command: Command, manifest: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "manifest.csv"
    outcome = command("bench", "data", manifest, "-o", copy.parent)
    assert outcome.code == 0, outcome.err
    assert "manifest, version unversioned: 2 items, 2 with a right answer" in outcome.out
    assert str(copy) in outcome.out
    first, second = (json.loads(command("bench", "data", place, "--json").out) for place in (manifest, copy))
    assert first["fingerprint"] == second["fingerprint"]


@pytest.mark.nightly
def test_tuning_and_a_run_with_what_it_found(
    command: Command, manifest: Path, where: tuple[str, ...], tmp_path: Path
) -> None:
    settings, folder = tmp_path / "tuning.json", tmp_path / "run"
    tuned = command("bench", "tune", manifest, "--method", "sdedit", "--items", 1, "-o", settings, *where)
    assert tuned.code == 0, tuned.err
    assert tuned.out.startswith("sdedit")
    assert "the best of 16" in tuned.out
    known = json.loads(settings.read_text())["methods"]["sdedit"]
    assert (len(known["tried"]), known["data"]["items"]) == (16, 1)
    before = settings.read_bytes()
    again = command("bench", "tune", manifest, "--method", "sdedit", "--items", 1, "-o", settings, *where)
    assert (again.code, again.out) == (0, ""), "what is known is not tried again"
    assert settings.read_bytes() == before
    words = ("--method", "sdedit", "--settings", settings, "--strengths", "0.5,1", "--seeds", "1", "-o", folder)
    ran = command("bench", "run", manifest, *words, *where, "--pictures")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == f"6 rows; ranking in {folder / 'ranking.md'}, curves in {folder / 'curves.png'}"
    assert len(list((folder / "pictures" / "sdedit").rglob("*.png"))) == 4
    with (folder / "items.csv").open() as file:
        found = [(row["method"], row["item"]) for row in csv.DictReader(file)]
    assert found[-2:] == [("sdedit", "item-0"), ("sdedit", "item-1")], "after those of the codec alone"
    assert (folder / "pictures.png").is_file()
    assert json.loads((folder / "run.json").read_text())["plan"]["methods"][0]["settings"] == known["best"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("data", "--items", "0"), "--items is 0, and must be 1 or more"),
        (("run", "--items", "1", "--batch", "0"), "--batch is 0, and must be 1 or more"),
        (("run", "--items", "1", "--seeds", "1;2"), "--seeds is '1;2'. Give whole numbers"),
    ],
)
def test_wrong_input_is_refused_before_a_model_is_loaded(
    refused: Refused, unloaded: None, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    more = () if arguments[0] == "data" else ("-o", tmp_path / "out")
    assert expected in refused("bench", *arguments, *more)


@pytest.mark.nightly
def test_data_without_right_answers_is_not_ranked(
    command: Command, tmp_path: Path, where: tuple[str, ...], settings_of: Callable[..., Path]
) -> None:
    write_picture(tmp_path / "a.png", (64, 64))
    row = {"picture": "a.png", "source_caption": "a person with no glasses", "target_caption": "a person with glasses"}
    (tmp_path / "edits.json").write_text(json.dumps([row]))
    words = ("--method", METHOD, "--settings", settings_of(METHOD), "--strengths", "1,2", "--seeds", "1")
    outcome = command("bench", "run", tmp_path / "edits.json", *words, *where, "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"2 rows, without right answers to rank by, in {tmp_path / 'out' / 'rows.csv'}\n"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"claims", "pictures.png", "previews", "rows", "rows.csv", "run.json"}
    tuned = command("bench", "tune", tmp_path / "edits.json", "--method", "sdedit", *where, "-o", tmp_path / "t.json")
    assert (tuned.code, tuned.out) == (2, "")
    assert "no item has a right answer to choose settings by" in tuned.err


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
