"""Pages: exact images, escaped texts, and small files."""

import base64
import dataclasses
import hashlib
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentedit
from latentedit.core.errors import LatentEditError
from latentedit.core.files import plain
from latentedit.editing.outputs import same_image
from latentedit.editing.result import EditResult
from latentedit.editing.result import view as results_view
from latentedit.editing.session import Session
from latentedit.editing.verbs import edit, identify, manipulate
from latentedit.encoding.encode import encode
from latentedit.viewer import View, ViewerFrame
from latentedit.viewer.page import viewer_script
from tests.editors.colors import ColorBackbone
from tests.editors.edits import noise, noisy
from tests.keep.viewer.pages import HOSTILE, data_of, opened, rebuilt, view_of


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("strengths", [[1.0], [0.5, -0.25, 0.0, 1.5, 1.0]])
def test_every_image_is_stored_exactly(strengths: list[float], mode: str) -> None:
    view = view_of(strengths, mode=mode)
    if mode == "RGBA":
        for frame, alpha in zip(view.frames, (noise(mode="RGBA", seed=5), *[view.source] * 4), strict=False):
            frame.image.putalpha(alpha.getchannel("A"))
    report = data_of(view.html)
    images = {float(frame.strength): frame.image for frame in view.frames} | {0.0: view.source}
    assert [frame["strength"] for frame in report["frames"]] == sorted(images)
    assert view.html == dataclasses.replace(view, frames=list(reversed(view.frames))).html
    for frame in report["frames"]:
        assert same_image(rebuilt(report, frame), images[frame["strength"]])


@pytest.mark.parametrize(
    ("strengths", "start", "first"),
    [
        ([-1.0, 0.5, 1.0, 1.25], None, 1.0),
        ([0.3], None, 0.3),
        ([-0.5, -1.0], None, -1.0),
        ([0.0], None, 0.0),
        ([0.5, 1.0], 0.6, 0.6),
    ],
)
def test_a_page_opens_at_an_edit(strengths: list[float], start: float | None, first: float) -> None:
    assert data_of(view_of(strengths, start=start).html)["start"] == first


