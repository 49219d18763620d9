"""``check``: verdicts on pairs with known changes, exit codes, the schema, and many pairs."""

import csv
import dataclasses
import functools
import importlib.metadata
import json
import math
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from latentedit.core.errors import ConfigError
from latentedit.keeping import check_folder
from latentedit.keeping.api import KeepResult, keep
from latentedit.keeping.checking import _GREEN, _ORANGE, _RED, CheckResult, Report, check
from latentedit.keeping.pairs import pairs_of
from latentedit.photo.images import read_pixels
from latentedit.photo.saving import save_image
from latentedit.photo.warp import smoothed
from latentedit.pixels.rest import Leftover
from latentedit.pixels.verdict import framed
from tests.commands import Command, Refused
from tests.keep.pairs import SIDE, WHERE, as_jpeg, cast, moved, scene, similarity, some, with_object
from tests.keep.test_api import edited, lit

pytestmark = pytest.mark.usefixtures("analyzed_once")

RED = np.rint(scene() * (1.1, 0.7, 0.5)).clip(0, 255).astype(np.uint8)
MORE_THAN_A_NUMBER_PX = 80  # the digit of a region has fewer pixels of its color, the outline of a disc has more
CLOSER = moved(scene(), similarity((4.0, 2.0), 1.25), (SIDE, SIDE))


as_image = Image.fromarray


def checked(image: np.ndarray, **options: Any) -> CheckResult:
    return check(as_image(scene()), as_image(image), **options)


def unsure() -> np.ndarray:
    """A disc that is no stronger than the noise around it."""
    noise = smoothed(np.random.default_rng(0).normal(0, 120, (SIDE, SIDE, 3)).astype(np.float32), 3.0)
    disc = cv2.circle(np.zeros((SIDE, SIDE, 1), dtype=np.float32), (90, 70), 14, 35, -1)
    return (scene() + noise + disc).clip(0, 255).astype(np.uint8)


def test_a_change_of_content_and_one_of_all_colors_are_two_verdicts() -> None:
    """The advised command keeps the first without the second; `keep` alone keeps both."""
    object_at = (slice(55, 85), slice(75, 105))
    red = np.rint(with_object(scene()) * (1.1, 0.7, 0.5)).clip(0, 255).astype(np.uint8)
    result = checked(red, max_outside=0.001)
    report, kept = result.report, result.kept
    assert (report.found, report.recolored, report.reasons) == (
        "local change",
        True,
        ("whole image", "changed outside"),
    )
    assert (np.asarray(kept.image) != scene()).mean() > 0.9
    parted = kept.composed(only=[1])
    differs = (np.asarray(parted.image) != scene()).any(axis=2)
    assert differs[object_at].any()
    assert not differs[:30].any()
    assert [one.record.recolored for one in (kept, parted)] == [True, True]
    assert not checked(RED).report.regions


def test_the_panel_outlines_what_lies_inside_and_outside_a_mask_in_two_colors() -> None:
    def shows(color: tuple[int, int, int], **options: Any) -> bool:
        panel = check(as_image(scene()), as_image(with_object(scene())), **options).panel
        count = int((np.asarray(panel)[:, SIDE + 8 :] == color).all(axis=2).sum())
        assert count == 0 or count > MORE_THAN_A_NUMBER_PX
        return count > 0

    inside, outside = as_image(WHERE), as_image(np.roll(WHERE, 60, axis=1))
    assert [shows(_GREEN, mask=inside), shows(_RED, mask=inside), shows(_ORANGE, mask=inside)] == [True, False, False]
    assert [shows(_GREEN, mask=outside), shows(_RED, mask=outside)] == [False, True]
    assert [shows(_GREEN), shows(_RED), shows(_ORANGE)] == [False, False, True]


