"""A separate data folder for every test."""

from pathlib import Path

import pytest

from latentedit.models.model_settings import VARIABLE


@pytest.fixture(autouse=True)
def data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
