"""A stranger's folder is scored as it must be: every number here is computed by hand, from the files alone."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit_bench.domains.base import differences, domain, scalable
from latentedit_bench.metrics.statistics import Estimate
from latentedit_bench.open_task.outputs import Fault, stray_files
from latentedit_bench.open_task.scoring import AS_IS, KEPT, errors_by, estimates, item_measures, score_item, score_items
from latentedit_bench.open_task.task import IN_A_ROW, UNDONE, in_a_row
from tests.bench.open_task.conftest import CHANGING, GRADED, ITEMS, PAIR, SIZE, STILL, TRIPLE, Entered
from tests.bench.open_task.entrant import STEP

pytestmark = pytest.mark.slow

Enter = Callable[[str], Entered]


def scored(entry: Entered) -> tuple[Mapping[str, Mapping[str, float]], Mapping[str, Estimate], list[Fault]]:
    """Item to its measures, the means, and the faults."""
    rows, faults = score_items(entry.items, entry.folder, keep=False)
    table = item_measures(rows)
    plain = table[table["scored"] == AS_IS]
    return plain.set_index("item").to_dict("index"), estimates(table)[AS_IS], faults


def test_the_stranger_imports_nothing_of_ours() -> None:
    script = Path(__file__).with_name("entrant.py").read_text("utf-8")
    assert "import latentedit" not in script
    assert "from latentedit" not in script


@pytest.mark.nightly
def test_a_copy_of_the_inputs_is_no_edit(entered: Enter) -> None:
    """Errors of 1 without any spread, no effect; where the picture is the answer, no error."""
    entry = entered("copy")
    items, means, faults = scored(entry)
    assert faults == []
    assert (means["error"].mean, means["error"].low, means["error"].high) == (1, 1, 1)
    assert (means["effect"].mean, means["leakage"].mean, means["outside_change"].mean) == (0, 0, 0)
    assert (means["done"].mean, means["others_changed"].mean) == (0, 0)
    assert means["error"].pictures == len(CHANGING)
    assert means["still_error"].mean == 0
    source, whole, _ = entry.pixels(GRADED)
    _, half, _ = entry.pixels(GRADED, 0.5)
    along = float(((half - source) * (whole - source)).sum() / ((whole - source) ** 2).sum())
    graded = items["public-005"]
    assert graded["strength_error"] == pytest.approx((along + 1) / 2, rel=1e-5), "effects of 0, of the right ones"
    assert (graded["error_between"], graded["monotonicity"]) == (1, 0)


@pytest.mark.nightly
def test_right_answers_with_noise_err_by_the_noise(entered: Enter) -> None:
    """Every value is off by 4 levels: the error is 16 over the mean squared change that was asked for."""
    entry = entered("noise")
    items, means, faults = scored(entry)
    assert faults == []
    wanted = [entry.wanted(number) for number in CHANGING]
    by_hand = [min(1, STEP**2 / one) for one in wanted]
    assert max(by_hand) < 1, "else the cap hides what is tested"
    found = [items[f"public-{number:03d}"]["error"] for number in CHANGING]
    assert found == pytest.approx(by_hand, rel=1e-5)
    assert means["error"].mean == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert means["still_error"].mean == pytest.approx(STEP**2 / np.mean(wanted), rel=1e-5)
    assert items["public-005"]["monotonicity"] == 1
    assert (means["done"].mean, means["others_changed"].mean) == (1, 0), "the classifier does not mind the noise"
    source, answer, edit = entry.pixels(0)
    outside = (source == answer).all(axis=2)
    by_hand_outside = ((edit - source)[outside] ** 2).sum() / ((answer - source) ** 2).sum()
    assert items["public-000"]["outside_change"] == pytest.approx(by_hand_outside, rel=1e-5)


@pytest.mark.nightly
def test_a_shift_by_three_pixels_is_an_error_and_is_mended_and_told(entered: Enter) -> None:
    """As it is no better than no edit where little was asked for; after keep nearly the right answer."""
    entry = entered("shift")
    items, means, faults = scored(entry)
    assert faults == [], "without keep nobody looks whether something moved"
    by_hand = [min(1, entry.error(number)) for number in CHANGING]
    assert [items[f"public-{number:03d}"]["error"] for number in CHANGING] == pytest.approx(by_hand, rel=1e-5)
    assert sum(error == 1 for error in by_hand) > 4
    source, _, edit = entry.pixels(STILL)
    usual = np.mean([entry.wanted(number) for number in CHANGING])
    assert ((edit - source) ** 2).mean() > usual
    assert means["still_error"].mean == 1

    rows, told = score_items([entry.items[number] for number in (3, STILL)], entry.folder, keep=True)
    assert [fault.file for fault in told] == ["outputs/public-003.png", "outputs/public-008.png"]
    assert all(fault.what.startswith("is moved by +3.0 px to the right and ") for fault in told)
    assert not any(fault.counts for fault in told)
    kept = rows[rows["scored"] == KEPT].set_index("item")
    assert by_hand[3] == 1
    assert kept.loc["public-003", "error"] < 0.1, "a tenth of no edit; how near exactly is for the tests of keep"
    assert kept.loc["public-008", "still_error"] == 0, "the picture's own pixels, bit for bit"


@pytest.mark.nightly
def test_what_is_asked_afterwards_is_measured_from_where_it_began(entered: Enter) -> None:
    """A copy is the answer where three changes are taken back, and no edit where ten are made; noise errs by the noise.

    Of a file that is missing it counts as if the three changes had been left, or as no edit.
    """
    steps = [in_a_row(number) for number in range(2, IN_A_ROW + 1)]
    entry = entered("copy")
    triple, pair = (entry.items[number] for number in (TRIPLE, PAIR))
    assert [one.name for one in (*triple.then, *pair.then)] == [UNDONE, *steps]

    def errors(some: Entered) -> dict[str, float]:
        rows, _ = score_items([some.items[TRIPLE], some.items[PAIR]], some.folder, keep=False)
        table = item_measures(rows).set_index("scored")
        return {str(name): float(table.loc[name, "error"]) for name in (UNDONE, *steps)}

    assert errors(entry) == {UNDONE: 0.0, **dict.fromkeys(steps, 1.0)}
    noisy = entered("noise")
    answers = [np.asarray(one.answer()).astype(float) for one in pair.then]
    source = np.asarray(pair.whole.picture()).astype(float)
    by_hand = [min(1, STEP**2 / ((answer - source) ** 2).mean()) for answer in answers]
    found = errors(noisy)
    assert [found[name] for name in steps] == pytest.approx(by_hand, rel=1e-5)
    assert found[UNDONE] == pytest.approx(STEP**2 / noisy.wanted(TRIPLE), rel=1e-5)
    for file in (triple.then_files[0], pair.then_files[2]):
        (noisy.folder / file).unlink()
    gone = errors(noisy)
    assert (gone[UNDONE], gone[steps[2]], gone[steps[3]]) == (1, 1, found[steps[3]])


def test_ten_edits_in_a_row_change_one_thing_each(written: Entered) -> None:
    world, then = domain("portraits"), written.items[PAIR].then
    scenes = [written.items[PAIR].whole.truth.scene, *(one.answer.scene for one in then)]  # type: ignore[union-attr]
    changes = [differences(world, a, b) for a, b in itertools.pairwise(scenes)]
    assert len(changes) == IN_A_ROW - 1
    assert all(0 < len(names) < 3 for names in changes), "a part that comes or goes takes its colour with it"
    assert all(one.instruction.endswith("exactly as it is.") for one in then)


@pytest.mark.nightly
def test_half_missing_is_half_of_no_edit(entered: Enter) -> None:
    """Of eight items that ask for a change four have the right answer: 4/8, between 1/8 and 7/8.

    The ends are those of a binomial of 8 draws, each of them 1 or 0 with the same probability.
    """
    entry = entered("half missing")
    items, means, faults = scored(entry)
    gone = ["001", "003", "005@0.5", "005", "007"]
    assert faults == [Fault(file=f"outputs/public-{one}.png", what="is missing", counts=True) for one in gone]
    assert [items[f"public-{number:03d}"]["error"] for number in CHANGING] == [0, 1] * 4
    assert (means["error"].mean, means["error"].low, means["error"].high) == (1 / 2, 1 / 8, 7 / 8)
    assert means["effect"].mean == pytest.approx(1 / 2)
    assert means["done"].mean == 1 / 2
    assert means["still_error"].mean == 0

    (entry.folder / "outputs/public-008.png").unlink()
    _, means, faults = scored(entry)
    assert faults[-1].file == "outputs/public-008.png"
    assert means["still_error"].mean == 1, "a file that is not there is no picture left alone"


@pytest.mark.nightly
def test_kinds_are_told_apart(entered: Enter) -> None:
    """The five single changes have two right answers missing, the pair (002) and the triple (006) none."""
    entry = entered("half missing")
    rows, _ = score_items(entry.items, entry.folder, keep=False)
    found = errors_by(item_measures(rows), "kind")[AS_IS]
    assert {kind: one.mean for kind, one in found.items()} == {
        "single": 3 / 5,  # 001, 003 and 007 of 000, 001, 003, 004 and 007
        "pair": 0,
        "triple": 0,
        "graded": 1,
        "nothing": 0,
    }


@pytest.mark.nightly
def test_the_classifier_sees_what_was_changed_instead(entered: Enter) -> None:
    """Hair and eyes are asked for (002); the eyes are as asked, the hair as it was, and the mouth is another one."""
    entry = entered("copy")
    pair = entry.items[2]
    world = domain("portraits")
    scene = pair.whole.picture.scene  # type: ignore[attr-defined]
    eyes = world.change(scene, {"eyes": "wide", "mouth": "smile"})
    Image.fromarray(scalable("portraits").render_at(eyes, SIZE)).save(entry.folder / pair.output_file(1))
    row, *_ = score_item(pair, entry.folder, keep=False).rows
    assert (row["done"], row["others_changed"]) == (1 / 2, 1)


@pytest.mark.nightly
def test_another_size_is_no_edit_until_keep_brings_it_back(entered: Enter) -> None:
    entry = entered("half size")
    _, means, faults = scored(entry)
    assert means["error"].mean == 1
    assert means["still_error"].mean == 1
    assert len(faults) == ITEMS + 1 + IN_A_ROW
    assert faults[0].what == f"is of {SIZE // 2} x {SIZE // 2} pixels, not {SIZE} x {SIZE}"
    kept = score_item(entry.items[STILL], entry.folder, keep=True).rows[1]
    assert kept["scored"] == KEPT
    assert kept["failed"] == 0


def test_what_is_no_picture_and_what_belongs_to_no_item_is_told(entered: Enter) -> None:
    entry = entered("copy")
    (entry.folder / "outputs/public-000.png").write_bytes(b"no picture")
    (entry.folder / "outputs/0.jpg").write_bytes(b"")
    (fault,) = score_item(entry.items[0], entry.folder, keep=False).faults
    assert (fault.file, fault.counts) == ("outputs/public-000.png", True)
    assert fault.what.startswith("cannot be read: ")
    (stray,) = stray_files(entry.folder, entry.items)
    assert (stray.file, stray.counts) == ("outputs/0.jpg", False)


def test_pictures_that_are_not_those_of_the_task_are_refused(entered: Enter) -> None:
    """Another version of the renderer would draw another answer too."""
    entry = entered("copy")
    path = entry.folder / "images/public-000.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    with pytest.raises(ConfigError, match=r"public-000\.png is not what this machine draws"):
        score_item(entry.items[0], entry.folder, keep=False)


@pytest.mark.nightly
def test_processes_change_nothing(entered: Enter) -> None:
    entry = entered("noise")
    one, two = (score_items(entry.items[:2], entry.folder, keep=False, workers=workers)[0] for workers in (1, 2))
    assert one.equals(two)


def test_without_a_classifier_nothing_is_said_of_attributes(entered: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of an edit nor of a file that is missing."""

    def unread(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(type(domain("portraits")), "read", unread)
    entry = entered("copy")
    (entry.folder / entry.items[0].output_file(1.0)).unlink()
    rows = [row for item in entry.items[:2] for row in score_item(item, entry.folder, keep=False).rows]
    assert [row["failed"] for row in rows] == [1, 0]
    assert np.isnan([row[name] for row in rows for name in ("done", "others_changed")]).all()
