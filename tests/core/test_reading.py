"""Special files, oversized files and invalid JSON are rejected without blocking."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from latentedit.core.errors import FileFormatError, ImageError, OutputError
from latentedit.core.files import (
    open_file,
    parse_json,
    read_bytes,
    read_json,
    read_object,
    read_text,
    user_folder,
    user_path,
)


@pytest.fixture(autouse=True)
def timeout() -> Iterator[None]:
    """Fails instead of blocking forever, as opening a pipe could."""
    signal.alarm(20)
    yield
    signal.alarm(0)


def test_contents_are_read_unchanged(tmp_path: Path) -> None:
    (tmp_path / "me").write_bytes(b"\xef\xbb\xbf\xc3\xa9\r\n")
    assert read_bytes(tmp_path / "me", limit=7) == b"\xef\xbb\xbf\xc3\xa9\r\n"
    assert read_text(str(tmp_path / "me"), limit=7) == "é\r\n"
    (tmp_path / "link").symlink_to(tmp_path / "me")
    with open_file(tmp_path / "link", limit=None) as file:
        assert file.read(3) == b"\xef\xbb\xbf"


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(12_000_000_000)  # sparse, so it takes no disk space
    names = ("missing", "huge/me", "folder", "pipe", "zeros", "socket", "loop", "huge", "n" * 5000, "nu\0ll")
    # Relative names, since the path of a socket is limited to about a hundred characters.
    with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for name in names:
            with pytest.raises(ImageError, match="n{200}[^n]" if name.startswith("nn") else name):
                read_bytes(name, limit=1000, error=ImageError)


def test_files_without_permission_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "me").touch()
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(FileFormatError):
        read_bytes(tmp_path / "me", limit=1)


def test_a_file_replaced_by_a_pipe_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The opened file is checked, not the path."""
    (tmp_path / "me").touch()
    real_open = os.open

    def open_replaced(name: str, flags: int) -> int:
        Path(name).unlink()
        os.mkfifo(name)
        return real_open(name, flags)

    monkeypatch.setattr(os, "open", open_replaced)
    with pytest.raises(FileFormatError):
        read_bytes(tmp_path / "me", limit=1)


def test_invalid_utf8_is_rejected_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "me").write_bytes(b"one\ntwo \xe9")
    with pytest.raises(FileFormatError, match=r"0xe9.*2"):
        read_text(tmp_path / "me", limit=100)


def test_user_paths_are_expanded_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/me") == tmp_path / "me"
    assert user_path(tmp_path / "nowhere" / "me") == tmp_path / "nowhere" / "me"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, expected in (
        ("~nosuchuser/x", "~nosuchuser/x"),
        ("A" * 5000, "A{200}[^A]"),
        (tmp_path / "loop", "loop"),
        (tmp_path / "loop" / "me", "loop"),
    ):
        with pytest.raises(OutputError, match=expected):
            user_path(name, error=OutputError)


def test_json_files_are_checked_for_size_and_nan(tmp_path: Path) -> None:
    (tmp_path / "me.json").write_text('{"a": [Infinity]}')
    assert read_json(tmp_path / "me.json", allow_nan=True) == {"a": [float("inf")]}
    with pytest.raises(ImageError):
        read_json(tmp_path / "me.json", error=ImageError)
    with pytest.raises(FileFormatError):
        read_json(tmp_path / "me.json", limit=16)


def test_json_objects_are_parsed_strictly() -> None:
    parsed = read_object('{"a": [1, 1e3, true, null, "é"], "b": {"a": -1}}')
    assert parsed == {"a": [1, 1000.0, True, None, "é"], "b": {"a": -1}}
    invalid = (
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
    for text in invalid:
        with pytest.raises(ValueError, match=r"^(it|syntax) "):
            read_object(text)
    assert parse_json("[1e308, -1e999]", allow_nan=True) == [1e308, -float("inf")]


def test_user_folders_follow_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
