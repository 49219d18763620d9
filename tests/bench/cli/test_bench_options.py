"""Options that several commands of the benchmark share."""

from pathlib import Path

import pytest

from latentedit.core.errors import ConfigError
from latentedit_bench.cli.bench_options import DATA, lasting, open_dataset


@pytest.mark.nightly
def test_the_first_items_of_a_data_set() -> None:
    assert len(open_dataset(DATA, split="test", captions="full", items=3).items) == 3
    with pytest.raises(ConfigError, match="--items is 0, and must be 1 or more"):
        open_dataset(DATA, split="test", captions="full", items=0)


def test_places_last_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert lasting("mine.csv") == str((tmp_path / "mine.csv").resolve())
    assert lasting(DATA) == DATA
