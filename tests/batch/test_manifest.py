"""Lists of edits in CSV, JSON and YAML, and errors in them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from latentedit.batch.manifest import EditRow, load_manifest, read_document
from latentedit.core.errors import ConfigError, FileFormatError
from tests.batch.images import write_image

SOUND = {"image": "a.png", "source_caption": "a cat", "target_caption": "a dog"}


def manifest(folder: Path, rows: Any, kind: str = "json") -> Path:
    """Write rows as CSV, JSON or YAML."""
    path = folder / f"edits.{kind}"
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(text.getvalue(), encoding="utf-8-sig")
    else:
        path.write_text(json.dumps(rows) if kind == "json" else yaml.safe_dump(rows), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png")
    (tmp_path / "text.png").write_text("no image")
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "json", "yaml"])
def test_csv_json_and_yaml_give_the_same_rows(folder: Path, kind: str) -> None:
    full = {**SOUND, "id": "x", "source_caption": " \u00e9t\u00e9, a cat", "mask": "a.png", "note": "of the user"}
    bare = dict.fromkeys(full, "") | SOUND if kind == "csv" else SOUND | {"mask": None}
    first, second = load_manifest(manifest(folder, [full, bare], kind), EditRow)
    assert (first.id, first.image, first.mask) == ("x", folder / "a.png", folder / "a.png")
    assert (first.source_caption, first.target_caption) == (" \u00e9t\u00e9, a cat", "a dog")
    assert (second.id, second.mask) == ("2", None)
    if kind == "csv":  # empty cells beyond the columns, as spreadsheets write them
        (folder / "edits.csv").write_text("image,source_caption,target_caption\na.png,a cat,a dog,,\n")
        assert load_manifest(folder / "edits.csv", EditRow)[0].target_caption == "a dog"
        (folder / "edits.csv").write_bytes(b'image,source_caption,target_caption\ra.png,"a\r\ncat",a dog\r')
        assert load_manifest(folder / "edits.csv", EditRow)[0].source_caption == "a\r\ncat"
    else:
        assert load_manifest(manifest(folder, {"items": [SOUND | {"id": 7}]}, kind), EditRow)[0].id == "7"


@pytest.mark.parametrize(
    "change",
    [
        {"image": "missing.png"},
        {"image": "text.png"},
        {"image": "."},
        {"image": "x" * 5000},
        {"image": 3},
        {"mask": "missing.png"},
        {"id": True},
        {"source_caption": {"a": 1}},
        {"source_caption": " "},
        {"target_caption": ["a dog"]},
        {"target_caption": None},
    ],
    ids=str,
)
def test_invalid_values_are_reported_with_row_and_field(folder: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"row 2: {next(iter(change))}") as caught:
        load_manifest(manifest(folder, [SOUND, SOUND | change]), EditRow)
    assert "row 1" not in str(caught.value)


def test_all_errors_are_reported_in_one_line(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_manifest(manifest(folder, [{}, "a cat", SOUND, SOUND | {"id": "\r\n"}]), EditRow)
    message = str(caught.value)
    assert "\n" not in message
    for words in ("row 1: image: ", "row 1: source_caption: ", "row 1: target_caption: ", "row 2: ", "row 4: id: "):
        assert words in message
    with pytest.raises(ConfigError):
        load_manifest(manifest(folder, [SOUND | {"id": "2"}, SOUND]), EditRow)


def test_an_image_of_several_rows_is_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentedit.batch.manifest.read_image", lambda path: write_once(folder / "seen"))
    load_manifest(manifest(folder, [SOUND] * 3), EditRow)


def write_once(path: Path) -> Any:
    path.touch(exist_ok=False)
    return pytest.importorskip("PIL.Image").new("RGB", (1, 1))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "image,source_caption,target_caption\n"),
        ("a.csv", ""),
        ("a.json", "[]"),
        ("a.json", "3"),
        ("a.json", '{"item": []}'),
        ("a.yaml", ""),
    ],
)
def test_files_without_rows_are_rejected(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError):
        load_manifest(tmp_path / name, EditRow)


@pytest.mark.slow_cases("a.yaml-data6-recursion")
@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b'image\n"a"b\n', "line 2"),
        ("a.csv", b"image\ncaf\xe9\n", "line 2"),
        ("a.json", b"[1,\n2,\n", "line 3"),
        ("a.yaml", b"a: 1\nb: [\n", "line 3"),
        ("a.yaml", b"a: 2001-99-99\n", "month"),
        ("a.yaml", b"!!python/object/apply:os.getcwd []\n", "python/object"),
        ("a.yaml", b"[" * 100_000, "recursion"),
    ],
)
def test_malformed_files_are_reported_with_the_line(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FileFormatError, match=words) as caught:
        load_manifest(tmp_path / name, EditRow)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_extension_selects_the_format(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("- &a {x: 1}\n- {<<: *a, y: [*a, *a]}")
    assert read_document(tmp_path / "a.yml") == [{"x": 1}, {"x": 1, "y": [{"x": 1}, {"x": 1}]}]
    (tmp_path / "a.JSON").write_text('{"a": [1]}')
    assert read_document(tmp_path / "a.JSON") == {"a": [1]}