def test_measurements_are_within_their_uncertainties_and_the_mask_limits_the_edit() -> None:
    result = check(as_image(scene()), edited().resize((200, 200)), mask=as_image(WHERE), expect_size=True)
    report = result.report
    assert (report.passed, report.reasons, report.found) == (False, ("size",), "local change")
    true = {"right_px": 2.4, "down_px": -1.3, "zoom": 1.01, "rotation_degrees": 0, "inside": math.pi * 18**2 / SIDE**2}
    for name, value in true.items():
        assert abs(getattr(report, name).value - value) <= getattr(report, name).uncertainty, name
    assert report.outside.value < 0.001 == report.max_outside
    assert TypeAdapter(Report).validate_json(report.to_json()) == report
    assert np.asarray(result.panel).shape == (SIDE, 2 * SIDE + 8, 3)
    elsewhere = check(as_image(scene()), edited(), mask=as_image(np.roll(WHERE, 60, axis=1))).report
    assert elsewhere.reasons == ("no edit", "changed outside")
    assert elsewhere.regions[0].outside == pytest.approx(report.changed.value, rel=0.1)


LARGE = scene(240)
INNER = LARGE[40:200, 30:210]


@pytest.mark.slow_except("as_jpeg-shown0-0.3333333333333333-sides0")
@pytest.mark.parametrize(
    ("saved", "shown", "share", "sides"),
    [
        (as_jpeg, np.s_[:, 30:210], 80 / 240, ("above", "below")),
        (np.asarray, np.s_[40:200, 30:], 30 / 210, ("right",)),
        (as_jpeg, np.s_[40:, 30:210], 40 / 200, ("below",)),
        (np.asarray, np.s_[:, :], 1 - 160 * 180 / 240**2, ("left", "right", "above", "below")),
    ],
)
def test_what_the_edit_shows_beyond_the_original_is_reported(
    saved: Any, shown: Any, share: float, sides: tuple[str, ...]
) -> None:
    kept = keep(as_image(INNER), as_image(saved(LARGE[shown])))
    report = check(kept=kept).report
    assert (report.found, report.beyond_at) == ("reframed", sides)
    assert report.beyond == pytest.approx(share, abs=0.015)
    np.testing.assert_array_equal(kept.kept.pixels, INNER)


@pytest.mark.slow
def test_an_original_is_found_in_a_much_larger_image() -> None:
    canvas = scene(700, seed=5).copy()
    canvas[230:410, 260:440] = scene(180)
    kept = keep(as_image(scene(180)), as_image(as_jpeg(canvas)))
    assert kept.found == "reframed"
    assert kept.analysis.beyond == (pytest.approx(1 - (180 / 700) ** 2, abs=0.01), ("left", "right", "above", "below"))
    np.testing.assert_allclose(kept.matrix[:2, 2], (260, 230), atol=0.5)


