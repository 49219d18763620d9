"""Files below the current folder with links among them."""

import contextlib
import os
from pathlib import Path

import pytest

from latentedit.core.safe_paths import open_beneath


@pytest.mark.parametrize(("name", "is_read"), [("a", True), ("sub/a", True), ("link/a", False), ("sub/link", False)])
def test_no_link_is_followed(name: str, is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    for file in ("a", "sub/a"):
        (tmp_path / file).touch()
    (tmp_path / "link").symlink_to("sub")
    (tmp_path / "sub/link").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    refused = pytest.raises(OSError, match=r"Not a dir|Too many")
    with contextlib.nullcontext() if is_read else refused:
        os.close(open_beneath(name, os.O_RDONLY))
