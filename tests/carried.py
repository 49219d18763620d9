"""Folders in place of the models that packages carry."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from latentedit.core.plugins import MODELS, Registry


@dataclasses.dataclass(frozen=True)
class _Carried:
    path: Path

    def load(self) -> Path:
        return self.path


def carry(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """The model folders in a folder, in place of those that packages carry; looked up at each use."""
    installed = Registry.points

    def points(registry: Registry) -> dict[str, Any]:
        folders = [path.parent for path in sorted(home.glob("*/model_index.json"))]
        return {path.name: _Carried(path) for path in folders} if registry is MODELS else installed(registry)

    monkeypatch.setattr(Registry, "points", points)
