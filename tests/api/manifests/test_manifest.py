import csv
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from latentedit.api.manifests.documents import read_csv, read_document
from latentedit.api.manifests.entries import MOST_FAULTS, Checker, Entry, Text
from latentedit.api.manifests.items import Item
from latentedit.api.manifests.manifest import FILE_NAME, load_manifest, write_manifest
from latentedit.core.errors import ConfigError, FileFormatError, OutputError
from tests.api.manifests.pictures import write_picture

SOUND = {"picture": "a.png", "source_caption": "a cat", "target_caption": "a dog"}


def manifest(folder: Path, rows: Any, kind: str = "json") -> Path:
    """Rows as one of the three kinds of file."""
    path = folder / f"edits.{kind}"
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(text.getvalue(), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows) if kind == "json" else yaml.safe_dump(rows), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_picture(tmp_path / "a.png")
    write_picture(tmp_path / "wide.png", (8, 4), "white")
    write_picture(tmp_path / "black.png", colour=0, mode="L")
    write_picture(tmp_path / "white.png", colour=255, mode="L")
    (tmp_path / "text.png").write_text("no picture")
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "json", "yaml"])
def test_the_three_kinds_of_file_say_the_same(folder: Path, kind: str) -> None:
    full = {**SOUND, "id": "x", "mask": "white.png", "truth": "a.png", "kind": "pair", "group": "g"}
    bare = dict.fromkeys(full, "") | SOUND if kind == "csv" else SOUND
    dataset = load_manifest(manifest(folder, [full, bare], kind))
    first, second = dataset.items
    assert dataset.name == "edits"
    if kind != "csv":
        assert load_manifest(manifest(folder, {"items": [SOUND | {"id": 7}]}, kind)).items[0].id == "7"
    assert (first.id, first.kind, first.group) == ("x", "pair", "g")
    assert (first.source_caption, first.target_caption) == ("a cat", "a dog")
    assert first.picture().getpixel((0, 0)) == (10, 20, 30)
    assert first.mask is not None
    assert first.mask().shape == (4, 6)
    assert first.mask().all()
    assert first.truth is not None
    assert first.truth() == first.picture()
    assert (second.id, second.kind, second.group, second.mask, second.truth) == ("2", "edit", "2", None, None)
    assert pickle.loads(pickle.dumps(dataset)).fingerprint == dataset.fingerprint


FAULTS = [
    ({"picture": "missing.png"}, "row {n} (id '{n}'): picture missing.png does not exist"),
    ({"picture": "text.png"}, "row {n} (id '{n}'): picture text.png cannot be used"),
    ({"picture": "."}, "is a folder"),
    ({"id": "twin"}, None),
    ({"id": "twin"}, "row {n} (id 'twin'): row 4 has this id too"),
    ({"id": True}, "row {n}: id is yes or no, not text"),
    ({"source_caption": {"a": 1}}, "row {n} (id '{n}'): source_caption is an object, not text"),
    ({"target_caption": ["a dog"]}, "row {n} (id '{n}'): target_caption is a list, not text"),
    ({"source_caption": " "}, "row {n} (id '{n}'): source_caption is empty"),
    ({"target_caption": None}, "row {n} (id '{n}'): target_caption is missing"),
    ({"mask": "wide.png"}, "row {n} (id '{n}'): mask is 8x4 pixels, its picture 6x4"),
    ({"truth": "wide.png"}, "row {n} (id '{n}'): truth is 8x4 pixels, its picture 6x4"),
    ({"mask": "black.png"}, "row {n} (id '{n}'): mask black.png is nowhere white"),
    ({"caption": "a cat"}, "row {n}: unknown key 'caption': did you mean 'target_caption' or 'source_caption'?"),
]


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_every_fault_is_told_at_once(folder: Path, kind: str) -> None:
    rows: list[Any] = [SOUND | change for change, _ in FAULTS]
    rows += [{}, "a cat"]
    told = [text.format(n=number) for number, (_, text) in enumerate(FAULTS, 1) if text is not None]
    end = len(rows)
    told += [f"row {end - 1} (id '{end - 1}'): {name} is missing" for name in SOUND]
    told += [f"row {end}: it is text, not an object"]
    with pytest.raises(ConfigError) as caught:
        load_manifest(manifest(folder, rows, kind))
    message = str(caught.value)
    assert [text for text in told if text not in message] == []
    assert f"has faults ({len(told)}): " in message  # and nothing else was found
    assert "\n" not in message


