"""A task follows from its seed, its folder contains no answer, and scores agree with those worked out by hand."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pydantic
import pytest
from numpy.typing import NDArray
from PIL import Image

import latentedit as le
from latentedit.core.errors import ConfigError, OutputError
from latentedit_bench.domains.base import load_domain, scalable
from latentedit_bench.metrics.statistics import Estimate, Table
from latentedit_bench.open_task.scoring import (
    AS_IS,
    KEPT,
    Entry,
    faults,
    item_measures,
    score_item,
    score_items,
    score_page,
)
from latentedit_bench.open_task.task import NOTHING, TaskItem, TaskSpec, instruction, read_task, task_items, write_task

pytestmark = pytest.mark.slow

SIZE, ITEMS = 64, 9
"""Six items of one attribute or two, one graded (005), one of three (006), one that requests nothing (008)."""

PAIR, GRADED, STILL = 2, 5, 8
CHANGING = range(8)
NOISE = 4  # levels


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A task's folder with the entrant's files."""

    folder: Path
    items: list[TaskItem]

    def pixels(self, number: int, strength: float = 1) -> tuple[NDArray[np.float64], ...]:
        """Source, right answer and edit, in levels."""
        item = self.items[number]
        shown = (
            Image.open(self.folder / item.image_file),
            item.answers[strength](),
            Image.open(self.folder / item.output_file(strength)),
        )
        return tuple(np.asarray(one).astype(float) for one in shown)

    def error(self, number: int) -> float:
        """By hand: squared distance to the right answer in that of the source, at most 1."""
        source, answer, edit = self.pixels(number)
        return min(1, float(((edit - answer) ** 2).sum() / ((source - answer) ** 2).sum()))

    def wanted(self, number: int) -> float:
        """By hand: the requested mean squared change, in levels."""
        source, answer, _ = self.pixels(number)
        return float(((source - answer) ** 2).mean())


RECIPES: dict[str, Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "copy": lambda source, answer: source,
    "noise": lambda source, answer: np.where(answer < 128, answer + NOISE, answer - NOISE),
    "shift": lambda source, answer: np.roll(answer, 3, axis=1),
    "half missing": lambda source, answer: answer,
    "half size": lambda source, answer: answer[::2, ::2],
}
"""What the entrant makes of a source and its right answer; "half missing" leaves every other item out."""


Enter = Callable[[str], Entered]


@pytest.fixture(scope="module")
def spec() -> TaskSpec:
    return TaskSpec.of("portraits", size=SIZE, items=ITEMS)


@pytest.fixture(scope="module")
def written(spec: TaskSpec, tmp_path_factory: pytest.TempPathFactory) -> Entered:
    """The folder before any entry."""
    entry = Entered(folder=tmp_path_factory.mktemp("task"), items=task_items(spec))
    write_task(spec, entry.items, entry.folder)
    return entry


@pytest.fixture
def entered(written: Entered, tmp_path: Path) -> Enter:
    def run(recipe: str) -> Entered:
        folder = tmp_path / recipe
        shutil.copytree(written.folder, folder)
        for item in written.items[:: 2 if recipe == "half missing" else 1]:
            for strength, answer in item.answers.items():
                made = RECIPES[recipe](np.asarray(item.whole.image()), np.asarray(answer()))
                Image.fromarray(made.astype(np.uint8)).save(folder / item.output_file(strength))
        return dataclasses.replace(written, folder=folder)

    return run


def test_everything_but_the_size_follows_from_the_seed(spec: TaskSpec, written: Entered) -> None:
    first, second = ([item.whole.fingerprint() for item in items] for items in (task_items(spec), written.items))
    assert first == second
    large = task_items(TaskSpec.of("portraits", size=96, items=6))
    assert [item.instruction for item in large] == [item.instruction for item in written.items[:6]]
    assert large[0].whole.image().size == (96, 96)


