"""FlowEdit's list of edits: a YAML file whose entries give one picture and several target prompts."""

from pathlib import Path
from typing import Any, cast

from latentedit.api.manifests.documents import read_yaml
from latentedit.api.manifests.faults import Faults
from latentedit.api.manifests.items import Dataset, Item, PictureFile
from latentedit.api.manifests.picture_checks import Checker, described

PICTURE_KEYS = ("init_img", "input_img", "image", "img", "picture")
"""Under which an entry may name its picture; the first two are FlowEdit's own."""

_IMAGES = "Images"


def is_flowedit(content: object) -> bool:
    """Whether a YAML file's content is a list in which an entry has target prompts."""
    rows = cast("list[Any]", content) if isinstance(content, list) else []
    return any(isinstance(row, dict) and "target_prompts" in row for row in rows)


def load_flowedit(path: str | Path) -> Dataset:
    """One item for each target prompt of each entry, every picture decoded once. Items of one picture share a group.

    An item's id is its picture's name with the numbers of its entry and of its target. A picture is looked for beside
    the file, one folder up, and by its name in ``Images`` beside the file, which is where FlowEdit's repository has it
    whatever its entries say. Line breaks within a prompt become spaces; keys that are not known here are passed over.

    Args:
        path: of the YAML file.

    Raises:
        FileFormatError: no such file, or no YAML.
        ConfigError: anything wrong with its content, all of it in one message.

    Source:
        Kulikov et al. 2024, arXiv 2412.08629, data and layout of its public repository.
    """
    path = Path(path)
    content = read_yaml(path)
    faults = Faults(str(path))
    items: list[Item] = []
    if not isinstance(content, list) or not content:
        faults.add("the file", f"a list of entries was expected; it is {described(content)}")
    else:
        checker = Checker(faults=faults)
        for number, row in enumerate(cast("list[Any]", content), 1):
            items += _items(number, row, path.parent, checker)
    faults.check()
    return Dataset(name=path.stem, version="1", items=tuple(items))


def _items(number: int, row: object, folder: Path, checker: Checker) -> list[Item]:
    """Those of an entry, none where anything was found wrong."""
    where, before = f"entry {number}", len(checker.faults)
    if not isinstance(row, dict):
        checker.faults.add(where, f"it is {described(row)}, not an object")
        return []
    entry = cast("dict[str, Any]", row)
    key = next((name for name in PICTURE_KEYS if name in entry), None)
    picture = None
    if key is None:
        checker.faults.add(where, f"its picture is missing; it is named by {' or '.join(PICTURE_KEYS)}")
    elif (name := checker.text(where, key, entry[key])) is not None:
        places = [folder / name, folder.parent / name, folder / _IMAGES / Path(name).name]
        picture = checker.first_file(PictureFile, where, f"{key} {name}", places)
    source = checker.text(where, "source_prompt", entry.get("source_prompt"))
    prompts = entry.get("target_prompts")
    targets = cast("list[Any]", prompts) if isinstance(prompts, list) else []
    if not targets:
        checker.faults.add(
            where, f"target_prompts is {'empty' if prompts == [] else described(prompts)}, not a list of texts"
        )
    texts = [checker.text(where, f"target prompt {index}", value) for index, value in enumerate(targets, 1)]
    if len(checker.faults) > before or picture is None:
        return []
    return [
        Item(
            id=f"{picture.path.stem}/{number}.{index}",
            picture=picture,
            source_caption=_one_line(cast(str, source)),
            target_caption=_one_line(cast(str, text)),
            group=str(entry[cast(str, key)]),
        )
        for index, text in enumerate(texts, 1)
    ]


def _one_line(text: str) -> str:
    return " ".join(text.split())
