from pathlib import Path

import pytest

from latentedit.api.manifests.documents import read_csv, read_document, read_text
from latentedit.core.errors import FileFormatError


def written(tmp_path: Path, name: str, data: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", '﻿picture,été\r\n\r\n"a,b","c\nd"\r\n'.encode())
    assert read_csv(path) == [["picture", "été"], ["a,b", "c\nd"]]


BOMB = "\n".join(["- &a0 {x: 1}", *(f"- &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}" for n in range(1, 28))]).encode()
"""A YAML file whose every line means the line before twice."""


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b'picture\n"a"b\n', "sound CSV.*line 2"),
        ("a.csv", b'picture\n"a', "sound CSV.*unexpected end"),
        ("a.csv", b"picture\ncaf\xe9\n", "UTF-8: the byte 0xe9 stands in line 2"),
        ("a.json", b"[1,\n2,\n", "sound JSON.*line 3"),
        ("a.json", b'{"a": 1, "a": 2}', "sound JSON.*'a' twice"),
        ("a.json", b"[" * 100_000, "sound JSON"),
        ("a.yaml", b"a: 1\nb: [\n", "sound YAML.*line 3"),
        ("a.yaml", b"a: 2001-99-99\n", "sound YAML.*month"),
        ("a.yaml", b"!!python/object/apply:os.getcwd []\n", "sound YAML.*python/object"),
        ("a.yaml", b"- 1\n- !!bool foo\n", "sound YAML: 'foo' cannot be read as bool.* in line 2"),
        ("a.yaml", b'- !!int "_"\n', "cannot be read as int"),
        ("a.yaml", b"a: 0x" + b"f" * 5000, "number of more than"),
        ("a.yaml", b"[" * 100_000, "nested too deeply, more than 128 times in line 1"),
        ("a.yaml", b"- &a [*a]\n", "its aliases unfold to too many values"),
        ("a.yaml", BOMB, "its aliases unfold to too many values"),
    ],
)
def test_malformed_files_are_told_with_their_line(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    path = written(tmp_path, name, data)
    with pytest.raises(FileFormatError, match=said) as caught:
        _ = read_csv(path) if name.endswith("csv") else read_document(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["missing.csv", ".", "a\0b"])
def test_what_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileFormatError, match=r"Check the path|Name a file in it"):
        read_text(tmp_path / name)


def test_the_name_says_which_kind(tmp_path: Path) -> None:
    assert read_document(written(tmp_path, "a.yml", b"a: yes")) == {"a": True}
    assert read_document(written(tmp_path, "a.yml", b"- &a {x: 1}\n- {<<: *a, y: [*a, *a]}")) == [
        {"x": 1},
        {"x": 1, "y": [{"x": 1}, {"x": 1}]},
    ]
    assert read_document(written(tmp_path, "a.yml", b"")) is None
    assert read_document(written(tmp_path, "a.JSON", b'{"a": [1]}')) == {"a": [1]}
