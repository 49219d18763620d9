"""The open task: pictures and what is asked of them, for editors that we never load; answers follow from a seed."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import pydantic
from PIL import Image

from latentedit.api.manifests.items import Item
from latentedit.core.errors import ConfigError
from latentedit_bench.data.counterfactual import Rendered, drawn_items, edits_in_a_row
from latentedit_bench.domains.base import domain, full_caption
from latentedit_bench.open_task.instructions import NOTHING, instruction

VERSION = "1.2.0"
"""Of the task: the first number changes with whatever changes a score, and scores of two are never compared."""

ITEMS = 180
"""Of a whole task: ten turns through the kinds of change. Some 160 portraits give intervals of about a tenth."""

PUBLIC = "public"
"""The split whose answers everybody can make."""

OUTPUTS = "outputs"
"""The folder that a stranger fills."""

IN_A_ROW = 10
"""Edits of one picture, one after the other, the item's own the first: of every other pair of changes."""

UNDONE = "undone"
"""What three changes are once the last request was to take them back."""

Asks = Literal["edit", "keep"]
"""For edits, or to keep of an edit that is given nothing but its change."""

_NAMES: Mapping[Asks, str] = {"edit": "open", "keep": "keep"}
_SIDES = (64, 2048)
_MOST_ITEMS = 10_000


class TaskSpec(pydantic.BaseModel):
    """Which task it is: what ``task.json`` holds.

    Args:
        name: such as "open-portraits".
        version: of the task.
        domain: whose scenes are drawn.
        asks: see `Asks`.
        size: of the pictures, in pixels a side.
        split: always "public": everybody can make the answers.
        items: how many.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    name: str
    version: str
    domain: str
    asks: Asks = "edit"
    size: int = pydantic.Field(ge=_SIDES[0], le=_SIDES[1])
    split: Literal["public"] = PUBLIC
    sealed: Literal[""] = pydantic.Field(default="", exclude=True)  # in folders that were written before 2026-12
    items: int = pydantic.Field(ge=1, le=_MOST_ITEMS)

    @staticmethod
    def of(domain: str, *, size: int, items: int = ITEMS, asks: Asks = "edit") -> "TaskSpec":
        """A task of this version.

        Raises:
            ConfigError: a size or number out of range.
        """
        if not _SIDES[0] <= size <= _SIDES[1]:
            raise ConfigError(f"the size must be from {_SIDES[0]} to {_SIDES[1]} pixels; got {size}. Give 512 or 1024")
        if not 1 <= items <= _MOST_ITEMS:
            raise ConfigError(f"`items` must be from 1 to {_MOST_ITEMS}; got {items}")
        name = f"{_NAMES[asks]}-{domain}"
        return TaskSpec(name=name, version=VERSION, domain=domain, asks=asks, size=size, items=items)

    @property
    def title(self) -> str:
        """One line."""
        return f"{self.name} {self.version}, {self.split}, {self.size} px"

    @property
    def seed(self) -> str:
        """The text from which everything is drawn.

        Raises:
            ConfigError: another version's task.
        """
        major, ours = (version.partition(".")[0] for version in (self.version, VERSION))
        if major != ours:
            raise ConfigError(
                f"the task is of version {self.version}, and this latentedit scores {VERSION}. Install one that fits it"
            )
        return f"{self.name}/{major}/{self.split}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """A further request, of what the entrant's own edit before left.

    Args:
        name: how its scores are told: `UNDONE`, or `in_a_row`.
        caption: what the picture should show then.
        instruction: the same as a sentence.
        before: the picture by which the error is measured: an edit that is no nearer to the answer than it errs by 1.
        answer: right.
    """

    name: str
    caption: str
    instruction: str
    before: Rendered
    answer: Rendered


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskItem:
    """One thing to do.

    Args:
        whole: the picture, its captions, and the right answer at strength 1.
        instruction: what is asked, in a sentence.
        answers: strength to what gives the right answer; rising, the last is 1.
        then: what is asked after that, one after the other.
        edited: the edit that is given, where its change is to be kept; of any size.
    """

    whole: Item
    instruction: str
    answers: Mapping[float, Callable[[], Image.Image]]
    then: Sequence[Then]
    edited: Callable[[], Image.Image] | None

    @property
    def id(self) -> str:
        """Such as "public-007"."""
        return self.whole.group

    @property
    def picture_file(self) -> str:
        """Where the picture lies in the task's folder."""
        return f"images/{self.id}.png"

    @property
    def edited_file(self) -> str:
        """Where the edit that is given lies in the task's folder."""
        return f"edited/{self.id}.png"

    def output_file(self, strength: float) -> str:
        """Where the edit at a strength is looked for."""
        at = "" if strength == 1 else f"@{strength:g}"
        return f"{OUTPUTS}/{self.id}{at}.png"

    @property
    def then_files(self) -> list[str]:
        """Where the edits of ``then`` are looked for."""
        return [f"{OUTPUTS}/{self.id}-then-{number}.png" for number in range(1, len(self.then) + 1)]

    @property
    def files(self) -> list[str]:
        """All that an entrant writes."""
        return [*map(self.output_file, self.answers), *self.then_files]


