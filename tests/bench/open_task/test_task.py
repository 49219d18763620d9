"""What a task holds follows from its seed alone, and nothing in its folder tells an answer."""

import json
from pathlib import Path

import numpy as np
import pydantic
import pytest
from PIL import Image

from latentedit.core.errors import ConfigError, OutputError
from latentedit_bench.open_task.task import NOTHING, TaskItem, TaskSpec, instruction, read_task, task_items, write_task
from tests.bench.open_task.conftest import CHANGING, GRADED, SIZE, STILL, Entered


def shown(items: list[TaskItem]) -> list[str]:
    return [item.whole.fingerprint() for item in items]


def test_a_seed_decides_everything_but_the_size(spec: TaskSpec, written: Entered) -> None:
    assert shown(task_items(spec)) == shown(written.items)
    large = task_items(TaskSpec.of("portraits", size=96, items=6))
    assert [item.instruction for item in large] == [item.instruction for item in written.items[:6]]
    assert large[0].whole.picture().size == (96, 96)


def test_what_cannot_be_a_task_is_refused() -> None:
    for size, items, said in ((32, 6, "size: .* 64"), (4096, 6, "size: .* 2048"), (512, 0, "items: .* 1")):
        with pytest.raises(ConfigError, match=said):
            TaskSpec.of("portraits", size=size, items=items)
    later = TaskSpec.of("portraits", size=SIZE, items=6).model_copy(update={"version": "2.0.0"})
    with pytest.raises(ConfigError, match=r"of version 2\.0\.0"):
        task_items(later)


def test_graded_answers_are_the_values_between(written: Entered) -> None:
    graded = written.items[GRADED]
    assert list(graded.answers) == [0.5, 1.0]
    assert [graded.output_file(one) for one in graded.answers] == [
        "outputs/public-005@0.5.png",
        "outputs/public-005.png",
    ]
    assert [len(item.answers) for item in written.items] == [2 if number == GRADED else 1 for number in range(9)]


def test_no_file_of_the_folder_is_an_answer(written: Entered) -> None:
    """And no line names the kind of change, which would tell where the source is the answer."""
    lines = [json.loads(line) for line in (written.folder / "items.jsonl").read_text("utf-8").splitlines()]
    files = list(written.folder.rglob("*.png"))
    assert len(files) == len(written.items)
    known = {np.asarray(Image.open(file)).tobytes() for file in files}
    answers = [np.asarray(written.items[number].answers[1.0]()).tobytes() for number in CHANGING]
    assert not known & set(answers)
    names = {"id", "image", "source_caption", "target_caption", "instruction", "strengths", "outputs"}
    assert all(set(line) == names for line in lines)
    assert [line["id"] for line in lines] == [item.id for item in written.items]


def test_a_folder_says_which_task_it_is(written: Entered, spec: TaskSpec, tmp_path: Path) -> None:
    assert read_task(written.folder) == spec
    other = TaskSpec.of("portraits", size=SIZE, items=6)
    with pytest.raises(OutputError, match="another task is in"):
        write_task(other, task_items(other), written.folder)
    with pytest.raises(ConfigError, match="no task is in"):
        read_task(tmp_path)
    (tmp_path / "task.json").write_text('{"name": "open-portraits"}')
    with pytest.raises(ConfigError, match="is no task of ours"):
        read_task(tmp_path)


STRANGE = [{"more": 1}, {"split": "../../elsewhere"}, {"sealed": "0"}, {"items": 10**9}, {"items": 0}]
STRANGE += [{"size": 10**6}, {"format": 2}]


@pytest.mark.parametrize("part", STRANGE)
def test_a_strangers_task_is_not_believed(spec: TaskSpec, part: dict[str, object]) -> None:
    """A folder may come from anybody, and decides how much is drawn and which files are read."""
    with pytest.raises(pydantic.ValidationError):
        TaskSpec.model_validate({**spec.model_dump(), **part})


@pytest.mark.parametrize(
    ("old", "new", "asked"),
    [
        ("a red coat", "a blue coat", "Change the red coat to a blue coat."),
        ("no beard", "a gray beard", "Add a gray beard."),
        ("an eyepatch", "no glasses", "Remove the eyepatch."),
        ("on a pink background", "on a green background", "Change the pink background to a green background."),
        ("closed eyes", "wide eyes", "Change the closed eyes to wide eyes."),
    ],
)
def test_instructions_are_sentences(old: str, new: str, asked: str) -> None:
    told = instruction(f"a person with pale skin, {old}", f"a person with pale skin, {new}")
    assert told == f"{asked} Keep everything else exactly as it is."


def test_an_instruction_asks_for_nothing_where_the_picture_is_the_answer(written: Entered) -> None:
    assert written.items[STILL].instruction == NOTHING
    assert [item.instruction for item in written.items].count(NOTHING) == 1