def test_faults_of_a_table_are_told_with_those_of_its_rows(folder: Path) -> None:
    path = folder / "edits.csv"
    path.write_text("picture,source_captoin,id,id\nmissing.png,a cat,1,1\na.png,a cat\n")
    with pytest.raises(ConfigError) as caught:
        load_manifest(path)
    message = str(caught.value)
    assert "has faults (6): " in message
    assert "unknown 'source_captoin': did you mean 'source_caption'" in message
    assert "'id' is there 2 times" in message
    assert "'source_caption' is missing" in message
    assert "'target_caption' is missing" in message
    assert "row 1 (id '1'): picture missing.png does not exist" in message
    assert "row 2: it has 2 cells, the first line 4" in message


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "picture,source_caption,target_caption\n", "items: there are none"),
        ("a.json", "[]", "items: there are none"),
        ("a.json", "3", "a list of items was expected; it is a number"),
        ("a.json", '{"item": []}', "unknown key 'item'.*; it is missing"),
        ("a.yaml", "", "a list of items was expected; it is missing"),
    ],
)
def test_files_without_items_are_told(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_manifest(tmp_path / name)


def picture_of(pixels: NDArray[np.uint8]) -> Any:
    return lambda: Image.fromarray(pixels)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = (picture_of(rng.integers(0, 256, (3, 5, 3), dtype=np.uint8)) for _ in range(2))
    mask = rng.random((3, 5)) < 0.5
    words = {"source_caption": 'a "cat", été', "target_caption": " two\nlines: - [x]"}
    made = [
        Item(id="a/b: 'c'", picture=first, truth=second, mask=mask.copy, kind="pair, # odd", group="7", **words),
        Item(id="true", picture=second, **words),
    ]
    again = load_manifest(write_manifest(made, tmp_path / "new" / "folder")).items
    for item, read in zip(made, again, strict=True):
        for name in ("id", "source_caption", "target_caption", "kind", "group"):
            assert getattr(read, name) == getattr(item, name)
        assert np.array_equal(np.asarray(read.picture()), np.asarray(item.picture()))
        for name in ("truth", "mask"):
            before, after = getattr(item, name), getattr(read, name)
            assert (before is None) == (after is None)
            assert before is None or np.array_equal(np.asarray(before()), np.asarray(after()))


def test_items_of_one_picture_share_its_file(tmp_path: Path) -> None:
    picture = picture_of(np.zeros((3, 5, 3), dtype=np.uint8))
    made = [Item(id=name, picture=picture, source_caption="a", target_caption="b") for name in "xy"]
    write_manifest(made, tmp_path)
    assert len(list((tmp_path / "pictures").iterdir())) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE_NAME, "pictures"]
    with pytest.raises(OutputError, match="cannot be made"):
        write_manifest(made, tmp_path / FILE_NAME)


class Said(Entry):
    caption: Text


@given(count=st.integers(0, 3 * MOST_FAULTS))
def test_faults_are_told_in_one_line_up_to_a_limit_and_the_rest_counted(count: int) -> None:
    checker = Checker("a.csv")
    for index in range(count):
        checker.add(f"row {index}", f"<fault\r\n {index}>")
    assert len(checker) == count
    if not count:
        checker.check()
        return
    with pytest.raises(ConfigError) as caught:
        checker.check()
    message = str(caught.value)
    assert message.startswith(f"a.csv has faults ({count}): row 0: <fault 0>")
    for index in range(count):
        assert (f"row {index}: <fault {index}>" in message) == (index < MOST_FAULTS)
    assert message.endswith(f"; and {count - MOST_FAULTS} more") == (count > MOST_FAULTS)


def test_a_caption_is_kept_as_it_is() -> None:
    checker = Checker("a.csv")
    assert checker.entry(Said, "row 1", {"caption": " été ", "other": 5}) == Said(caption=" été ")
    assert checker.entry(Said, "row 2", {}, noted=("caption",)) is None
    assert not checker
    assert checker.entry(Said, "row 3", {"caption": "\ud800"}) is None
    with pytest.raises(ConfigError, match="row 3: caption holds half a character"):
        checker.check()


def test_a_picture_that_many_share_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checker, path = Checker("a.csv"), write_picture(tmp_path / "b" / "a.png")
    assert checker.picture("row 1", "picture", tmp_path / "a.png", path) == path, "the first place with a file"
    monkeypatch.setattr("latentedit.api.manifests.entries.read_image", lambda _: pytest.fail("decoded again"))
    assert checker.picture("row 2", "picture", path) == path
    assert checker.picture("row 2", "a", tmp_path / ("x" * 5000)) is None


def written(tmp_path: Path, name: str, data: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", '﻿picture,été\r\n\r\n"a,b","c\nd"\r\n'.encode())
    assert read_csv(path) == [["picture", "été"], ["a,b", "c\nd"]]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b'picture\n"a"b\n', "sound CSV.*line 2"),
        ("a.csv", b'picture\n"a', "sound CSV.*unexpected end"),
        ("a.csv", b"picture\ncaf\xe9\n", "UTF-8: the byte 0xe9 stands in line 2"),
        ("a.json", b"[1,\n2,\n", "valid JSON.*line 3"),
        ("a.yaml", b"a: 1\nb: [\n", "sound YAML.*line 3"),
        ("a.yaml", b"a: 2001-99-99\n", "sound YAML.*month"),
        ("a.yaml", b"!!python/object/apply:os.getcwd []\n", "sound YAML.*python/object"),
        ("a.yaml", b'- !!int "_"\n', "sound YAML"),
        ("a.yaml", b"[" * 100_000, "recursion"),
    ],
)
def test_malformed_files_are_told_with_their_line(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    path = written(tmp_path, name, data)
    with pytest.raises(FileFormatError, match=said) as caught:
        _ = read_csv(path) if name.endswith("csv") else read_document(path)
    assert str(path) in str(caught.value)


def test_the_name_says_which_kind(tmp_path: Path) -> None:
    assert read_document(written(tmp_path, "a.yml", b"a: yes")) == {"a": True}
    assert read_document(written(tmp_path, "a.yml", b"- &a {x: 1}\n- {<<: *a, y: [*a, *a]}")) == [
        {"x": 1},
        {"x": 1, "y": [{"x": 1}, {"x": 1}]},
    ]
    assert read_document(written(tmp_path, "a.yml", b"")) is None
    assert read_document(written(tmp_path, "a.JSON", b'{"a": [1]}')) == {"a": [1]}
