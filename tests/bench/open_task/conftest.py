"""A small public task of portraits, its right answers beside it, and a stranger who enters."""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentedit_bench.open_task.folder import write_task
from latentedit_bench.open_task.task import TaskItem, TaskSpec, task_items

SIZE, ITEMS = 64, 9
"""Nine items: six of one attribute or two, one graded (005), one of three (006), one that asks for nothing (008)."""

PAIR, GRADED, TRIPLE, STILL = 2, 5, 6, 8
CHANGING = range(8)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A task's folder as a stranger filled it."""

    folder: Path
    answers: Path
    items: list[TaskItem]

    def pixels(self, number: int, strength: float = 1) -> tuple[NDArray[np.float64], ...]:
        """Picture, right answer and edit, in levels."""
        name = self.items[number].output_file(strength)
        files = (self.folder / self.items[number].picture_file, self.answers / Path(name).name, self.folder / name)
        return tuple(np.asarray(Image.open(file)).astype(float) for file in files)

    def error(self, number: int) -> float:
        """By hand: squared distance to the right answer in that of the picture."""
        source, answer, edit = self.pixels(number)
        return float(((edit - answer) ** 2).sum() / ((source - answer) ** 2).sum())

    def wanted(self, number: int) -> float:
        """By hand: the mean squared change that is asked for, in levels."""
        source, answer, _ = self.pixels(number)
        return float(((source - answer) ** 2).mean())


@pytest.fixture(scope="session")
def spec() -> TaskSpec:
    return TaskSpec.of("portraits", size=SIZE, items=ITEMS)


@pytest.fixture(scope="session")
def written(spec: TaskSpec, tmp_path_factory: pytest.TempPathFactory) -> Entered:
    """Nobody has entered yet."""
    folder, answers = tmp_path_factory.mktemp("task"), tmp_path_factory.mktemp("answers")
    items = task_items(spec)
    write_task(spec, items, folder)
    for item in items:
        for strength, answer in item.answers.items():
            answer().save(answers / Path(item.output_file(strength)).name)
        for then, file in zip(item.then, item.then_files, strict=True):
            then.answer().save(answers / Path(file).name)
    return Entered(folder=folder, answers=answers, items=items)


@pytest.fixture
def entered(written: Entered, tmp_path: Path) -> Callable[[str], Entered]:
    def run(recipe: str) -> Entered:
        folder = tmp_path / recipe
        shutil.copytree(written.folder, folder)
        script = Path(__file__).with_name("entrant.py")
        subprocess.run([sys.executable, script, folder, written.answers, recipe], check=True)
        return dataclasses.replace(written, folder=folder)

    return run


@pytest.fixture(scope="session")
def lines(written: Entered) -> list[dict[str, object]]:
    return [json.loads(line) for line in (written.folder / "items.jsonl").read_text("utf-8").splitlines()]
