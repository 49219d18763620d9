"""Several edits in a row: their changes on the first image, in order, and what happens to rounds that do not fit."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentedit.core.errors import ConfigError, FileFormatError, ImageError, OutputError
from latentedit.keeping import api
from latentedit.keeping.api import KeepRecord, KeepResult, keep, keep_again
from latentedit.keeping.rounds import LOST, NOTHING, STRANGE, TAKEN_BACK, WHOLE
from latentedit.photo.images import PixelImage
from tests.commands import Command, Refused
from tests.keep.pairs import SIDE, as_jpeg, moved, scene, similarity, with_object

pytestmark = pytest.mark.usefixtures("analyzed_once")

Pixels = NDArray[np.uint8]
RADIUS = 13
CENTERS = ((40, 40), (115, 45), (70, 115))
FIRST = scene()
Y, X = np.mgrid[:SIDE, :SIDE]
FAR = np.all([np.hypot(X - x, Y - y) > RADIUS + 12 for x, y in CENTERS], axis=0)


def made(centers: tuple[tuple[int, int], ...] = CENTERS, first: Pixels = FIRST) -> tuple[list[Pixels], Pixels]:
    """Edits in a row, each with one disc more, moved, zoomed, tinted and compressed; and the discs on the first."""
    edit = truth = first
    edits, place = list[Pixels](), np.eye(3)
    for number, center in enumerate(centers):
        truth = with_object(truth, center, RADIUS)
        x, y, _ = place @ [*center, 1]
        edit = with_object(edit, (round(x), round(y)), RADIUS)
        frame = similarity((1.4 * (-1) ** number, -0.8), 1.006)
        tinted = np.rint(edit * np.array([1.01, 0.99, 0.985])).clip(0, 255).astype(np.uint8)
        edit, place = as_jpeg(moved(tinted, frame, (SIDE, SIDE)), 92), frame @ place
        edits.append(edit)
    return edits, truth


EDITS, TRUTH = made()
DISCS = [
    functools.reduce(lambda image, center: with_object(image, center, RADIUS), CENTERS[:number], FIRST)
    for number in (1, 2, 3)
]  # the same edits, exact: they need no alignment, which is nearly all of the work


def in_a_row(*edits: Any, first: Any = FIRST, **options: Any) -> KeepResult:
    return keep(first, edits[-1], between=edits[:-1], **options)


def of_rounds(result: KeepResult) -> list[str]:
    return [doubt for doubt in result.doubts if doubt.startswith("round")]


@pytest.fixture(scope="module")
def result(analyzed_once: None) -> KeepResult:
    return in_a_row(*EDITS)


@pytest.mark.slow
def test_all_changes_are_on_the_first_image_and_all_else_is_identical(result: KeepResult) -> None:
    pixels = np.asarray(result.image)
    np.testing.assert_array_equal(pixels[FAR], FIRST[FAR])
    same = (pixels == FIRST).all(axis=2)
    np.testing.assert_array_equal(same, np.asarray(result.mask) == 0)
    for x, y in CENTERS:
        inside = np.hypot(X - x, Y - y) < RADIUS - 1
        assert np.abs(pixels[inside].astype(int) - TRUTH[inside]).mean() < 6
    assert np.abs(pixels.astype(int) - TRUTH).mean() < 1
    assert (result.found, of_rounds(result), result.outside_db_after) == ("local change", [], np.inf)
    assert result.changed_share == pytest.approx(1 - same.mean())


def test_the_changes_have_the_numbers_of_their_rounds(result: KeepResult) -> None:
    assert [one.number for one in result.changes] == [1, 2, 3]
    for one, (x, y) in zip(result.changes, CENTERS, strict=True):
        np.testing.assert_allclose(one.box, (x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), atol=8)
    assert [line.partition(";")[0] for line in result.lines[:3]] == [f"round {one}: change {one}" for one in (1, 2, 3)]
    assert "moved by +1.40, -0.80 px, zoom 1.0060" in result.lines[0]
    last = result.composed(only=[3])
    assert last.changes_left_out == (1, 2)
    np.testing.assert_array_equal(np.asarray(last.image)[:80], FIRST[:80])
    np.testing.assert_array_equal(np.asarray(last.image)[100:130], np.asarray(result.image)[100:130])
    assert last.lines[:3] == result.lines[:3]
    boxed = result.composed(box=(90, 20, 50, 50), strength=0.5)
    assert boxed.changes_left_out == (1, 3)


def test_frame_and_colors_of_the_report_are_those_of_the_last_edit(result: KeepResult) -> None:
    single = keep(FIRST, EDITS[-1])
    np.testing.assert_allclose(result.shift_px, single.shift_px, atol=0.15)
    assert result.zoom == pytest.approx(single.zoom, abs=1e-3)
    assert result.measures["cast"] == pytest.approx(single.measures["cast"], abs=1.5)
    assert result.measures["cast"] > 2
    assert result.measures["least_px"] == 5, "what a round may have missed"
    assert result.outside_db_before == pytest.approx(single.outside_db_before, abs=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(("order", "back"), [((1, 0, 2), [2]), ((2, 1, 0), [2, 3])])
def test_a_wrong_order_is_a_doubt(order: tuple[int, ...], back: list[int]) -> None:
    rounds = f"round{'s' * (len(back) > 1)} {', '.join(map(str, back))}"
    assert f"{rounds}: {TAKEN_BACK}" in in_a_row(*(EDITS[one] for one in order)).doubts


@pytest.mark.slow
def test_edits_that_were_all_made_from_the_first_are_a_doubt() -> None:
    single = [made((center,))[0][0] for center in CENTERS]
    assert [doubt for doubt in in_a_row(*single).doubts if TAKEN_BACK in doubt]


def test_a_later_change_may_lie_on_an_earlier_one() -> None:
    edits = [with_object(FIRST, (40, 40), 16), with_object(with_object(FIRST, (40, 40), 16), (58, 40), 8)]
    edits[1][36:44, 52:64] = (20, 60, 230)
    found = in_a_row(*edits)
    assert of_rounds(found) == []
    np.testing.assert_array_equal(np.asarray(found.image), edits[1])
    second = np.asarray(found.composed(only=[2]).image)
    np.testing.assert_array_equal(second[36:44, 52:64], edits[1][36:44, 52:64], "a pixel is of the last round there")


@pytest.mark.slow
def test_a_stranger_in_the_middle_is_left_out_and_named(result: KeepResult) -> None:
    found = in_a_row(EDITS[0], scene(seed=8), *EDITS[1:])
    assert of_rounds(found) == [f"round 2: {STRANGE}"]
    np.testing.assert_array_equal(found.kept.pixels, result.kept.pixels)
    assert found.lines[1] == "round 2: different images"
    assert found.lines[2].startswith("round 3: change 2")
    assert [one.number for one in found.changes] == [1, 2, 3]
    assert found.measures["least_px"] is None


@pytest.mark.slow
def test_nothing_is_kept_where_no_edit_can_be_aligned() -> None:
    strangers = in_a_row(scene(64, seed=8), scene(64, seed=9), first=scene(64))
    assert (strangers.found, strangers.differs) == ("different images", False)
    assert of_rounds(strangers) == [f"rounds 1, 2: {STRANGE}"]


@pytest.mark.slow
def test_rounds_in_which_nothing_or_everything_changed_are_named() -> None:
    same = in_a_row(FIRST, EDITS[0])
    assert of_rounds(same) == [f"round 1: {NOTHING}"]
    assert same.lines[1].startswith("round 2: change 1")
    assert in_a_row(FIRST, FIRST).found == "nothing"
    gray = np.asarray(Image.fromarray(EDITS[0]).convert("L").convert("RGB"))
    whole = in_a_row(EDITS[0], gray, with_object(gray, (115, 45), RADIUS))
    assert of_rounds(whole) == [f"round 2: {WHOLE}"]
    assert whole.changed_share > 0.9
    assert np.ptp(np.asarray(whole.image)[60:90, 60:90].astype(int), axis=2).mean() < 3, "gray, as round 2 made it"


@pytest.mark.slow
def test_a_change_that_is_not_found_on_the_result_before_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_masks(*images: Any, mask: Any = None, **options: Any) -> KeepResult:
        found = keep(*images, **options)
        return found if mask is None else dataclasses.replace(found, kept=images[0])

    monkeypatch.setattr(api, "keep", without_masks)
    assert of_rounds(in_a_row(EDITS[0], EDITS[1]))[-1:] == [f"rounds 1, 2: {LOST}"]


@pytest.mark.slow
def test_doubts_of_rounds_name_no_remedies_of_a_single_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    doubts = "few is left; after several edits in a row, give the first original", "one is left out unless named"

    def doubtful(*images: Any, mask: Any = None, **options: Any) -> KeepResult:
        found = keep(*images, mask=mask, **options)
        uncertain = "the alignment is uncertain by 0.7 px", "another"
        return dataclasses.replace(found, doubts=doubts if mask is None else uncertain)

    monkeypatch.setattr(api, "keep", doubtful)
    texts = "few is left", "one is left out", "the alignment is uncertain by 0.7 px"
    wanted = tuple(f"rounds 1, 2: {text}" for text in texts)
    found = in_a_row(*EDITS[:2])
    assert found.doubts == found.composed(only=[1]).doubts == wanted
    gray = np.asarray(Image.fromarray(EDITS[0]).convert("L").convert("RGB"))
    assert "round 1: few is left" in in_a_row(EDITS[0], gray).doubts, "a round that is taken whole has one of its own"


@pytest.mark.slow
def test_a_turned_edit_is_followed_upright() -> None:
    turned = [EDITS[0], *(np.ascontiguousarray(np.rot90(one)) for one in EDITS[1:])]
    found = in_a_row(*turned)
    assert np.abs(np.asarray(found.image).astype(int) - TRUTH).mean() < 1
    assert np.abs(found.edited.levels - EDITS[2]).mean() < 0.1, "upright"
    assert [doubt for doubt in of_rounds(found) if "quarter turn" in doubt]


@pytest.mark.slow
def test_an_original_of_16_bits_keeps_them_and_edits_may_have_other_sizes() -> None:
    deep = PixelImage(pixels=FIRST.astype(np.uint16) * 257 + 3)
    edits, truth = EDITS[:2], DISCS[1]
    larger = [np.asarray(Image.fromarray(one).resize((200, 200), Image.Resampling.LANCZOS)) for one in edits]
    found = in_a_row(*larger, first=deep)
    assert found.kept.pixels.dtype == np.uint16
    np.testing.assert_array_equal(found.kept.pixels[FAR], deep.pixels[FAR])
    assert np.abs(found.kept.pixels / 257 - truth).mean() < 1


@pytest.mark.slow
@pytest.mark.usefixtures("analyzed_anew")
def test_a_result_is_repeated_from_its_record_with_the_same_edits_in_the_same_order() -> None:
    made = in_a_row(*DISCS, only=[2, 3])
    record = KeepRecord.from_json(made.record.to_json(), "it")
    again = keep_again(record, FIRST, DISCS[-1], between=DISCS[:-1])
    assert again.record == record
    np.testing.assert_array_equal(again.kept.pixels, made.kept.pixels)
    np.testing.assert_array_equal(made.kept.pixels, in_a_row(*DISCS).composed(only=[2, 3]).kept.pixels)
    for between in ([], DISCS[:1], DISCS[1::-1], [*DISCS]):
        with pytest.raises(ConfigError, match="differs from the recorded one"):
            keep_again(record, FIRST, DISCS[-1], between=between)
    with pytest.raises(ConfigError, match="there was none"):
        keep_again(keep(FIRST, DISCS[0]).record, FIRST, DISCS[0], between=[DISCS[0]])


def test_a_record_holds_every_edit_in_a_row(result: KeepResult) -> None:
    fields = json.loads(result.record.to_json())
    assert len(fields["between"]) == 2
    single = json.loads(keep(FIRST, EDITS[0]).record.to_json())
    assert single["between"] == []
    with pytest.raises(FileFormatError, match="no record of latentedit keep"):
        KeepRecord.from_json(json.dumps(fields | {"between": [{"name": 3, "fingerprint": ""}]}), "it")


@pytest.mark.slow
def test_ai_in_any_edit_is_declared(tmp_path: Path) -> None:
    keep(FIRST, DISCS[0], ai=True).save(tmp_path / "ai.png")
    for edit, is_declared in ((DISCS[0], False), (tmp_path / "ai.png", True)):
        found = in_a_row(edit, DISCS[1])
        assert (b"compositeWith" in found.kept.carried.xmp, found.record.ai) == (is_declared, is_declared)


@pytest.mark.parametrize("between", ["e1.png", FIRST, iter([FIRST])])
def test_what_is_no_list_of_edits_is_refused(between: Any) -> None:
    with pytest.raises(ConfigError, match="between takes a list"):
        keep(FIRST, EDITS[0], between=between)


def test_every_edit_is_read_before_the_work() -> None:
    steps = list[Any]()
    with pytest.raises(ImageError, match="none"):
        in_a_row(EDITS[0], "none.png", EDITS[1], progress=lambda *step: steps.append(step))
    assert steps == []


@pytest.mark.slow
@pytest.mark.usefixtures("analyzed_anew")
def test_progress_goes_on_over_all_rounds_and_an_exception_in_it_ends_the_work() -> None:
    steps = list[tuple[str, int, int]]()
    in_a_row(*EDITS[:2], progress=lambda *step: steps.append(step))
    tasks, done, of = zip(*steps, strict=True)
    assert len(set(tasks)) == len(set(of)) == 1
    assert list(done) == sorted(done)
    assert (done[0], done[-1]) == (0, of[0])

    def stopped(_: str, done: int, number: int) -> None:
        if done > number / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_a_row(*EDITS[:2], progress=stopped)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first image and two edits, in the current folder."""
    monkeypatch.chdir(tmp_path)
    names = ["photo.png", "e1.png", "e2.png"]
    for name, pixels in zip(names, (FIRST, *DISCS), strict=False):
        Image.fromarray(pixels).save(name)
    return names