def decoded(image: np.ndarray, resample: Image.Resampling) -> np.ndarray:
    """A JPEG with halved chroma as a decoder shows it: decoders differ in how they enlarge the chroma."""
    bright, *chroma = Image.fromarray(as_jpeg(image, 85)).convert("YCbCr").split()
    small = (bright.width // 2, bright.height // 2)
    colors = (plane.resize(small, Image.Resampling.BOX).resize(bright.size, resample) for plane in chroma)
    return np.asarray(Image.merge("YCbCr", (bright, *colors)).convert("RGB"))


@pytest.mark.slow_except("15")
@pytest.mark.parametrize("radius", [0, 15])
def test_two_decodings_of_one_jpeg_are_the_same_image(radius: int) -> None:
    """At saturated edges they differ by 50 levels; only what was drawn on one of them is a change."""
    image = LARGE.copy()
    image[40:110, 60:150] = (235, 10, 10)
    first, second = (decoded(image, how) for how in (Image.Resampling.BICUBIC, Image.Resampling.NEAREST))
    assert np.abs(first.astype(int) - second).max() > 40
    disc = cv2.circle(np.zeros(image.shape[:2], np.uint8), (170, 170), radius, 1, -1) * (radius > 0)
    kept = keep(as_image(first), as_image(np.where(disc[..., None] > 0, np.uint8((30, 160, 60)), second)))
    assert kept.found == ("local change" if radius else "nothing")
    wrong = (np.asarray(kept.mask) > 127) != (disc > 0)
    assert wrong.mean() < 0.002


def test_an_image_is_only_reframed_if_the_rest_agrees() -> None:
    change = some(keep(as_image(scene()), as_image(CLOSER)).detected)
    assert framed(change) == "reframed"
    for fault in ({"structure": 0.8}, {"residual": 7.0}):
        assert framed(dataclasses.replace(change, **fault)) == "redrawn"


@pytest.mark.slow
def test_what_everyone_sees_is_certain_however_much_was_repainted_elsewhere() -> None:
    """A disc of 35 levels among smooth noise of 11: before and after `keep` it is a change, without it nothing is."""
    noise = smoothed(np.random.default_rng(0).normal(0, 240, (320, 320, 3)).astype(np.float32), 6.0)
    disc = cv2.circle(np.zeros((320, 320, 1), dtype=np.float32), (180, 140), 32, 35, -1)
    images = [as_image((scene(320) + noise + one).clip(0, 255).astype(np.uint8)) for one in (0, disc)]
    assert keep(as_image(scene(320)), images[0]).found == "nothing"
    kept = keep(as_image(scene(320)), images[1])
    assert kept.found == check(as_image(scene(320)), kept.image).report.found == "local change"


def test_keep_is_advised_only_where_the_rest_is_separated() -> None:
    kept = keep(as_image(scene()), edited())
    change = some(kept.detected)
    assert check(kept=kept).report.next_step_code == "keep"
    left = Leftover(levels=20.0, box=(0, 0, 0.1, 0.1))
    for fault in ({"residual": 7.0}, {"leftover": left}, {"unchanged_share": 0.35}):
        analysis = dataclasses.replace(kept.analysis, change=dataclasses.replace(change, **fault))
        worse = dataclasses.replace(kept, analysis=analysis)
        for options in ({}, {"mask": as_image(WHERE)}):
            assert check(kept=worse, **options).report.next_step_code == "look", fault


@pytest.mark.slow_except("image3")
@pytest.mark.parametrize("image", [np.asarray(edited()), with_object(scene()), np.asarray(lit()), scene()])
def test_a_kept_result_has_no_other_change_and_needs_no_keep(image: np.ndarray) -> None:
    """`check` finds the pixels that `keep` took, and calls the rest identical or empty."""
    kept = keep(as_image(scene()), as_image(image))
    result = check(as_image(scene()), kept.image)
    differs = (np.asarray(kept.image) != scene()).any(axis=2)
    assert result.report.next_step_code != "keep"
    assert result.report.rest == ("empty" if differs.all() else "identical")
    if kept.found in ("local change", "nothing"):
        np.testing.assert_array_equal(result.changed, differs)


@pytest.mark.slow
def test_differences_as_weak_as_the_noise_are_neither_kept_nor_reported() -> None:
    """A strong change next to noise that `contrasts` finds strong in one place: `keep` leaves it, `check` says so."""
    noise = smoothed(np.random.default_rng(0).normal(0, 120, (SIDE, SIDE, 3)).astype(np.float32), 3.0)
    kept = keep(as_image(scene()), as_image((with_object(scene()) + noise).clip(0, 255).astype(np.uint8)))
    assert kept.detected is not None
    report = check(kept=kept).report
    assert len(report.regions) == len(kept.changes) == kept.detected.count
    assert all(kept.detected.contrasts[1:] >= 2)


@pytest.mark.slow_except("exact")
@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.asarray(edited()), id="moved and cast"),
        pytest.param(with_object(scene()), id="exact"),
        pytest.param(np.rot90(with_object(scene())), id="turned", marks=pytest.mark.nightly),
        pytest.param(lit(), id="global", marks=pytest.mark.nightly),
        pytest.param(scene(seed=8), id="different", marks=pytest.mark.nightly),
    ],
)
def test_a_kept_result_is_checked_as_its_two_images_are(image: np.ndarray) -> None:
    first, second, mask = as_image(scene()), as_image(np.ascontiguousarray(image)), as_image(WHERE)
    expected = check(first, second, mask=mask)
    for kept in (keep(first, second), keep(first, second, mask=mask, strength=0.5)):
        found = check(kept=kept, mask=mask)
        assert found.report == expected.report
        np.testing.assert_array_equal(found.panel, expected.panel)
        np.testing.assert_array_equal(found.kept.kept.pixels, expected.kept.kept.pixels)


