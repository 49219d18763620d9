"""Folders in place of the models that packages provide."""

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
    """Use the model folders in a folder, looked up at each use, in place of those of packages."""
    installed = Registry.points

    def points(registry: Registry) -> dict[str, Any]:
        folders = [path.parent for path in sorted(home.glob("*/model_index.json"))]
        return {path.name: _Carried(path) for path in folders} if registry is MODELS else installed(registry)

    monkeypatch.setattr(Registry, "points", points)
