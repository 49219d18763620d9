"""A task follows from its seed alone, nothing in its folder tells an answer, and entries are scored as by hand."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pydantic
import pytest
from PIL import Image

import latentedit as le
from latentedit.core.errors import ConfigError, OutputError
from latentedit_bench.domains.base import domain, scalable
from latentedit_bench.metrics.statistics import Estimate, Table
from latentedit_bench.open_task.scoring import (
    AS_IS,
    KEPT,
    WORDS,
    Entry,
    faults,
    item_measures,
    score_item,
    score_items,
    score_page,
)
from latentedit_bench.open_task.task import NOTHING, TaskItem, TaskSpec, instruction, read_task, task_items, write_task
from tests.bench.open_task.conftest import CHANGING, GRADED, PAIR, SIZE, STEP, STILL, Entered

pytestmark = pytest.mark.slow


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
    ],
)
def test_instructions_are_sentences(old: str, new: str, asked: str) -> None:
    told = instruction(f"a person with pale skin, {old}", f"a person with pale skin, {new}")
    assert told == f"{asked} Keep everything else exactly as it is."


def test_an_instruction_asks_for_nothing_where_the_picture_is_the_answer(written: Entered) -> None:
    assert written.items[STILL].instruction == NOTHING
    assert [item.instruction for item in written.items].count(NOTHING) == 1


Enter = Callable[[str], Entered]


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
    assert means["error"].pictures == len(CHANGING)
    zero = ("effect", "leakage", "outside_change", "done", "others_changed", "still_error")
    assert [means[name].mean for name in zero] == [0] * len(zero)
    source, whole, _ = entry.pixels(GRADED)
    _, half, _ = entry.pixels(GRADED, 0.5)
    along = float(((half - source) * (whole - source)).sum() / ((whole - source) ** 2).sum())
    graded = items["public-005"]
    assert graded["strength_error"] == pytest.approx((along + 1) / 2, rel=1e-5), "effects of 0, of the right ones"
    assert (graded["error_between"], graded["monotonicity"]) == (1, 0)


def test_right_answers_with_noise_err_by_the_noise(entered: Enter, spec: TaskSpec) -> None:
    """Every value is off by 4 levels: the error is 16 over the mean squared change that was asked for."""
    entry = entered("noise")
    items, means, rows = scored(entry, spec)
    wanted = [entry.wanted(number) for number in CHANGING]
    by_hand = [STEP**2 / one for one in wanted]
    assert max(by_hand) < 1, "else the cap hides what is tested"
    assert [items[f"public-{number:03d}"]["error"] for number in CHANGING] == pytest.approx(by_hand, rel=1e-5)
    assert means["error"].mean == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert means["still_error"].mean == pytest.approx(STEP**2 / np.mean(wanted), rel=1e-5)
    assert items["public-005"]["monotonicity"] == 1
    assert (means["done"].mean, means["others_changed"].mean) == (1, 0), "the classifier does not mind the noise"
    source, answer, edit = entry.pixels(0)
    outside = (source == answer).all(axis=2)
    by_hand_outside = ((edit - source)[outside] ** 2).sum() / ((answer - source) ** 2).sum()
    assert items["public-000"]["outside_change"] == pytest.approx(by_hand_outside, rel=1e-5)
    assert items["public-000"]["untouched"] == 0
    two = score_items(entry.items[:2], entry.folder, keep=False, workers=2)
    shown = ["item", "error", "effect", "done"]
    assert two[shown].equals(rows[shown].head(2)), "processes change nothing"


def test_a_shift_by_three_pixels_is_an_error_and_is_undone_and_told(entered: Enter, spec: TaskSpec) -> None:
    """As it is no better than no edit where little was asked for; after keep nearly the right answer."""
    entry = entered("shift")
    items, means, rows = scored(entry, spec)
    assert faults(rows, entry.items, entry.folder) == [], "without keep nobody looks whether something moved"
    by_hand = [entry.error(number) for number in CHANGING]
    assert [items[f"public-{number:03d}"]["error"] for number in CHANGING] == pytest.approx(by_hand, rel=1e-5)
    assert sum(error == 1 for error in by_hand) > 4
    source, _, edit = entry.pixels(STILL)
    assert ((edit - source) ** 2).mean() > np.mean([entry.wanted(number) for number in CHANGING])
    assert means["still_error"].mean == 1

    some = [entry.items[number] for number in (3, STILL)]
    rows = score_items(some, entry.folder, keep=True)
    told = faults(rows, entry.items, entry.folder)
    assert [fault["file"] for fault in told] == ["outputs/public-003.png", "outputs/public-008.png"]
    assert all(fault["what"].startswith("is moved by +3.0 px to the right and ") for fault in told)
    assert not any(fault["counts"] for fault in told)
    kept = rows[rows["scored"] == KEPT].set_index("item")
    assert by_hand[3] == 1
    assert kept.loc["public-003", "error"] < 0.2
    assert kept.loc["public-008", "still_error"] == 0, "the source's own pixels, bit for bit"


def test_half_missing_is_half_of_no_edit(entered: Enter, spec: TaskSpec) -> None:
    """Of eight items that ask for a change four have the right answer: 4/8, between 1/8 and 7/8.

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
    assert all(text in html for text in ("Failed: 5.", "public-005@0.5.png", "outputs/&lt;b&gt;.png", *WORDS))

    (entry.folder / "outputs/public-008.png").unlink()
    _, means, rows = scored(entry, spec)
    assert faults(rows, entry.items, entry.folder)[-1]["file"] == "outputs/public-008.png"
    assert means["still_error"].mean == 1, "a file that is not there is no image left alone"


