"""What is no regular file, too large, too deep or no strict JSON is refused in one line, and nothing waits for it."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from latentedit.core.errors import FileFormatError, ImageError, OutputError
from latentedit.core.files import user_folder
from latentedit_keep.base.files import open_file, parse_json, read_bytes, read_json, read_object, read_text, user_path


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """Fail instead of waiting for ever, as a pipe that is opened as any file would."""
    signal.alarm(20)
    yield
    signal.alarm(0)


def test_what_is_read_is_there_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "me").write_bytes(b"\xef\xbb\xbf\xc3\xa9\r\n")
    assert read_bytes(tmp_path / "me", limit=7) == b"\xef\xbb\xbf\xc3\xa9\r\n"
    assert read_text(str(tmp_path / "me"), limit=7) == "é\r\n"
    (tmp_path / "link").symlink_to(tmp_path / "me")
    with open_file(tmp_path / "link", limit=None) as file:
        assert file.read(3) == b"\xef\xbb\xbf"


def test_what_is_no_regular_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(12_000_000_000)  # takes no room on the disk
    names = ("missing", "huge/me", "folder", "pipe", "zeros", "socket", "loop", "huge", "n" * 5000, "nu\0ll")
    # In the folder, since the name of a socket may be a hundred letters long.
    with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name in names:
            with pytest.raises(ImageError, match="n{200}[^n]" if name.startswith("nn") else name):
                read_bytes(name, limit=1000, error=ImageError)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "me").touch()
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(FileFormatError):
        read_bytes(tmp_path / "me", limit=1)


def test_a_file_that_is_exchanged_for_a_pipe_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened is looked at, not the name."""
    (tmp_path / "me").touch()
    before = os.open

    def exchanged(name: str, flags: int) -> int:
        Path(name).unlink()
        os.mkfifo(name)
        return before(name, flags)

    monkeypatch.setattr(os, "open", exchanged)
    with pytest.raises(FileFormatError):
        read_bytes(tmp_path / "me", limit=1)


def test_a_text_of_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "me").write_bytes(b"one\ntwo \xe9")
    with pytest.raises(FileFormatError, match=r"0xe9.*2"):
        read_text(tmp_path / "me", limit=100)


def test_paths_as_they_are_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/me") == tmp_path / "me"
    assert user_path(tmp_path / "nowhere" / "me") == tmp_path / "nowhere" / "me"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, shown in (
        ("~nosuchuser/x", "~nosuchuser/x"),
        ("A" * 5000, "A{200}[^A]"),
        (tmp_path / "loop", "loop"),
        (tmp_path / "loop" / "me", "loop"),
    ):
        with pytest.raises(OutputError, match=shown):
            user_path(name, error=OutputError)


def test_json_files(tmp_path: Path) -> None:
    (tmp_path / "me.json").write_text('{"a": [Infinity]}')
    assert read_json(tmp_path / "me.json", allow_nan=True) == {"a": [float("inf")]}
    with pytest.raises(ImageError):
        read_json(tmp_path / "me.json", error=ImageError)
    with pytest.raises(FileFormatError):
        read_json(tmp_path / "me.json", limit=16)


def test_strict_objects() -> None:
    found = read_object('{"a": [1, 1e3, true, null, "é"], "b": {"a": -1}}')
    assert found == {"a": [1, 1000.0, True, None, "é"], "b": {"a": -1}}
    wrong = (
        "1e999",
        '{"a": [-1e400]}',
        "9" * 5000,
        '{"a": NaN}',
        "",
        "1",
        "[]",
        '{"a": Infinity}',
        '{"a": "\\udc00"}',
        "\ud800",
        b"\xff",
        "[" * 200_000,
        '{"a":' * 200_000,
    )
    for text in wrong:
        with pytest.raises(ValueError, match=r"^(it|syntax) "):
            read_object(text)
    assert parse_json("[1e308, -1e999]", allow_nan=True) == [1e308, -float("inf")]


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