def uncertain(kept: KeepResult, **fields: Any) -> KeepResult:
    change = dataclasses.replace(some(kept.detected), **fields)
    return dataclasses.replace(kept, analysis=dataclasses.replace(kept.analysis, change=change))


def test_nothing_is_unsure_where_the_rest_differs() -> None:
    kept = keep(as_image(scene()), as_image(as_jpeg(scene())))
    assert check(kept=kept, mask=as_image(WHERE)).report.reasons == ("no edit",)
    left = uncertain(kept, leftover=Leftover(levels=8.0, box=(0, 0, 0.5, 1)))
    for options in ({"mask": as_image(WHERE)}, {"max_outside": 0.5}):
        report = check(kept=left, **options).report
        assert (report.passed, report.reasons, report.next_step_code) == (False, ("unsure",), "look")
        assert "0,0,80,160" in report.verdict


def test_a_cast_within_its_uncertainty_is_no_verdict() -> None:
    kept = keep(as_image(scene()), as_image(as_jpeg(scene() * 0.85 + 4)))
    for off, certain in ((0.1, True), (2.0, True), (20.0, False)):
        tones = dataclasses.replace(some(kept.detected).tones, doubts=np.full((17, 17, 17), off))
        report = check(kept=uncertain(kept, tones=tones), max_outside=0.5).report
        assert report.found == "nothing"
        assert 10 < report.cast.value < 20
        assert report.reasons == (("whole image",) if certain else ("no edit",))
        assert report.next_step_code == ("allow whole image" if certain else "edit again")
        assert not any(f"{report.cast.value:.1f}" in text for text in report.also)


@pytest.mark.slow
@pytest.mark.parametrize("saved", [as_jpeg, lambda image: as_jpeg(cast(image), 95)])
def test_a_result_passes_with_every_mask_that_the_edit_passes_with(saved: Any, tmp_path: Path) -> None:
    """Also with one that is exactly the change."""
    original, center = scene(2 * SIDE), (180, 140)
    kept = keep(as_image(original), as_image(saved(with_object(original, center, 36))))
    as_image(original).save(tmp_path / "original.png")
    kept.save(tmp_path / "kept.png")
    for radius in (34, 35, 36, 37, 40):
        mask = as_image(cv2.circle(np.zeros((2 * SIDE, 2 * SIDE), dtype=np.uint8), center, radius, 255, -1))
        result = check(tmp_path / "original.png", tmp_path / "kept.png", mask=mask).report
        before = check(kept=kept, mask=mask).report.passed
        assert result.passed or not before, radius
        assert before or radius < 36


