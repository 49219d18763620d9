"""``latentedit bench keep``: a few cases, and a run that goes on."""

import json
from pathlib import Path

import pytest

from latentedit_bench.known_pairs import cases
from tests.commands import Command, Refused


def test_it_measures_and_goes_on_where_it_was(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "_PHOTOGRAPH_SIDES", (96,))
    monkeypatch.setattr(cases, "_PORTRAITS_SHARE", 0.0)
    monkeypatch.setattr(cases, "_CYCLE", ("local", "different"))
    arguments = ("bench", "keep", "--split", "calibration", "--chains", "0", "-o", tmp_path)
    done = command(*arguments, "--count", "2")
    assert done.code == 0, done.err
    assert "verdict right: share of cases" in done.out
    first = (tmp_path / "cases.jsonl").read_text()
    other = json.loads(command("bench", "keep", "--chains", "0", "-o", tmp_path, "--count", "2", "--json").out)
    assert json.loads((tmp_path / "cases.jsonl").read_text().splitlines()[-1])["split"] == other["split"] == "test"
    with (tmp_path / "cases.jsonl").open("a") as file:
        file.write('{"split": "calibration", "ca')  # where a disk was full
    told = json.loads(command(*arguments, "--count", "4", "--json").out)
    assert told["cases"] == 4
    assert (tmp_path / "cases.jsonl").read_text().startswith(first)
    assert len([json.loads(line) for line in (tmp_path / "cases.jsonl").read_text().splitlines()]) == 6
    assert json.loads((tmp_path / "keep.json").read_text()) == told


def test_what_makes_no_sense_is_refused(refused: Refused) -> None:
    assert "--split is calibration or test" in refused("bench", "keep", "--split", "train")
    assert "at least 1" in refused("bench", "keep", "--count", "0")
