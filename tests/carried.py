"""Folders in place of the models that packages carry."""

import dataclasses
from pathlib import Path

import pytest


@dataclasses.dataclass(frozen=True)
class _Carried:
    path: Path

    def load(self) -> Path:
        return self.path


def carry(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """The model folders in a folder, in place of those that packages carry; looked up at each use."""
    monkeypatch.setattr(
        "latentedit.models.registry._bundled",
        lambda: {path.parent.name: _Carried(path.parent) for path in home.glob("*/model_index.json")},
    )
