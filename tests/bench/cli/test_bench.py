"""``latentedit bench`` on a tiny model: methods, data, tuning, a run; and what is refused in one line."""

import csv
import json
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


@pytest.mark.nightly
def test_a_run_compares_ours_with_the_baselines_and_goes_on(
    command: Command, manifest: Path, where: tuple[str, ...], tmp_path: Path, settings_of: Callable[..., Path]
) -> None:
    settings, run = settings_of(METHOD), ("-o", tmp_path / "run")
    arguments = ("bench", "run", manifest, "--settings", settings, *where, "--strengths", "1,2")
    first = json.loads(command(*arguments, *run, "--json").out)
    assert first["rows"] == 2 + 2 * 2 * 2 * 5, "of the codec, and by two methods at two strengths with five seeds"
    compared = [(one["ours"], one["other"], one["verdict"]) for one in first["comparisons"]]
    assert compared == [("eim", METHOD, "undecided at this size")]
    before = (tmp_path / "run" / "rows.csv").read_bytes()
    assert json.loads(command(*arguments, *run, "--json").out) == first
    assert (tmp_path / "run" / "rows.csv").read_bytes() == before
    assert command(*arguments, *run, "--quiet").out == ""
    alone = command(*arguments[:-1], "1", "--method", METHOD, "--items", 1, "-o", tmp_path / "one")
    assert alone.code == 0, alone.err
    assert len(alone.out.splitlines()) == 1
    assert alone.out.startswith("6 rows;"), "at strength 1 alone"


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
