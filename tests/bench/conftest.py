from collections.abc import Callable
from pathlib import Path

import pytest

Register = Callable[[str, str, str], None]


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Experiments run in this process: another one would lack what a test replaces."""
    for module in ("experiment", "items"):
        monkeypatch.setattr(f"latentedit_bench.experiments.{module}.suitable_workers", lambda *_: 1)


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Register:
    """Installs a package with one entry point: its kind, such as "editors", its name, and what it names."""

    def installed(kind: str, name: str, value: str) -> None:
        folder = tmp_path / f"site-{name}" / "theirs-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[latentedit.{kind}]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(folder.parent)

    return installed
