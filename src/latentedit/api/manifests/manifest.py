"""A user's own list of edits, as CSV, JSON or YAML; and any items written as such a list."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pydantic
from PIL import Image

from latentedit.api.manifests.documents import read_csv, read_document
from latentedit.api.manifests.entries import Checker, Entry, Text, described
from latentedit.api.manifests.items import Dataset, Item, MaskFile, PictureFile
from latentedit.core.errors import nearest
from latentedit_keep.files import make_folder, write_text
from latentedit_keep.pictures import save_image

NEEDED = ("picture", "source_caption", "target_caption")
"""Columns that every manifest has."""

OPTIONAL = ("id", "mask", "truth", "kind", "group")
"""Columns that it may have; an empty cell is the same as none."""

FILE_NAME = "manifest.csv"
"""What `write_manifest` calls it."""

_VERSION = "unversioned"


def load_manifest(path: str | Path) -> Dataset:
    """A manifest's items, every picture of it decoded once so that nothing is found wrong later.

    A CSV file begins with the names of its columns; a JSON or YAML file is a list of objects, or an object with that
    list under "items". Paths are relative to the manifest. An entry without an id has its number. Transparent parts of
    a picture lie on white; a mask allows changes where it is brighter than middle grey.

    Args:
        path: a file ending in .csv, .json, .yaml or .yml.

    Raises:
        FileFormatError: a file that cannot be read as what its name says.
        ConfigError: anything wrong with its content, all of it in one message.
    """
    path = Path(path)
    checker, numbers = Checker(str(path)), dict[str, int]()
    rows, noted = _csv_rows(path, checker) if path.suffix.lower() == ".csv" else (_document_rows(path, checker), ())
    items = [_item(number, row, path.parent, checker, numbers, noted) for number, row in rows]
    if not items and not checker:
        checker.add("items", "there are none")
    checker.check()
    return Dataset(name=path.stem, version=_VERSION, items=tuple(item for item in items if item is not None))


def write_manifest(items: Sequence[Item], folder: str | Path) -> Path:
    """Write items as pictures, truths and masks in PNG and a manifest that `load_manifest` reads back.

    A picture is named by its content, so items that share one share its file. The manifest is written last, so that it
    never names a file that is not there. What an item says `about` itself is not kept.

    Args:
        items: whose ids differ.
        folder: is made if need be.

    Returns:
        The manifest's path.

    Raises:
        OutputError: a place that cannot be written to.
    """
    folder = Path(folder)
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow([*NEEDED, *OPTIONAL])
    for item in items:
        picture = _written(item.picture(), folder, "pictures")
        truth = "" if item.truth is None else _written(item.truth(), folder, "truths")
        mask = (
            "" if item.mask is None else _written(Image.fromarray(item.mask().astype(np.uint8) * 255), folder, "masks")
        )
        group = "" if item.group == item.id else item.group
        writer.writerow([picture, item.source_caption, item.target_caption, item.id, mask, truth, item.kind, group])
    make_folder(folder)
    write_text(folder / FILE_NAME, text.getvalue())
    return folder / FILE_NAME


class _Row(Entry):
    picture: Text
    source_caption: Text
    target_caption: Text
    id: Text
    mask: Text | None = None
    truth: Text | None = None
    kind: Text = "edit"
    group: Text = pydantic.Field(default="", validate_default=False)


def _item(
    number: int, row: Mapping[str, Any], folder: Path, checker: Checker, numbers: dict[str, int], noted: tuple[str, ...]
) -> Item | None:
    """None where anything was found wrong. ``noted`` are needed columns whose lack was noted before."""
    before = len(checker)
    given = {name: value for name, value in row.items() if not (name in OPTIONAL and value in (None, ""))}
    name = given.setdefault("id", str(number))
    if type(name) is int:
        name = given["id"] = str(name)
    where = f"row {number} (id {name!r})" if isinstance(name, str) else f"row {number}"
    if isinstance(name, str) and numbers.setdefault(name, number) != number:
        checker.add(where, f"row {numbers[name]} has this id too")
    entry = checker.entry(_Row, where, given, noted=noted)
    paths: dict[str, Path | None] = {}
    for part in ("picture", "truth", "mask"):
        value = given.get(part)
        if isinstance(value, str) and value.strip():
            paths[part] = checker.picture(where, f"{part} {value}", folder / value)
    picture, truth, mask = (paths.get(part) for part in ("picture", "truth", "mask"))
    for part, path in (("truth", truth), ("mask", mask)):
        if path is not None and picture is not None:
            checker.same_size(where, part, path, picture)
    right = None if truth is None else PictureFile(truth)
    area = None if mask is None else MaskFile(mask)
    if area is not None and not area().any() and not _same(right, picture):
        checker.add(where, f"mask {given['mask']} is nowhere white, so nothing may change")
    if len(checker) > before or noted or entry is None or picture is None:
        return None
    return Item(
        id=entry.id,
        picture=PictureFile(picture),
        source_caption=entry.source_caption,
        target_caption=entry.target_caption,
        kind=entry.kind,
        group=entry.group,
        truth=right,
        mask=area,
    )


def _same(truth: PictureFile | None, picture: Path | None) -> bool:
    """The right answer is the picture itself, so nothing should change."""
    if truth is None or picture is None:
        return False
    return np.array_equal(np.asarray(truth()), np.asarray(PictureFile(picture)()))


def _csv_rows(path: Path, checker: Checker) -> tuple[list[tuple[int, dict[str, Any]]], tuple[str, ...]]:
    """Numbered rows by the names of the columns, and the needed columns that are not there."""
    table = read_csv(path)
    header = [name.strip() for name in table[0]] if table else []
    for name in dict.fromkeys(header):
        if name not in (*NEEDED, *OPTIONAL):
            checker.add("the columns", f"unknown {name!r}: {nearest(name, [*NEEDED, *OPTIONAL])}")
        if header.count(name) > 1:
            checker.add("the columns", f"{name!r} is there {header.count(name)} times")
    missing = tuple(name for name in NEEDED if name not in header)
    for name in missing:
        checker.add("the columns", f"{name!r} is missing")
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, cells in enumerate(table[1:], 1):
        if len(cells) != len(header):
            checker.add(f"row {number}", f"it has {len(cells)} cells, the first line {len(header)}")
        else:
            rows.append((number, dict(zip(header, cells, strict=True))))
    return rows, missing


def _document_rows(path: Path, checker: Checker) -> list[tuple[int, dict[str, Any]]]:
    """Numbered objects of a JSON or YAML file."""
    content = read_document(path)
    if isinstance(content, dict):
        for key in cast("dict[Any, Any]", content):
            if key != "items":
                checker.add("the manifest", f"unknown key {key!r}; it has items only")
        content = cast("dict[Any, Any]", content).get("items")
    if not isinstance(content, list):
        checker.add("the manifest", f"a list of items was expected; it is {described(content)}")
        return []
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, row in enumerate(cast("list[Any]", content), 1):
        if not isinstance(row, dict):
            checker.add(f"row {number}", f"it is {described(row)}, not an object")
            continue
        rows.append((number, cast("dict[str, Any]", row)))
        for key in cast("dict[Any, Any]", row):
            if key not in (*NEEDED, *OPTIONAL):
                checker.add(f"row {number}", f"unknown key {key!r}: {nearest(str(key), [*NEEDED, *OPTIONAL])}")
    return rows


def _written(image: Image.Image, folder: Path, kind: str) -> str:
    """Its path in the folder."""
    pixels = np.asarray(image)
    digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()[:16]
    path = folder / kind / f"{digest}.png"
    if not path.exists():
        make_folder(path.parent)
        save_image(image, path)
    return f"{kind}/{path.name}"
