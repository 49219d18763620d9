"""Options that several commands of the benchmark share."""

from pathlib import Path

import pytest

from latentedit_bench.cli.bench_options import DATA, lasting, parse_seeds


def test_places_last_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert lasting("mine.csv") == str((tmp_path / "mine.csv").resolve())
    assert lasting(DATA) == DATA
    assert parse_seeds("3, 1") == (3, 1)