def test_no_file_of_the_folder_is_an_answer(written: Entered) -> None:
    """And no line names the kind of change, which would reveal where the source is the answer."""
    lines = [json.loads(line) for line in (written.folder / "items.jsonl").read_text("utf-8").splitlines()]
    files = list(written.folder.rglob("*.png"))
    assert len(files) == len(written.items)
    known = {np.asarray(Image.open(file)).tobytes() for file in files}
    answers = [np.asarray(written.items[number].answers[1.0]()).tobytes() for number in CHANGING]
    assert not known & set(answers)
    names = {"id", "image", "source_caption", "target_caption", "instruction", "strengths", "outputs"}
    assert all(set(line) == names for line in lines)
    assert [line["id"] for line in lines] == [item.id for item in written.items]
    graded = lines[GRADED]
    assert graded["strengths"] == [0.5, 1.0]
    assert graded["outputs"] == ["outputs/public-005@0.5.png", "outputs/public-005.png"]
    assert [len(item.answers) for item in written.items] == [2 if number == GRADED else 1 for number in range(9)]
    assert [item.instruction == NOTHING for item in written.items] == [False] * STILL + [True]


def test_a_folder_holds_one_task(written: Entered, spec: TaskSpec, tmp_path: Path) -> None:
    assert read_task(written.folder) == spec
    other = TaskSpec.of("portraits", size=SIZE, items=6)
    with pytest.raises(OutputError):
        write_task(other, task_items(other), written.folder)
    with pytest.raises(ConfigError):
        read_task(tmp_path)
    (tmp_path / "task.json").write_text('{"name": "open-portraits"}')
    with pytest.raises(ConfigError):
        read_task(tmp_path)
    with pytest.raises(ConfigError):
        task_items(spec.model_copy(update={"version": "2.0.0"}))


@pytest.mark.parametrize(
    "part",
    [
        {"more": 1},
        {"split": "../../elsewhere"},
        {"sealed": "0"},
        {"items": 10**9},
        {"items": 0},
        {"size": 32},
        {"size": 4096},
        {"format": 2},
    ],
)
def test_an_untrusted_task_is_validated(spec: TaskSpec, part: dict[str, object]) -> None:
    """An untrusted folder determines how much is rendered and which files are read."""
    with pytest.raises(pydantic.ValidationError):
        TaskSpec.model_validate({**spec.model_dump(), **part})
    if set(part) <= {"items"}:
        with pytest.raises(ConfigError):
            TaskSpec.of("portraits", size=SIZE, items=int(str(part["items"])))


@pytest.mark.parametrize(
    ("old", "new", "requested"),
    [
        ("a red coat", "a blue coat", "Change the red coat to a blue coat."),
        ("no beard", "a gray beard", "Add a gray beard."),
        ("an eyepatch", "no glasses", "Remove the eyepatch."),
        ("on a pink background", "on a green background", "Change the pink background to a green background."),
    ],
)
def test_instructions_are_sentences(old: str, new: str, requested: str) -> None:
    found = instruction(f"a person with pale skin, {old}", f"a person with pale skin, {new}")
    assert found == f"{requested} Keep everything else exactly as it is."


def scored(entry: Entered, spec: TaskSpec) -> tuple[Mapping[str, Mapping[str, float]], Mapping[str, Estimate], Table]:
    """Item to its measures, the means, and all rows."""
    rows = score_items(entry.items, entry.folder, keep=False)
    table = item_measures(rows)
    items = table.set_index("item").to_dict("index")
    return items, Entry.of("somebody", spec, rows, table).measures[AS_IS], rows


def test_a_copy_of_the_sources_is_no_edit(entered: Enter, spec: TaskSpec) -> None:
    """Errors of 1 without any spread, no effect; where the source is the answer, no error."""
    entry = entered("copy")
    items, means, rows = scored(entry, spec)
    assert faults(rows, entry.items, entry.folder) == []
    assert (means["error"].mean, means["error"].low, means["error"].high) == (1, 1, 1)
    assert means["error"].images == len(CHANGING)
    zero = ("effect", "leakage", "outside_change", "done", "others_changed", "still_error")
    assert [means[name].mean for name in zero] == [0] * len(zero)
    source, whole, _ = entry.pixels(GRADED)
    _, half, _ = entry.pixels(GRADED, 0.5)
    along = float(((half - source) * (whole - source)).sum() / ((whole - source) ** 2).sum())
    graded = items["public-005"]
    assert graded["strength_error"] == pytest.approx((along + 1) / 2, rel=1e-5), "effects of 0, of the right ones"
    assert (graded["error_between"], graded["monotonicity"]) == (1, 0)


