"""Packages in a folder as if they were installed, and modules in files."""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

COLORS = {"latentedit.captioners": {"colors": "tests.editors.colors:ColorReader"}}


@contextlib.contextmanager
def installed(folder: Path, entry_points: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Inside, modules in the folder can be imported and the entry points, by group and name, are found."""
    about = folder / f"{folder.name}-1.0.dist-info"  # only the first distribution with a name is found
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {folder.name}\nVersion: 1.0\n")
    groups = {group: "\n".join(f"{name} = {value}" for name, value in of.items()) for group, of in entry_points.items()}
    (about / "entry_points.txt").write_text("\n\n".join(f"[{group}]\n{lines}" for group, lines in groups.items()))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def from_file(path: Path, name: str = "") -> Any:
    """The module or package in a file, under a name of its own."""
    name = name or path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
