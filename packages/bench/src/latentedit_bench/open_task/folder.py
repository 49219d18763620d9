"""A task as a folder that needs nothing of ours: pictures, a line of JSON an item, and a card."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from latentedit.core.errors import ConfigError, OutputError, to_install
from latentedit.core.files.reading import read_json
from latentedit.core.plugins import DOMAINS
from latentedit.core.progress import Progress
from latentedit_bench.domains.base import Scalable, scalable
from latentedit_bench.open_task.task import OUTPUTS, TaskItem, TaskSpec
from latentedit_bench.report.page import render
from latentedit_keep.files import make_folder, user_path, write_text
from latentedit_keep.pictures import save_image

TASK_FILE = "task.json"
"""Written last: a folder with it is whole."""

ITEMS_FILE = "items.jsonl"


def write_task(spec: TaskSpec, items: Sequence[TaskItem], folder: Path, progress: Progress | None = None) -> None:
    """Write the pictures, what is asked of them, and no answer.

    Args:
        spec: of the task.
        items: all of them, from `task_items`.
        folder: is made if need be.
        progress: called after each picture.

    Raises:
        MissingDependencyError: the task asks to keep, and OpenCV is not installed.
        OutputError: another task is there, or the place cannot be written to.
    """
    if (folder / TASK_FILE).exists() and read_task(folder) != spec:
        raise OutputError(f"another task is in {folder}. Choose another folder")
    for part in ("images", OUTPUTS, *(["edited"] if spec.asks == "keep" else [])):
        make_folder(folder / part)
    for number, item in enumerate(items, 1):
        save_image(item.whole.picture(), folder / item.picture_file)
        if item.edited is not None:
            save_image(item.edited(), folder / item.edited_file)
        if progress is not None:
            progress("pictures", number, len(items))
    lines = "".join(f"{json.dumps(line_of(item), ensure_ascii=False)}\n" for item in items)
    world = scalable(spec.domain)
    texts = {
        ITEMS_FILE: lines,
        "README.md": card(spec, world),
        TASK_FILE: f"{spec.model_dump_json(indent=1)}\n",
    }
    for name, text in texts.items():
        write_text(folder / name, text)


def line_of(item: TaskItem) -> dict[str, Any]:
    """What ``items.jsonl`` says of an item: nothing of which the answer could be told."""
    given = {} if item.edited is None else {"edited": item.edited_file}
    return {
        "id": item.id,
        "image": item.picture_file,
        **given,
        "source_caption": item.whole.source_caption,
        "target_caption": item.whole.target_caption,
        "instruction": item.instruction,
        "strengths": list(item.answers),
        "outputs": [item.output_file(strength) for strength in item.answers],
        "then_captions": [one.caption for one in item.then],
        "then_instructions": [one.instruction for one in item.then],
        "then_outputs": item.then_files,
    }


def read_task(folder: Path) -> TaskSpec:
    """Which task a folder holds.

    Raises:
        ConfigError: no task there.
        FileFormatError: its ``task.json`` is damaged.
    """
    path = user_path(folder, error=ConfigError) / TASK_FILE
    if not path.is_file():
        raise ConfigError(f"no task is in {folder}: it has no {TASK_FILE}. Write one with `latentedit bench data`")
    try:
        return TaskSpec.model_validate(read_json(path))
    except pydantic.ValidationError as error:
        raise ConfigError(f"{path} is no task of ours: {error.error_count()} faults. Write the folder anew") from error


def card(spec: TaskSpec, world: Scalable) -> str:
    """What the folder says to people."""
    point = DOMAINS.points().get(spec.domain)
    package = point.dist.name if point is not None and point.dist is not None else spec.domain
    ours = DOMAINS.requirements(spec.domain)
    install = to_install("latentedit-keep", "latentedit", "latentedit-bench", *ours) + ("" if ours else f" {package}")
    return render("task_card.md", spec=spec, credits=world.credits, install=install, items_file=ITEMS_FILE)