def test_right_answers_with_noise_err_by_the_noise(entered: Enter, spec: TaskSpec) -> None:
    """Every value is off by 4 levels: the error is 16 over the requested mean squared change."""
    entry = entered("noise")
    items, means, rows = scored(entry, spec)
    wanted = [entry.wanted(number) for number in CHANGING]
    by_hand = [NOISE**2 / one for one in wanted]
    assert max(by_hand) < 1, "else the cap hides what is tested"
    assert [items[f"public-{number:03d}"]["error"] for number in CHANGING] == pytest.approx(by_hand, rel=1e-5)
    assert means["error"].mean == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert means["still_error"].mean == pytest.approx(NOISE**2 / np.mean(wanted), rel=1e-5)
    assert items["public-005"]["monotonicity"] == pytest.approx(1)
    assert (means["done"].mean, means["others_changed"].mean) == (1, 0), "the classifier does not mind the noise"
    source, answer, edit = entry.pixels(0)
    outside = (source == answer).all(axis=2)
    by_hand_outside = ((edit - source)[outside] ** 2).sum() / ((answer - source) ** 2).sum()
    assert items["public-000"]["outside_change"] == pytest.approx(by_hand_outside, rel=1e-5)
    assert items["public-000"]["untouched"] == 0
    two = score_items(entry.items[:2], entry.folder, keep=False, workers=2)
    shown = ["item", "error", "effect", "done"]
    assert two[shown].equals(rows[shown].head(2)), "processes change nothing"


def test_a_shift_by_three_pixels_is_an_error_that_keep_undoes(entered: Enter, spec: TaskSpec) -> None:
    """No better than no edit where little was requested; after keep nearly the right answer."""
    entry = entered("shift")
    items, means, rows = scored(entry, spec)
    assert faults(rows, entry.items, entry.folder) == [], "without keep, shifts are not detected"
    by_hand = [entry.error(number) for number in CHANGING]
    assert [items[f"public-{number:03d}"]["error"] for number in CHANGING] == pytest.approx(by_hand, rel=1e-5)
    assert sum(error == 1 for error in by_hand) > 4
    source, _, edit = entry.pixels(STILL)
    assert ((edit - source) ** 2).mean() > np.mean([entry.wanted(number) for number in CHANGING])
    assert means["still_error"].mean == 1
    some = [entry.items[number] for number in (3, STILL)]
    rows = score_items(some, entry.folder, keep=True)
    found = faults(rows, entry.items, entry.folder)
    assert [fault["file"] for fault in found] == ["outputs/public-003.png", "outputs/public-008.png"]
    assert all(fault["what"].startswith("is moved by +3.0 px to the right and ") for fault in found)
    assert not any(fault["counts"] for fault in found)
    kept = rows[rows["scored"] == KEPT].set_index("item")
    assert by_hand[3] == 1
    assert kept.loc["public-003", "error"] < 0.2
    assert kept.loc["public-008", "still_error"] == 0, "the source's own pixels, bit for bit"


def test_missing_files_count_as_no_edit(entered: Enter, spec: TaskSpec) -> None:
    """Of eight items that request a change four have the right answer: 4/8, between 1/8 and 7/8.

    The ends are those of a binomial of 8 draws, each of them 1 or 0 with the same probability. The five single changes
    have three answers missing, the pair (002) and the triple (006) none.
    """
    entry = entered("half missing")
    items, means, rows = scored(entry, spec)
    wrong = faults(rows, entry.items, entry.folder)
    gone = ["001", "003", "005@0.5", "005", "007"]
    assert wrong == [{"file": f"outputs/public-{one}.png", "what": "is missing", "counts": True} for one in gone]
    assert [items[f"public-{number:03d}"]["error"] for number in CHANGING] == [0, 1] * 4
    assert (means["error"].mean, means["error"].low, means["error"].high) == (1 / 2, 1 / 8, 7 / 8)
    assert (means["effect"].mean, means["done"].mean) == (pytest.approx(1 / 2), 1 / 2)
    assert means["still_error"].mean == 0
    mine = Entry.of("half", spec, rows, item_measures(rows))
    assert (mine.failed, set(mine.measures)) == (5, {AS_IS})
    kinds = {kind: one.mean for kind, one in mine.kinds[AS_IS].items()}
    assert kinds == {"single": 3 / 5, "pair": 0, "triple": 0, "graded": 1, "nothing": 0}
    html = score_page(mine, [*wrong, {"file": "outputs/<b>.png", "what": "belongs to no item", "counts": False}])
    assert all(name in html for name in ("public-005@0.5.png", "outputs/&lt;b&gt;.png"))
    (entry.folder / "outputs/public-008.png").unlink()
    _, means, rows = scored(entry, spec)
    assert faults(rows, entry.items, entry.folder)[-1]["file"] == "outputs/public-008.png"
    assert means["still_error"].mean == 1, "a missing file is not an unchanged image"


