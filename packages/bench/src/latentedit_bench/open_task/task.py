"""The open task: images and instructions, for any tool; the right answers follow from a seed.

A task is a folder that needs nothing of ours: images, a line of JSON an item, and a card.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from PIL import Image

from latentedit.batch.folder import faults_of
from latentedit.core.errors import ConfigError, OutputError, to_install
from latentedit.core.plugins import DOMAINS
from latentedit.core.progress import Progress
from latentedit.latents.captions.change import changed_phrases
from latentedit_bench.data.counterfactual import drawn_items
from latentedit_bench.data.items import Item
from latentedit_bench.domains.base import scalable
from latentedit_bench.known_pairs.damages import draw_damage
from latentedit_bench.report.page import render_page
from latentedit_keep.base.files import make_folder, read_json, user_path, write_text
from latentedit_keep.base.saving import save_image

VERSION = "1.3.0"  # scores of different first numbers are not comparable
ITEMS = 180  # ten turns through the kinds of change: some 160 portraits give intervals of about a tenth
OUTPUTS = "outputs"  # the folder that an entrant fills
TASK_FILE, ITEMS_FILE = "task.json", "items.jsonl"
NOTHING = "Change nothing: keep the whole image exactly as it is."  # of an item whose answer is the image
_REST = "Keep everything else exactly as it is."
_ABSENT = "no "
_PLACES = ("on ", "in ", "with ")  # words that a phrase of a caption may begin with, and that an instruction leaves out


class TaskSpec(pydantic.BaseModel):
    """The content of ``task.json``. A task is to edit, or to keep only the change of a given edit."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    name: str
    version: str
    domain: str
    kind: Literal["edit", "keep"] = "edit"
    size: int = pydantic.Field(ge=64, le=2048)  # pixels a side
    split: Literal["public"] = "public"  # everybody can make the answers
    items: int = pydantic.Field(ge=1, le=10_000)

    @staticmethod
    def of(domain: str, *, size: int, items: int = ITEMS, kind: Literal["edit", "keep"] = "edit") -> "TaskSpec":
        """A task of this version."""
        name = f"{'open' if kind == 'edit' else kind}-{domain}"
        try:
            return TaskSpec(name=name, version=VERSION, domain=domain, kind=kind, size=size, items=items)
        except pydantic.ValidationError as error:
            raise ConfigError(f"invalid task: {faults_of(error)}") from error

    @property
    def title(self) -> str:
        """One line."""
        return f"{self.name} {self.version}, {self.split}, {self.size} px"

    @property
    def seed(self) -> str:
        """The text from which everything is drawn."""
        major = self.version.partition(".")[0]
        if major != VERSION.partition(".")[0]:
            raise ConfigError(f"the task has version {self.version}, not {VERSION}. Install a matching latentedit")
        return f"{self.name}/{major}/{self.split}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskItem:
    """An item of a task."""

    whole: Item  # the image, its captions, and the right answer at strength 1
    instruction: str
    answers: Mapping[float, Callable[[], Image.Image]]  # by strength, rising; the last is 1
    edited: Callable[[], Image.Image] | None = None  # the edit that is given, where its change is to be kept

    @property
    def id(self) -> str:
        """Such as "public-007"."""
        return self.whole.group

    @property
    def image_file(self) -> str:
        """Path of the image in the task's folder."""
        return f"images/{self.id}.png"

    @property
    def edited_file(self) -> str:
        """Path of the given edit."""
        return f"edited/{self.id}.png"

    def output_file(self, strength: float) -> str:
        """Path of the entrant's edit at a strength."""
        return f"{OUTPUTS}/{self.id}{'' if strength == 1 else f'@{strength:g}'}.png"

    @property
    def files(self) -> list[str]:
        """All files of an entry."""
        return list(map(self.output_file, self.answers))

    @property
    def line(self) -> dict[str, Any]:
        """The entry of ``items.jsonl``, which does not reveal the answer."""
        return {
            "id": self.id,
            "image": self.image_file,
            **({} if self.edited is None else {"edited": self.edited_file}),
            "source_caption": self.whole.source_caption,
            "target_caption": self.whole.target_caption,
            "instruction": self.instruction,
            "strengths": list(self.answers),
            "outputs": self.files,
        }