@pytest.mark.slow
def test_the_command_takes_edits_in_a_row(files: list[str], command: Command) -> None:
    done = command("keep", *files, "--in-a-row", "--save-mask", "mask.png", "--save-layer", "layer.png")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("photo.png + e1.png + e2.png -> photo.kept.png")
    assert "round 2: change 2" in done.out
    np.testing.assert_array_equal(np.asarray(Image.open("photo.kept.png")), DISCS[1])
    assert Path("mask.png").exists()
    report = json.loads(command("keep", *files, "--in-a-row", "--json", "--only", "2", "-o", "second.png").out)
    assert (report["between"], report["edited"]) == (["e1.png"], "e2.png")
    assert report["changes_left_out"] == [1]
    again = command("replay", "photo.kept.png")
    assert again.code == 0, again.err
    assert "yes, byte for byte" in again.out


@pytest.mark.slow
def test_the_command_refuses_what_is_no_row_of_edits(
    files: list[str], tmp_path: Path, command: Command, refused: Refused
) -> None:
    for names in (files[:2], files[:1], [str(tmp_path), *files[1:]], [*files[:2], str(tmp_path)]):
        assert "--in-a-row takes an original and two or more edits" in refused("keep", *names, "--in-a-row")
    for name in files:
        assert "is the image itself" in refused("keep", *files, "--in-a-row", "-o", name)
    for name, seed in (("small.png", 3), ("other.png", 8)):
        Image.fromarray(scene(64, seed)).save(name)
    done = command("keep", "small.png", "other.png", "other.png", "--in-a-row", "-o", "k.png")
    assert (done.code, Path("k.png").exists()) == (1, False)
    assert command("keep", *files, "--in-a-row", "-o", "k.png").code == 0
    Path("e1.png").unlink()
    assert "e1.png is not next to k.png. Put it there" in refused("replay", "k.png")


@pytest.mark.slow
def test_no_image_of_a_row_is_replaced(files: list[str]) -> None:
    made = keep(files[0], files[2], between=[files[1]])
    for name in files:
        for save in (made.save, made.save_mask, made.save_layers):
            with pytest.raises(OutputError, match="the result was made from"):
                save(name)
    made.save(files[1], overwrite=True)