def test_a_seam_farther_out_needs_the_record_of_its_original_and_to_be_faint(tmp_path: Path) -> None:
    """A ring of 3 levels, and one that is seen, 5 to 6 px outside of the mask."""
    kept = keep(as_image(scene()), as_image(with_object(scene())))
    ring = cv2.circle(np.zeros((SIDE, SIDE, 1), dtype=np.uint8), (90, 70), 24, 1, 2)
    mask = as_image(cv2.circle(np.zeros((SIDE, SIDE), dtype=np.uint8), (90, 70), 18, 255, -1))
    as_image(scene()).save(tmp_path / "original.png")
    for levels, record, passed in ((3, kept.record, True), (30, kept.record, False), (3, None, False)):
        pixels = kept.kept.pixels + np.uint8(levels) * ring
        save_image(as_image(pixels), tmp_path / "kept.png", record=record and record.to_json())
        report = check(tmp_path / "original.png", tmp_path / "kept.png", mask=mask).report
        assert (report.passed, report.rest) == (passed, "identical")
    other = dataclasses.replace(kept.record, original=kept.record.edited)
    save_image(as_image(kept.kept.pixels + np.uint8(3) * ring), tmp_path / "kept.png", record=other.to_json())
    assert not check(tmp_path / "original.png", tmp_path / "kept.png", mask=mask).report.passed


def test_check_needs_either_two_images_or_a_kept_result() -> None:
    kept = keep(as_image(scene()), as_image(scene()))
    with pytest.raises(ConfigError, match=r"0\.05 for 5 %"):
        check(kept=kept, max_outside=5)
    for images, options in (((), {}), ((as_image(scene()),), {}), ((as_image(scene()),) * 2, {"kept": kept})):
        with pytest.raises(ConfigError):
            check(*images, **options)


def test_a_share_near_its_limit_is_neither_passed_nor_failed() -> None:
    large = scene()
    large[40:120, 40:120] = scene(seed=5)[40:120, 40:120]
    kept = keep(as_image(scene()), as_image(as_jpeg(large)))
    share, limits = check(kept=kept).report.changed, {"unsure": (-0.5, 0.5), "changed outside": (-1.5,), "": (1.5,)}
    for reason, places in limits.items():
        for place in places:
            report = check(kept=kept, max_outside=share.value + place * share.uncertainty).report
            assert report.reasons == ((reason,) if reason else ())
            assert report.next_step_code == "keep"
    assert check(kept=keep(as_image(scene()), edited()), mask=as_image(WHERE), max_outside=0).report.passed
    exact = check(as_image(scene()), as_image(with_object(scene())))
    assert check(kept=exact.kept, max_outside=exact.report.changed.value).report.passed, "no uncertainty"


def test_the_page_on_one_pair_is_that_of_many(tmp_path: Path, command: Command, refused: Refused) -> None:
    for name, pixels in (("a", scene()), ("b", with_object(scene()))):
        as_image(pixels).save(tmp_path / f"{name}.png")
    pair, page = ("check", tmp_path / "a.png", tmp_path / "b.png"), tmp_path / "r.html"
    assert command(*pair, "-o", page).code == 0
    assert page.read_text(encoding="utf-8") == check(*pair[1:]).kept.view().html
    assert ".html" in refused(*pair, "-o", tmp_path / "report")
    assert "--workers" in refused(*pair, "--workers", 2)


@pytest.mark.slow
def test_exit_codes(tmp_path: Path, command: Command, refused: Refused) -> None:
    first, second, mask, noisy = (tmp_path / f"{name}.png" for name in ("a", "b", "mask", "noisy"))
    for place, pixels in ((first, scene()), (second, np.asarray(edited())), (mask, WHERE), (noisy, unsure())):
        as_image(pixels).save(place)
    done = command("check", first, second, "--mask", mask, "--json", "--panel", tmp_path / "p.png")
    assert (done.code, json.loads(done.out)["passed"], (tmp_path / "p.png").exists()) == (0, True, True)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("original,edited\na.png,noisy.png\n")
    run = ("check", pairs, "-o", tmp_path / "r", "--workers", 1)
    assert command(*run).code == 0, "without a limit it only measures"
    printed = command(*run, "--max-outside", "50%")
    assert (printed.code, printed.out.split()[0]) == (3, "unsure")
    for arguments, why in (
        ([first, tmp_path / "none.png"], "no such file"),
        ([first], "edited image is missing"),
        ([first, second, "--max-outside", "101%"], "--max-outside"),
        ([first, second, "--max-outside", "0.2"], "Write 20% or 0.2%"),
        ([first, second, "--max-outside", "101"], "0.1%"),
        ([first, second, "--panel", second], "b.png is the image"),
        ([tmp_path, first, "-o", tmp_path / "r"], "is a folder"),
    ):
        assert why in refused("check", *arguments)


