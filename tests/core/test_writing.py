"""Output paths are checked in advance, and files are written completely or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from latentedit.core.errors import OutputError
from latentedit.core.files import atomic_file, check_place, make_folder, write_text
from tests.folders import names_in


def test_checking_a_valid_place_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    check_place(tmp_path / "new", source=tmp_path / "old")
    check_place(str(tmp_path / "old"), source=tmp_path / "another")
    check_place(tmp_path / ("n" * 255))
    assert names_in(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_invalid_places_are_rejected(tmp_path: Path, read_only_folder: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "me").touch()
    (tmp_path / "link").symlink_to(tmp_path / "me")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, source, name in (
        (tmp_path / "folder", None, "folder"),
        (tmp_path / "nowhere" / "out", None, "nowhere"),
        (tmp_path / "me" / "out", None, "me"),
        (tmp_path / "me", tmp_path / "folder" / ".." / "me", "me"),
        (tmp_path / "link", tmp_path / "me", "link"),
        (read_only_folder / "out", None, "out"),
        (tmp_path / ("n" * 300), None, "nnn"),
        (tmp_path / "loop", None, "loop"),
        (tmp_path / "loop" / "out", None, "out"),
    ):
        with pytest.raises(OutputError, match=name) as caught:
            check_place(path, source=source)
        assert "\n" not in str(caught.value)
    assert names_in(tmp_path / "folder") == []


def test_atomic_files_appear_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert len(names_in(tmp_path)) == 2
    assert path.read_bytes() == b"new"
    assert names_in(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("odd"), KeyboardInterrupt()])
def test_interrupted_writes_keep_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    expected = OutputError if isinstance(error, OSError) else type(error)

    def write_half() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(expected):
        write_half()
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["out"]


@pytest.mark.parametrize("write", [lambda path: write_text(path, "x"), lambda path: atomic_file(path).__enter__()])
def test_write_errors_are_one_line(tmp_path: Path, read_only_folder: Path, write: Callable[[Path], object]) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "nowhere", tmp_path / "file", read_only_folder):
        with pytest.raises(OutputError) as caught:
            write(folder / "out")
        assert "\n" not in str(caught.value)


def test_text_is_written_unchanged_under_the_longest_name(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 255), "é\r\n\0")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"\xc3\xa9\r\n\0"
    with pytest.raises(OutputError):
        write_text(tmp_path / ("n" * 256), "x")
    assert names_in(tmp_path) == ["n" * 255]


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    check_place("~/out")
    write_text("~/out", "new")
    make_folder("~/folder")
    assert names_in(tmp_path) == ["folder", "out"]
    with pytest.raises(OutputError, match="Choose another place"):
        make_folder("~/out/below")


@pytest.mark.parametrize("links", [1, 3])
@pytest.mark.parametrize("there", [True, False])
def test_links_stay_and_the_file_at_their_end_is_written(tmp_path: Path, there: bool, links: int) -> None:
    target, chain = tmp_path / "disk" / "out", [tmp_path / f"link{number}" for number in range(links)]
    for name in ("disk", "far"):
        (tmp_path / name).mkdir()
    for place, link in zip([Path("disk/out"), *chain], chain, strict=False):
        link.symlink_to(place)
    if there:
        target.write_bytes(b"old")
    check_place(chain[-1])
    write_text(chain[-1], "new")
    assert all(link.is_symlink() for link in chain)
    assert (target.read_bytes(), names_in(tmp_path / "disk")) == (b"new", ["out"])


def test_what_a_link_leads_to_is_checked(tmp_path: Path, read_only_folder: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, target in (("a", "nowhere/out"), ("b", read_only_folder / "out"), ("c", "pipe"), ("d", tmp_path)):
        (tmp_path / name).symlink_to(target)
        for write in (check_place, lambda path: write_text(path, "x")):
            with pytest.raises(OutputError) as caught:
                write(tmp_path / name)
            assert "\n" not in str(caught.value)
        assert (tmp_path / name).is_symlink()
    with pytest.raises(OutputError, match="regular"):
        write_text(tmp_path / "pipe", "x")


@pytest.mark.parametrize(("before", "after"), [(0o664, 0o664), (0o600, 0o600), (0o444, 0o444), (None, 0o640)])
def test_permissions_stay_and_those_of_new_files_are_the_users(
    tmp_path: Path, before: int | None, after: int, request: pytest.FixtureRequest
) -> None:
    path, usual = tmp_path / "out", os.umask(0o027)
    request.addfinalizer(lambda: os.umask(usual))
    if before is not None:
        path.touch()
        path.chmod(before)
    with atomic_file(path) as file:
        assert os.fstat(file.fileno()).st_mode & 0o577 & ~after == 0  # never open to more people than at the end
    assert path.stat().st_mode & 0o777 == after