def test_the_classifier_sees_what_was_changed_instead(entered: Enter) -> None:
    """Hair and eyes are asked for (002); the eyes are as asked, the hair as it was, and the mouth is another one."""
    entry = entered("copy")
    pair = entry.items[PAIR]
    scene = pair.whole.picture.scene  # type: ignore[attr-defined]
    eyes = domain("portraits").change(scene, {"eyes": "wide", "mouth": "smile"})
    Image.fromarray(scalable("portraits").render_at(eyes, SIZE)).save(entry.folder / pair.output_file(1))
    (row,) = score_item(pair, entry.folder, keep=False)
    assert (row["done"], row["others_changed"]) == (1 / 2, 1)


def test_another_size_is_no_edit_until_keep_brings_it_back(entered: Enter) -> None:
    entry = entered("half size")
    as_it_is, kept = score_item(entry.items[STILL], entry.folder, keep=True)
    assert (as_it_is["failed"], as_it_is["change"]) == (1, 0)
    assert as_it_is["fault"] == f"is of {SIZE // 2} x {SIZE // 2} pixels, not {SIZE} x {SIZE}"
    assert (kept["scored"], kept["failed"]) == (KEPT, 0)


def test_files_that_are_no_images_belong_to_no_item_or_are_not_those_of_the_task(
    entered: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a classifier nothing is said of attributes, neither of an edit nor of a file that is missing."""
    entry = entered("copy")
    (entry.folder / "outputs/public-000.png").write_bytes(b"no image")
    (entry.folder / "outputs/public-001.png").unlink()
    (entry.folder / "outputs/0.jpg").write_bytes(b"")

    def unread(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(type(domain("portraits")), "read", unread)
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
    with pytest.raises(ConfigError, match=r"public-000\.png is not what this machine draws"):
        score_item(entry.items[0], entry.folder, keep=False)


@pytest.mark.nightly
def test_of_a_task_to_keep_the_right_answer_leaves_the_rest_and_keep_most_of_it(tmp_path: Path) -> None:
    """Each image comes with an edit that is damaged. Where `keep` finds a local change it errs less than the edit, but
    for the change of a whole flat colour (000), which it takes for a cast."""
    spec = TaskSpec.of("portraits", size=128, items=4, asks="keep")
    items = task_items(spec)
    write_task(spec, items, tmp_path)
    sources = [item.whole.picture() for item in items]
    edits = [Image.open(tmp_path / item.edited_file) for item in items]

    def measured(outputs: list[Image.Image]) -> Table:
        for item, output in zip(items, outputs, strict=True):
            output.save(tmp_path / item.output_file(1.0))
        return item_measures(score_items(items, tmp_path, keep=False))

    right = measured([item.answers[1.0]() for item in items])
    assert (right["error"].max(), right["untouched"].min()) == (0, 1)
    raw = measured([edit.resize((128, 128)) for edit in edits])
    found = [le.keep(source, edit) for source, edit in zip(sources, edits, strict=True)]
    kept = measured([one.image.convert("RGB") for one in found])
    local = np.array([one.verdict == "kept" for one in found]) & (np.arange(len(items)) > 0)
    assert local.sum() == 2
    assert (kept["error"] < raw["error"])[local].all()
    assert (kept["untouched"] > raw["untouched"]).all()
    assert kept["untouched"][local].min() > 0.9
