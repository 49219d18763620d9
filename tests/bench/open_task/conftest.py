"""A small task of portraits, and an entrant who knows the right answers."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentedit_bench.open_task.task import TaskItem, TaskSpec, task_items, write_task

SIZE, ITEMS = 64, 9
"""Nine items: six of one attribute or two, one graded (005), one of three (006), one that asks for nothing (008)."""

PAIR, GRADED, STILL = 2, 5, 8
CHANGING = range(8)
STEP = 4  # levels of noise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A task's folder as an entrant filled it."""

    folder: Path
    items: list[TaskItem]

    def pixels(self, number: int, strength: float = 1) -> tuple[NDArray[np.float64], ...]:
        """Source, right answer and edit, in levels."""
        item = self.items[number]
        shown = (
            Image.open(self.folder / item.picture_file),
            item.answers[strength](),
            Image.open(self.folder / item.output_file(strength)),
        )
        return tuple(np.asarray(one).astype(float) for one in shown)

    def error(self, number: int) -> float:
        """By hand: squared distance to the right answer in that of the source, at most 1."""
        source, answer, edit = self.pixels(number)
        return min(1, float(((edit - answer) ** 2).sum() / ((source - answer) ** 2).sum()))

    def wanted(self, number: int) -> float:
        """By hand: the mean squared change that is asked for, in levels."""
        source, answer, _ = self.pixels(number)
        return float(((source - answer) ** 2).mean())


RECIPES: dict[str, Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "copy": lambda source, answer: source,
    "noise": lambda source, answer: np.where(answer < 128, answer + STEP, answer - STEP),
    "shift": lambda source, answer: np.roll(answer, 3, axis=1),
    "half missing": lambda source, answer: answer,
    "half size": lambda source, answer: answer[::2, ::2],
}
"""Source and right answer to what the entrant writes; "half missing" leaves every other item out."""


@pytest.fixture(scope="session")
def spec() -> TaskSpec:
    return TaskSpec.of("portraits", size=SIZE, items=ITEMS)


@pytest.fixture(scope="session")
def written(spec: TaskSpec, tmp_path_factory: pytest.TempPathFactory) -> Entered:
    """Nobody has entered yet."""
    entry = Entered(folder=tmp_path_factory.mktemp("task"), items=task_items(spec))
    write_task(spec, entry.items, entry.folder)
    return entry


@pytest.fixture
def entered(written: Entered, tmp_path: Path) -> Callable[[str], Entered]:
    def run(recipe: str) -> Entered:
        folder = tmp_path / recipe
        shutil.copytree(written.folder, folder)
        for item in written.items[:: 2 if recipe == "half missing" else 1]:
            for strength, answer in item.answers.items():
                made = RECIPES[recipe](np.asarray(item.whole.picture()), np.asarray(answer()))
                Image.fromarray(made.astype(np.uint8)).save(folder / item.output_file(strength))
        return dataclasses.replace(written, folder=folder)

    return run
