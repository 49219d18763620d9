"""An editor of another package, registered by its entry point."""

from pathlib import Path

import pytest


@pytest.fixture
def installed_oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package "oracle", whose editor is that of the tests."""
    folder = tmp_path / "site" / "oracle-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: oracle\nVersion: 1.0\n")
    editor = "oracle = tests.bench.rendered_network:OracleEditor"
    (folder / "entry_points.txt").write_text(f"[latentedit.editors]\n{editor}\n")
    monkeypatch.syspath_prepend(folder.parent)