@pytest.mark.slow_except("RGBA")
@pytest.mark.parametrize("mode", ["RGBA", "L", "I;16"])
def test_the_wipe_starts_at_the_largest_change(mode: str) -> None:
    """The order of the two changes and the size do not matter; the smaller one is stronger, and noise is everywhere."""
    generator = np.random.default_rng(0)
    for width, left, right, cut in ((400, 40, 100, 0.175), (400, 300, 390, 0.8625), (1000, 0, 300, 0.15)):
        before = generator.integers(100, 110, (100, width))
        after = before + generator.integers(0, 3, before.shape)
        after[20:80, left:right] += 60
        after[50:60, width // 2 : width // 2 + 10] += 100
        source, edited = (
            Image.fromarray((257 * levels).astype(np.uint16))
            if mode == "I;16"
            else Image.fromarray(levels.astype(np.uint8)).convert(mode)
            for levels in (before, after)
        )
        view = View(source=source, frames=[ViewerFrame(strength=one, image=edited) for one in (-1.0, 1.0)])
        assert view.data()["cut"] == pytest.approx(cut, abs=1.5 / min(256, width))
    assert View(source=source, frames=[ViewerFrame(strength=1.0, image=source)]).data()["cut"] == 0.5


def test_marks_are_above_the_middle_of_their_boxes() -> None:
    view = view_of([1.0], size=(40, 30), marks=[(1, (10, 15, 20, 20)), (3, (0, 3, 5, 6))])
    assert data_of(view.html)["marks"] == [[1, 0.375, 0.5], [3, 0.0625, 0.1]]


@pytest.mark.parametrize(
    ("caption", "target", "marked"),
    [
        ("a b c d e", "a b x d e", ("c ", "x ")),
        ("a b c d", "a b x d", ("a b c d", "a b x d")),
        ("a b c d e", "a b x d", ("a b c d e", "a b x d")),
        ("a hat, A wall, b", "a hat, a wall; a door", ("A wall, b", "a wall; a door")),
        ("a hat", "a hat, a wall", ("", "a wall")),
    ],
)
def test_changed_phrases_are_marked_word_by_word_from_five_words(
    caption: str, target: str, marked: tuple[str, str]
) -> None:
    captions = data_of(view_of([1.0], caption=caption, target_caption=target).html)["captions"]
    assert tuple("".join(text for text, _ in pieces) for pieces in captions) == (caption, target)
    assert tuple("".join(text for text, changed in pieces if changed) for pieces in captions) == marked
    assert data_of(view_of([1.0], caption=caption).html)["captions"] == [[[caption, False]], []]


def test_only_the_changed_box_is_stored() -> None:
    source = noise((64, 48))
    image = source.copy()
    for place in ((10, 7), (29, 20)):
        image.putpixel(place, tuple(255 - level for level in source.getpixel(place)))
    frame = data_of(View(source=source, frames=[ViewerFrame(strength=1.0, image=image)]).html)["frames"][1]
    assert frame["box"] == [10, 7, 20, 14]
    assert opened(frame["rgb"]).size == (20, 14)


def test_images_of_other_modes_are_shown_in_eight_bits() -> None:
    deep = Image.fromarray(np.arange(0, 65536, 65535 // 99, dtype=np.uint16)[:100].reshape(10, 10))
    report = data_of(View(source=deep, frames=[ViewerFrame(strength=1.0, image=deep)]).html)
    assert "8 bits" in report["notes"][0]
    assert opened(report["source"]["rgb"]).getpixel((9, 9)) == (255, 255, 255)
    palette = noise().quantize(16)
    report = data_of(View(source=palette, frames=[ViewerFrame(strength=1.0, image=palette)]).html)
    assert report["notes"] == []
    assert same_image(opened(report["source"]["rgb"]), palette.convert("RGB"))


def test_large_images_are_reduced_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentedit.viewer.page.MOST_PIXELS", 4000)
    view = view_of([1.0, 2.0], size=(120, 80))
    report = data_of(view.html)
    width, height = report["size"]
    assert (width, height) == (77, 51)
    assert "Shown and saved at 77 x 51 pixels: at 120 x 80" in report["notes"][0]
    left, top, box_width, box_height = report["frames"][1]["box"]
    assert min(left, top) > 0, "both images are reduced equally"
    assert box_width * box_height < width * height / 2
    report = data_of(view_of([1.0], size=(80, 50)).html)
    assert (report["size"], report["notes"]) == ([80, 50], [])
    monkeypatch.setattr("latentedit.viewer.page.MOST_PIXELS_TOGETHER", 4000)
    frames = [ViewerFrame(strength=float(seed), image=noise(seed=seed)) for seed in range(1, 12)]
    report = data_of(View(source=noise(), frames=frames).html)
    assert sum(frame["box"][2] * frame["box"][3] for frame in [report["source"], *report["frames"]]) <= 4000


def test_texts_are_escaped() -> None:
    frame = ViewerFrame(strength=1.0, image=noise(), verdict=HOSTILE, reason=HOSTILE, lines=(HOSTILE,))
    texts = {"title": HOSTILE, "caption": HOSTILE, "target_caption": HOSTILE + " x", "name": HOSTILE}
    view = View(source=noise(), frames=[frame], others={HOSTILE: noise(seed=3)}, **texts)
    page = view.html
    outside = page.replace(viewer_script(), "")
    assert outside.count("<script") == 2
    assert outside.count("</script>") == 2
    assert "<img" not in outside
    assert f"<title>{html.escape(HOSTILE)}</title>" in page
    report = data_of(page)
    assert report["title"] == HOSTILE
    assert report["frames"][1]["lines"] == [HOSTILE]
    assert "".join(text for text, _ in report["captions"][0]) == HOSTILE
    assert re.fullmatch(r"[\w.-]+", report["name"])
    assert view.iframe.count("<") == 2, "the page is one attribute"


def test_the_page_loads_nothing_and_runs_only_its_script() -> None:
    page = view_of([1.0]).html
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none';")
    digest = base64.b64encode(hashlib.sha256(viewer_script().encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert f"<script>{viewer_script()}</script>" in page
    assert "unsafe" not in policy
    assert "://" not in page
    assert "</script" not in viewer_script()


def test_invalid_views_are_rejected(colors: ColorBackbone, tmp_path: Path) -> None:
    small = View(source=noise(), frames=[ViewerFrame(strength=1.0, image=noise((4, 4)))])
    for act in (
        lambda: results_view([edit(colors, noisy(seed), prompt="green") for seed in (1, 2)]),
        lambda: results_view([]),
        lambda: View(source=noise(), frames=[]),
        lambda: view_of([float("nan")]),
        lambda: small.html,
        lambda: view_of([1.0]).save(tmp_path / "no" / "x.html"),
    ):
        with pytest.raises(LatentEditError):
            act()
    view_of([1.0]).save(tmp_path / "x.html")
    assert (tmp_path / "x.html").read_text("utf-8") == view_of([1.0]).html


@pytest.fixture
def swept(colors: ColorBackbone, tmp_path: Path) -> list[EditResult]:
    noisy().save(tmp_path / "me.png")
    latent = encode(colors, tmp_path / "me.png")
    return Session(latent).sweep(identify(latent, prompt="green"), strengths=[1.0, -0.5, 0.5])[0]


def test_a_view_contains_texts_and_records_of_the_results(swept: list[EditResult]) -> None:
    report = data_of(latentedit.view(swept).html)
    assert (report["title"], report["name"]) == ("me.png: green", "me")
    assert report["captions"] == [[["red", True]], [["green", True]]]
    texts = {one.strength: (one.verdict.label, one.verdict.reason) for one in swept}
    assert {one["strength"]: (one["verdict"], one["reason"]) for one in report["frames"] if one["strength"]} == texts
    last = report["frames"][-1]
    record = json.loads(last["record"])
    assert (record["record"], record["results"][0]["strength"]) == (plain(swept[0].record), 1.0)
    assert [kind for kind, _ in last["chunks"]] == ["iTXt", "leDt"]
    assert data_of(view_of([1.0]).html)["frames"][1]["record"] == ""
    blend = json.loads('"0.3"'.join(report["between"]))
    assert (blend["blend"], blend["record"]["strengths"]) == ("0.3", ["0.3"])
    assert last["lines"][0] == "color red -> green"
    assert same_image(rebuilt(report, last), swept[0].image)


def test_large_images_have_no_payload(colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentedit.editing.result.MOST_UNDO_PIXELS", 100)
    result = edit(colors, noisy(size=(20, 6)), prompt="green")
    (frame,) = results_view(result).frames
    assert (frame.payload, frame.record) == (None, result.record)


def test_a_continued_edit_starts_at_the_first_edit(colors: ColorBackbone) -> None:
    latent = encode(colors, noisy())
    there = manipulate(latent, identify(latent, prompt="green"), strength=0.5)
    further = Session(there.latent).sweep(identify(there.latent, prompt="blue"), strengths=[0.0, 1.0])[0]
    report = data_of(results_view(further).html)
    assert not same_image(there.image, there.source)
    assert same_image(rebuilt(report, report["frames"][0]), there.image)
    assert same_image(rebuilt(report, report["frames"][1]), further[1].image)