def test_lists_may_be_separated_as_spreadsheets_do(tmp_path: Path) -> None:
    places = (tmp_path / "a, b.png", tmp_path / "c;d.png")
    for between, cells in ((",", '"a, b.png",c;d.png'), (";", 'a, b.png;"c;d.png"'), ("\t", "a, b.png\tc;d.png")):
        listed = tmp_path / "pairs.csv"
        listed.write_text(f"original{between}edited\n{cells}\n", encoding="utf-8")
        assert pairs_of(listed, None, None) == ({"a, b": (*places, None)}, {})


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_many_pairs_make_a_table_and_a_page_and_are_checked_once(
    workers: int, tmp_path: Path, command: Command
) -> None:
    for name, pixels in (("a", scene()), ("b", with_object(scene()))):
        as_image(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "bad.png").write_bytes(b"")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("original,edited,name\na.png,b.png,<b>=1\na.png,a.png,\na.png,bad.png,\n", encoding="utf-8")
    run = ("check", pairs, "-o", tmp_path / "r", "--workers", workers)
    first = command(*run)
    assert (first.code, first.err.startswith("a-bad: "), "2 measured" in first.out) == (1, True, True)
    rows = list(csv.DictReader((tmp_path / "r" / "check.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["name"], row["passed"], row["regions"]) for row in rows] == [
        ("<b>=1", "", "1"),
        ("a", "", "0"),
    ]
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert "<b>=1" not in page
    assert page.count('href="pages/') == 2 == len(list((tmp_path / "r" / "pages").iterdir()))
    written = {place: place.stat().st_mtime_ns for place in (tmp_path / "r" / "reports").iterdir()}
    assert command(*run, "--workers", 1).out == first.out
    assert {place: place.stat().st_mtime_ns for place in written} == written


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("list.json", "[" * 200_000, "nested too deeply"),
        ("list.json", '[{"original": "a.png", "edited": "a.png", "name": "\\ud800"}]', "not UTF-8"),
        ("list.json", '[{"original": "\\udce9.png", "edited": "a.png"}]', "not UTF-8"),
        ("list.json", '{"original": "a.png"}', "not a list of pairs"),
        ("list.json", '[{"original": 1, "edited": ["a.png"]}]', "not a list of pairs"),
        ("list.csv", b"original,edited\n\xe9.png,a.png\n", "line 2"),
    ],
)
def test_invalid_lists_are_rejected(
    name: str, content: str | bytes, why: str, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert why in refused("check", tmp_path / name, "-o", tmp_path / "r", "--workers", 1)


def test_damaged_reports_are_replaced(tmp_path: Path, command: Command) -> None:
    """Two of the file names are not valid UTF-8: those of a readable image and of a damaged one."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in (b"caf\xe9.png", b"a.png"):
        as_image(scene()).resize((32, 32)).save(folder / os.fsdecode(name))
    (folder / os.fsdecode(b"bad\xe9.png")).touch()
    output = tmp_path / "r"
    run = ("check", folder, folder, "-o", output, "--workers", 1)
    assert (command(*run).code, len(list((output / "reports").iterdir()))) == (1, 2)
    places = sorted((output / "reports").iterdir())
    whole = [place.read_bytes() for place in places]
    stored: Any = json.loads(whole[0])
    damaged = [
        b"[" * 200_000,
        b"[]",
        b"\xff",
        b'"\\ud800"',
        whole[0][:-9],
        json.dumps(stored | {"report": {}}).encode(),
    ]
    for content in (*damaged, json.dumps({"key": stored["key"], "checksum": 0}).encode()):
        places[0].write_bytes(content)
        done = command(*run)
        assert (done.code, "2 measured" in done.out, "bad" in done.err) == (1, True, True)
        assert [place.read_bytes() for place in places] == whole


def test_a_report_belongs_to_the_bytes_that_were_compared(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edited image is replaced when its check begins; the second run checks it again."""
    as_image(scene()).save(tmp_path / "a.png")
    as_image(scene()).save(tmp_path / "b.png")
    (tmp_path / "pairs.csv").write_text("original,edited\na.png,b.png\n", encoding="utf-8")
    run = ("check", tmp_path / "pairs.csv", "-o", tmp_path / "r", "--workers", 1)

    def replaced(*images: Any, **options: Any) -> CheckResult:
        as_image(with_object(scene())).save(tmp_path / "b.png")
        return check(*images, **options)

    monkeypatch.setattr(check_folder, "check", replaced)
    found = list[tuple[str, str]]()
    for _ in range(2):
        command(*run)
        report = json.loads((tmp_path / "r/reports/a.json").read_text(encoding="utf-8"))["report"]
        found.append((report["found"], report["edited"]["fingerprint"]))
    assert found == [
        ("identical", read_pixels(as_image(scene())).fingerprint),
        ("local change", read_pixels(tmp_path / "b.png").fingerprint),
    ]


def test_long_pair_names_are_shortened_to_valid_file_names(tmp_path: Path, command: Command) -> None:
    as_image(scene()).resize((32, 32)).save(tmp_path / "a.png")
    names = ["\U00020000" * 100, "\U00020000" * 100 + "b", "n" * 5000]
    pairs = [{"original": "a.png", "edited": "a.png", "name": name} for name in names]
    (tmp_path / "list.json").write_text(json.dumps(pairs, ensure_ascii=False), encoding="utf-8")
    done = command("check", tmp_path / "list.json", "-o", tmp_path / "r", "--workers", 1)
    assert (done.code, done.err, len(list((tmp_path / "r" / "reports").iterdir()))) == (0, "", 3)


@pytest.mark.parametrize("kind", ["panels", "pages"])
def test_deleted_panels_and_reports_of_another_version_are_made_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, pixels in (("o", scene()), ("e", with_object(scene()))):
        (tmp_path / folder).mkdir()
        as_image(pixels).save(tmp_path / folder / "a.png")
    run = functools.partial(check_folder.check_many, tmp_path / "o", tmp_path / "e", None, tmp_path / "r", workers=1)
    run()
    (file,), report = (tmp_path / "r" / kind).iterdir(), tmp_path / "r" / "reports" / "a.json"
    before = report.stat().st_mtime_ns
    run()
    assert report.stat().st_mtime_ns == before
    file.unlink()
    run()
    assert file.is_file()
    before, version = report.stat().st_mtime_ns, importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version(name) + ".post1")
    run()
    assert report.stat().st_mtime_ns > before


@pytest.mark.slow
def test_a_result_that_was_taken_whole_passes_with_its_own_mask() -> None:
    kept = checked(RED).kept
    assert kept.recolored
    for mask, passed in ((kept.mask, True), (as_image(WHERE), False)):
        assert check(as_image(scene()), kept.image, mask=mask).report.passed == passed


@pytest.mark.slow
def test_a_share_below_its_uncertainty_is_unknown_and_is_looked_at() -> None:
    """Thin lines, of which most is outline; a disc of about the same area is known."""
    lines, disc = scene(320), with_object(scene(320), (160, 160), 34)
    for at in range(30, 300, 30):
        cv2.line(lines, (20, at), (300, at), (230, 60, 40), 1, cv2.LINE_AA)
    for drawn, known in ((lines, False), (disc, True)):
        report = check(as_image(scene(320)), as_image(as_jpeg(drawn, 85))).report
        assert report.found == "local change"
        assert (report.changed.uncertainty < report.changed.value) == known
        assert any("unknown" in one for one in report.doubts) == (not known)
        assert (report.next_step_code == "look") == (not known)