def task_items(spec: TaskSpec) -> list[TaskItem]:
    """The items of a task with their answers; nothing is drawn yet.

    A graded change of n steps has an answer at each strength k/n, to three digits: the value k steps along the order.
    Three changes are to be taken back afterwards, and to every other pair of changes so many others are added that
    `IN_A_ROW` edits were made; no line tells by that where the picture is the answer. Of a task that asks to keep,
    every answer is the whole change, and nothing is asked afterwards.

    Raises:
        ConfigError: see `TaskSpec.seed` and `domains.base.scalable`.
        RegistryError: the domain is not installed.
    """
    groups = drawn_items(spec.domain, spec.seed, spec.items, label=spec.split, side=spec.size)
    if spec.asks == "keep":
        return [_task_item(steps[-1:], edited=functools.partial(_edited, steps[-1], spec.seed)) for steps in groups]
    pairs = [steps[-1].id for steps in groups if steps[-1].kind == "pair"]
    return [_task_item(steps, then=_then(steps[-1], spec.seed, goes_on=steps[-1].id in pairs[::2])) for steps in groups]


def in_a_row(number: int) -> str:
    """How the scores of one of ten edits in a row are told."""
    return f"edit {number} of {IN_A_ROW} in a row"


def _task_item(
    steps: tuple[Item, ...], *, then: Sequence[Then] = (), edited: Callable[[], Image.Image] | None = None
) -> TaskItem:
    whole = steps[-1]
    answers = {round(number / len(steps), 3): item.truth for number, item in enumerate(steps, 1)}
    asked = NOTHING if whole.kind == "nothing" else instruction(whole.source_caption, whole.target_caption)
    known = {strength: truth for strength, truth in answers.items() if truth is not None}
    return TaskItem(whole=whole, instruction=asked, answers=known, then=then, edited=edited)


def _edited(item: Item, seed: str) -> Image.Image:
    """The right answer, damaged as editors damage what they were not asked to change."""
    from latentedit_bench.known_pairs.damages import draw_damage  # noqa: PLC0415  # it needs OpenCV, which is optional

    assert item.truth is not None
    right = item.truth()
    drawn = np.random.default_rng(list(hashlib.sha256(f"{seed}/{item.group}".encode()).digest()))
    return Image.fromarray(draw_damage(right.size, drawn).apply(np.asarray(right, dtype=np.float32)))


def _then(whole: Item, seed: str, *, goes_on: bool) -> list[Then]:
    before, after = whole.picture, whole.truth
    assert isinstance(before, Rendered)
    assert isinstance(after, Rendered)
    if whole.kind == "triple":
        asked = instruction(whole.target_caption, whole.source_caption)
        return [Then(name=UNDONE, caption=whole.source_caption, instruction=asked, before=after, answer=before)]
    if not goes_on:
        return []
    world = domain(before.world)
    scenes = [after.scene, *edits_in_a_row(before.world, after.scene, IN_A_ROW - 1, seed=f"{seed}/{whole.group}")]
    captions = [full_caption(world, scene) for scene in scenes]
    return [
        Then(
            name=in_a_row(done + 1),
            caption=captions[done],
            instruction=instruction(captions[done - 1], captions[done]),
            before=before,
            answer=dataclasses.replace(before, scene=scenes[done]),
        )
        for done in range(1, IN_A_ROW)
    ]