def task_items(spec: TaskSpec) -> list[TaskItem]:
    """The items of a task with their answers, which are rendered on use.

    A graded change of n steps has an answer at each strength k/n, to three digits: the value k steps along the order.
    In a task of kind keep, every answer is the whole change.
    """
    found: list[TaskItem] = []
    for group in drawn_items(spec.domain, spec.seed, spec.items, label=spec.split, side=spec.size):
        whole, keep = group[-1], spec.kind == "keep"
        text = NOTHING if whole.kind == "nothing" else instruction(whole.source_caption, whole.target_caption)
        steps = group[-1:] if keep else group
        answers = {round(number / len(steps), 3): item.truth for number, item in enumerate(steps, 1) if item.truth}
        edited = functools.partial(_edited, whole, spec.seed) if keep else None
        found.append(TaskItem(whole=whole, instruction=text, answers=answers, edited=edited))
    return found


def _edited(item: Item, seed: str) -> Image.Image:
    """The right answer, damaged as editors damage the rest of an image."""
    assert item.truth is not None
    right = item.truth()
    drawn = np.random.default_rng(list(hashlib.sha256(f"{seed}/{item.group}".encode()).digest()))
    return Image.fromarray(draw_damage(right.size, drawn).apply(np.asarray(right, dtype=np.float32)))


def write_task(spec: TaskSpec, items: Sequence[TaskItem], folder: Path, progress: Progress | None = None) -> None:
    """Write the images and instructions, without answers; a folder with ``task.json`` is whole."""
    if (folder / TASK_FILE).exists() and read_task(folder) != spec:
        raise OutputError(f"{folder} has another task. Choose another folder")
    for part in ("images", OUTPUTS, *(["edited"] if spec.kind == "keep" else [])):
        make_folder(folder / part)
    for number, item in enumerate(items, 1):
        save_image(item.whole.image(), folder / item.image_file)
        if item.edited is not None:
            save_image(item.edited(), folder / item.edited_file)
        if progress is not None:
            progress("images", number, len(items))
    point, ours = DOMAINS.points().get(spec.domain), DOMAINS.requirements(spec.domain)
    package = point.dist.name if point is not None and point.dist is not None else spec.domain
    install = to_install("latentedit-keep", "latentedit", "latentedit-bench", *ours) + ("" if ours else f" {package}")
    credits_ = scalable(spec.domain).credits
    card = render_page("task_card.md", spec=spec, credits=credits_, install=install, items_file=ITEMS_FILE)
    write_text(folder / ITEMS_FILE, "".join(f"{json.dumps(item.line, ensure_ascii=False)}\n" for item in items))
    write_text(folder / "README.md", card)
    write_text(folder / TASK_FILE, f"{spec.model_dump_json(indent=1)}\n")


def read_task(folder: Path) -> TaskSpec:
    """The task of a folder."""
    path = user_path(folder, error=ConfigError) / TASK_FILE
    if not path.is_file():
        raise ConfigError(f"{folder} has no task: {TASK_FILE} is missing. Write one with `latentedit bench data`")
    fields = read_json(path)
    if isinstance(fields, dict) and "asks" in fields:  # until 26 November 2026
        fields["kind"] = fields.pop("asks")
    if isinstance(fields, dict) and fields.get("sealed") == "":  # until 25 November 2026
        del fields["sealed"]
    try:
        return TaskSpec.model_validate(fields)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{path} is not a valid task: {faults_of(error)}. Write the folder again") from error


def instruction(source: str, target: str) -> str:
    """The change between two captions that name the same things in the same order.

    Example:
        >>> instruction("a man with no hat, a red coat", "a man with a blue hat, a green coat")
        'Add a blue hat. Change the red coat to a green coat. Keep everything else exactly as it is.'
    """
    removed, added = changed_phrases(source, target)
    sentences = [_sentence(_bare(old), _bare(new)) for old, new in itertools.zip_longest(removed, added, fillvalue="")]
    return " ".join([*sentences, _REST])


def _sentence(old: str, new: str) -> str:
    if not old or old.startswith(_ABSENT):
        return f"Add {new}."
    known = f"the {old.removeprefix('a ').removeprefix('an ')}"
    return f"Remove {known}." if not new or new.startswith(_ABSENT) else f"Change {known} to {new}."


def _bare(phrase: str) -> str:
    for place in _PLACES:
        phrase = phrase.removeprefix(place)
    return phrase
