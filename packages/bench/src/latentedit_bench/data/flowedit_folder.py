"""FlowEdit's list of edits: a YAML file whose entries give one picture and several target prompts.

Source:
    Kulikov et al. 2024, arXiv 2412.08629, data and layout of its public repository.
"""

from pathlib import Path
from typing import Any, cast

import pydantic

from latentedit.api.manifests.documents import read_yaml
from latentedit.api.manifests.entries import Checker, Entry, Text, described
from latentedit.api.manifests.items import Dataset, Item, PictureFile

PICTURE_KEYS = ("init_img", "input_img", "image", "img", "picture")  # the first two are FlowEdit's own
_IMAGES = "Images"


def is_flowedit(content: object) -> bool:
    """Whether a YAML file's content is a list in which an entry has target prompts."""
    rows = cast("list[Any]", content) if isinstance(content, list) else []
    return any(isinstance(row, dict) and "target_prompts" in row for row in rows)


def load_flowedit(path: str | Path) -> Dataset:
    """One item for each target prompt of each entry, every picture decoded once. Items of one picture share a group.

    A picture is looked for beside the file, one folder up, and by its name in ``Images`` beside the file, where
    FlowEdit's repository has it whatever its entries say. Keys that are not known here are passed over.
    """
    path = Path(path)
    content = read_yaml(path)
    checker, items = Checker(str(path)), list[Item]()
    if not isinstance(content, list) or not content:
        checker.add("the file", f"a list of entries was expected; it is {described(content)}")
    else:
        for number, row in enumerate(cast("list[Any]", content), 1):
            items += _items(number, row, path.parent, checker)
    checker.check()
    return Dataset(name=path.stem, version="1", items=tuple(items))


class _Prompts(Entry):
    source_prompt: Text
    target_prompts: list[Text] = pydantic.Field(min_length=1)


def _items(number: int, row: object, folder: Path, checker: Checker) -> list[Item]:
    """Those of an entry, none where anything was found wrong."""
    where, before = f"entry {number}", len(checker)
    if not isinstance(row, dict):
        checker.add(where, f"it is {described(row)}, not an object")
        return []
    fields, picture = cast("dict[str, Any]", row), None
    key = next((name for name in PICTURE_KEYS if name in fields), "")
    name = fields.get(key)
    if not key:
        checker.add(where, f"its picture is missing; it is named by {' or '.join(PICTURE_KEYS)}")
    elif not isinstance(name, str) or not name.strip():
        checker.add(where, f"{key} is {described(name)}, not text" if name else f"{key} is missing")
    else:
        places = (folder / name, folder.parent / name, folder / _IMAGES / Path(name).name)
        picture = checker.picture(where, f"{key} {name}", *places)
    entry = checker.entry(_Prompts, where, fields)
    if len(checker) > before or picture is None or entry is None:
        return []
    return [
        Item(
            id=f"{picture.stem}/{number}.{index}",
            picture=PictureFile(picture),
            source_caption=" ".join(entry.source_prompt.split()),
            target_caption=" ".join(text.split()),
            group=str(name),
        )
        for index, text in enumerate(entry.target_prompts, 1)
    ]