def test_the_classifier_sees_what_was_changed_instead(entered: Enter) -> None:
    """Hair and eyes are requested (002); the eyes are as requested, the hair is unchanged, the mouth differs."""
    entry = entered("copy")
    pair = entry.items[PAIR]
    scene = pair.whole.image.scene  # type: ignore[attr-defined]
    eyes = load_domain("portraits").change(scene, {"eyes": "wide", "mouth": "smile"})
    Image.fromarray(scalable("portraits").render_at(eyes, SIZE)).save(entry.folder / pair.output_file(1))
    (row,) = score_item(pair, entry.folder, keep=False)
    assert (row["done"], row["others_changed"]) == (1 / 2, 1)


def test_unreadable_and_missing_files_and_those_of_another_size_are_no_edit(
    entered: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep brings another size back. Without a classifier attributes have no score, also of a missing file."""
    entry = entered("half size")
    as_is, kept = score_item(entry.items[STILL], entry.folder, keep=True)
    assert (as_is["failed"], as_is["change"], f"of {SIZE // 2} x {SIZE // 2}" in as_is["fault"]) == (1, 0, True)
    assert (kept["scored"], kept["failed"]) == (KEPT, 0)
    entry = entered("copy")
    (entry.folder / "outputs/public-000.png").write_bytes(b"no image")
    (entry.folder / "outputs/public-001.png").unlink()
    (entry.folder / "outputs/0.jpg").write_bytes(b"")

    def unread(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(type(load_domain("portraits")), "read", unread)
    rows = score_items(entry.items[:3], entry.folder, keep=False)
    damaged, missing, stray = faults(rows, entry.items, entry.folder)
    assert damaged["what"].startswith("cannot be read: ")
    assert (damaged["counts"], missing["counts"], stray["counts"]) == (True, True, False)
    assert (missing["what"], stray["file"]) == ("is missing", "outputs/0.jpg")
    assert rows[["done", "others_changed"]].isna().all(axis=None)
    path = entry.folder / "images/public-000.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    with pytest.raises(ConfigError, match=r"public-000\.png"):
        score_item(entry.items[0], entry.folder, keep=False)


def test_keep_improves_the_damaged_edits_of_a_keep_task(tmp_path: Path) -> None:
    """Not that of 000, a change of a whole flat color, which it takes for a cast."""
    spec = TaskSpec.of("portraits", size=128, items=3, kind="keep")
    items = task_items(spec)
    write_task(spec, items, tmp_path)
    edits = [Image.open(tmp_path / item.edited_file) for item in items]
    kept = [le.keep(item.whole.image(), edit).image.convert("RGB") for item, edit in zip(items, edits, strict=True)]
    entries = [item.answers[1.0]() for item in items], kept, [edit.resize((128, 128)) for edit in edits]
    measures = list[Table]()
    for outputs in entries:
        for item, output in zip(items, outputs, strict=True):
            output.save(tmp_path / item.output_file(1.0))
        measures.append(item_measures(score_items(items, tmp_path, keep=False)))
    right, kept_best, raw = (one["error"].to_numpy() for one in measures)
    assert right.tolist() == [0, 0, 0]
    assert (kept_best < raw)[1:].all(), (kept_best, raw)
    assert (measures[1]["untouched"] > measures[2]["untouched"]).all()
