"""A pytest plugin: the repository is not a Python package, though its ``__init__.py``, for ComfyUI, makes it look so.

Without it, pytest would name the tests after the folder of the clone, and import modules of tests twice.
"""

from pathlib import Path

import pytest
from _pytest import pathlib

ROOT = Path(__file__).resolve().parents[1]


def package_of(path: Path) -> Path | None:
    """The outermost folder of the package of a path, as pytest determines it, but below the repository."""
    found = None
    for folder in (path, *path.parents):
        if folder.is_dir():
            if folder == ROOT or not folder.name.isidentifier() or not (folder / "__init__.py").is_file():
                break
            found = folder
    return found


pathlib.resolve_package_path = package_of


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Modules of the products without an example are not imported for their doctests."""
    is_source = collection_path.suffix == ".py" and "src" in collection_path.relative_to(ROOT).parts
    return True if is_source and ">>>" not in collection_path.read_text(encoding="utf-8") else None


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None
