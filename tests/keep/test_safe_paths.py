"""Files below a root folder with links in it."""

import contextlib
import os
from pathlib import Path

import pytest

from latentedit.core.errors import OutputError
from latentedit.core.safe_paths import names_in, open_beneath, place_new


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("made/1", "made/2", "root/sub/a", "outside/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "root/link").symlink_to("sub")
    (tmp_path / "root/sub/link").symlink_to("a")
    return tmp_path / "root"


@pytest.mark.parametrize(("name", "is_read"), [("sub/a", True), ("link/a", False), ("sub/link", False)])
def test_no_link_is_followed(name: str, is_read: bool, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with contextlib.nullcontext() if is_read else pytest.raises(OSError, match=r"Not a dir|Too many"):
        os.close(open_beneath(name, os.O_RDONLY))
    assert names_in(root, Path("link")) == []
    assert sorted(names_in(root, Path())) == ["link", "sub"]


def test_new_files_get_the_first_free_names(root: Path) -> None:
    names = iter(["b", "a", "b"])  # the first is only asked for its folder
    first, second = root.parent / "made/1", root.parent / "made/2"
    placed = place_new(root, {first: lambda: Path("sub", next(names)), second: Path("d")})
    assert placed == [Path("sub/b"), Path("d")]
    assert [(root / path).read_text() for path in (*placed, Path("sub/a"))] == ["made/1", "made/2", "root/sub/a"]
    assert {path.name for path in root.rglob("*")} == {"a", "b", "d", "link", "sub"}


@pytest.mark.parametrize("taken", ["sub/a", "link/new", "none/new"])
def test_all_files_are_placed_or_none(taken: str, root: Path) -> None:
    before = {path: path.is_file() and path.read_bytes() for path in root.rglob("*")}
    files = {root.parent / "made/1": Path("new"), root.parent / "made/2": Path(taken)}
    with pytest.raises(OutputError):
        place_new(root, files)
    assert {path: path.is_file() and path.read_bytes() for path in root.rglob("*")} == before
