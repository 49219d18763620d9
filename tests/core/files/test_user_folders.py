"""Caches and lasting data lie where each platform keeps them."""

from pathlib import Path

import pytest

from latentedit.core.files.user_folders import user_folder


def test_data_and_caches_lie_apart_where_the_platform_has_them_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert user_folder("data") == Path.home() / ".local" / "share" / "latentedit"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert user_folder("data") == tmp_path / "latentedit" != user_folder("cache")
    monkeypatch.setattr("sys.platform", "darwin")
    assert user_folder("data") == Path.home() / "Library" / "Application Support" / "latentedit"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert user_folder("data") == user_folder("cache") == tmp_path / "local" / "latentedit"
