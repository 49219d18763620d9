"""``latentedit bench keep``: a few cases, and a run that goes on."""

import json
from pathlib import Path

import pytest

from latentedit_bench.cli import bench_keep
from latentedit_bench.known_pairs import cases
from tests.commands import Command, Refused

pytestmark = pytest.mark.slow


@pytest.mark.nightly
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


def test_cases_are_measured_again_once_they_are_drawn_anew_or_the_code_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = Path(__file__).parents[3] / "results" / "keep" / "cases.jsonl"
    monkeypatch.setattr(bench_keep, "__version__", "0.1.0")
    assert sorted(bench_keep._known(stored, "test")) == list(range(114))
    assert not bench_keep._known(stored, "calibration")
    with monkeypatch.context() as patched:
        patched.setitem(cases.SEEDS, "test", 5)
        assert not bench_keep._known(stored, "test")
    monkeypatch.setattr(bench_keep, "__version__", "0.2.0")
    assert not bench_keep._known(stored, "test")


def test_what_makes_no_sense_is_refused(refused: Refused) -> None:
    assert "--split is calibration or test" in refused("bench", "keep", "--split", "train")
    assert "at least 1" in refused("bench", "keep", "--count", "0")
