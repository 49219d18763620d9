"""The tasks of the tab *Edit* without a page: edit, undo, save, stop, and rejected requests."""

import dataclasses
import itertools
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import latentedit as le
from latentedit.core.errors import ConfigError, ImageError, LatentEditError, RegistryError
from latentedit.editing.outputs import read_record, same_image
from latentedit.editing.session import Session
from latentedit.encoding.images import SourceImage
from latentedit.page import edit_visit
from latentedit.page.edit_visit import MAX_ENTRIES, STRENGTHS, EditVisit, PageChange
from latentedit.page.fragments import facts
from latentedit.page.models import Models
from latentedit.page.visit import StoppedError
from tests.editing.discoveries import widen
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray, noisy
from tests.keep.test_images import png_header
from tests.page.edits import EIM, RED, SCENE, opened, visit_of
from tests.page.servers import png


@pytest.fixture
def visit(colors: ColorBackbone) -> EditVisit:
    return opened(colors)


def test_an_edit_equals_the_sweep_of_the_library(colors: ColorBackbone, visit: EditVisit) -> None:
    assert visit.current is not None
    assert (visit.current.caption, visit.current.notes) == ("gray", ()), "by the captioner"
    entry = visit.edit([dataclasses.replace(RED, strength=0.8)], **EIM)
    assert entry.edit is not None
    latent = le.encode(colors, gray(), source_prompt=SCENE)
    expected = le.Session(latent).sweep(
        le.identify(latent, change=RED.text), strengths=[0.8 * one for one in STRENGTHS]
    )[0]
    for made, wanted in zip(entry.edit.results, expected, strict=True):
        assert same_image(made.image, wanted.image)
    assert (entry.strength, entry.caption) == (0.8, "red room, a hat, a wall")
    assert entry.edit.evaluations > 0
    assert f"<li>{entry.edit.evaluations} evaluations" in facts(entry.edit)


def test_several_changes_have_their_own_strengths_and_cross_talk(colors: ColorBackbone, visit: EditVisit) -> None:
    red = visit.edit([RED], **EIM).edit
    visit.undo(model="colors")
    assert red is not None
    (direction,) = red.directions.values()
    visit.directions["mine.safetensors"] = direction
    both = visit.edit(
        [dataclasses.replace(RED, strength=0.5), PageChange(text="mine.safetensors", strength=0.25)], **EIM
    )
    assert both.edit is not None
    last = both.edit.results[-1]
    assert last.cross_talk is not None
    assert last.cross_talk.shape == (2, 2)
    assert [one.strength for one in last.record.directions] == [0.5, 0.25]
    latent = le.encode(colors, gray(), source_prompt=SCENE)
    wanted = le.manipulate(latent, [le.identify(latent, change=RED.text), direction], strength=[0.5, 0.25])
    assert same_image(last.image, wanted.image)


def test_other_methods_edit_towards_the_target_caption(colors: ColorBackbone, visit: EditVisit) -> None:
    more = {**EIM, "method": "sdedit"}
    entry = visit.edit([RED], **more)
    assert entry.edit is not None
    assert entry.edit.directions == {}
    wanted = le.edit(colors, gray(), change=RED.text, source_prompt=SCENE, method="sdedit", strength=0.5)
    assert same_image(entry.edit.results[2].image, wanted.image)
    with pytest.raises(ConfigError):
        visit.direction_files()
    visit.go_to(0)
    wishes = [dataclasses.replace(RED, strength=0.5), PageChange(text="a hat => a scarf", strength=0.5)]
    both = visit.edit(wishes, **more).edit
    assert both is not None
    assert [one.strength for one in both.results] == [0, 0.5], "a hat or a scarf: none in between"
    colors.defaults = {"captioner": "colors"}
    visit.go_to(0)
    untuned = visit.edit([RED], **{**EIM, "method": None}).edit
    assert untuned is not None
    assert {result.method for result in untuned.results} == {"flowedit"}, "the default of such a model"


def test_undo_returns_the_edited_image_even_if_its_strength_was_changed_later(visit: EditVisit) -> None:
    first = visit.edit([RED], **EIM)
    before = first.image.image
    second = visit.edit([PageChange(text="red => green")], **{**EIM, "caption": first.caption})
    visit.go_to(1)
    visit.settle(0.5)
    assert visit.current is visit.entries[3], "the entry with a later edit stays"
    assert visit.current.strength == 0.5
    assert not same_image(visit.current.image.image, before)
    visit.go_to(visit.entries.index(second))
    assert same_image(visit.undo(model="colors").image.image, before)
    visit.go_to(1)
    entry = visit.undo(model="colors")
    assert entry is visit.entries[0]
    assert same_image(entry.image.image, gray())
    assert entry.caption == SCENE, "the corrected caption stays"
    with pytest.raises(ConfigError):
        visit.undo(model="colors")


def test_the_history_is_limited(visit: EditVisit) -> None:
    first = visit.edit([RED], **EIM)
    visit.edit([PageChange(text="red => green")], **{**EIM, "caption": first.caption})
    assert [entry.title for entry in visit.entries] == ["original", "gray => red (1)", "red => green (1)"]
    assert visit.go_to(1) is first
    for index in (-1, 3):
        with pytest.raises(ConfigError):
            visit.go_to(index)
    for _ in range(MAX_ENTRIES - 1):
        visit.go_to(0)
        visit.edit([RED], **EIM)
    assert len(visit.entries) == MAX_ENTRIES
    assert visit.entries[0].before is None


def test_the_history_of_large_images_is_shorter(visit: EditVisit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five strengths of 64 pixels for each edit; undo goes back one image further."""
    monkeypatch.setattr(edit_visit, "MAX_HISTORY_PIXELS", 64 + 2 * 5 * 64)
    first = visit.edit([RED], **EIM)
    image, caption = first.image, first.caption
    for change in ("red => green", "green => blue"):
        caption = visit.edit([PageChange(text=change)], **{**EIM, "caption": caption}).caption
    assert [entry.title for entry in visit.entries] == ["original", "red => green (1)", "green => blue (1)"]
    visit.undo(model="colors")
    assert visit.undo(model="colors").image is image
    assert first.edit is None
    with pytest.raises(ConfigError):
        visit.undo(model="colors")
    monkeypatch.setattr(edit_visit, "MAX_HISTORY_PIXELS", 1)
    visit.edit([PageChange(text="red => green")], **{**EIM, "caption": first.caption})
    assert len(visit.entries) == 2, "the last edit stays"


def test_the_change_of_an_edit_is_put_onto_the_first_image(visit: EditVisit) -> None:
    with pytest.raises(ConfigError):
        visit.keep_edit(None)
    first = visit.edit([RED], **EIM)
    visit.edit([PageChange(text="red => green")], **{**EIM, "caption": first.caption})
    visit.strokes = "[[1, 2, 3]]"
    visit.keep_edit(0.5)
    assert {role: image.name for role, image in visit.pair.items()} == {
        "original": "a gray <one>.png", "edited": "a gray one.edited.png",
    }  # fmt: skip
    assert same_image(visit.pair["original"].image, gray())
    assert visit.current is not None
    assert same_image(visit.pair["edited"].image, visit.current.image.image)
    assert visit.current.strength == 0.5
    assert visit.kept is not None
    assert (visit.strokes, visit.shows_example) == ("", False)


@pytest.mark.slow
def test_a_photograph_of_a_phone_is_opened_at_its_own_size() -> None:
    visit = visit_of(Models(ColorBackbone()))
    assert visit.open(png(gray().resize((4032, 3024))), "IMG.png", model="colors").image.size == (4032, 3024)


def test_other_strengths_are_computed_exactly(colors: ColorBackbone, visit: EditVisit) -> None:
    """Also if the image was edited before at another strength with the same change."""
    more = {**EIM, "caption": visit.edit([RED], **EIM).caption}
    visit.edit([PageChange(text="red => blue")], **more)
    visit.go_to(1)
    result = visit.settle(0.6)
    latent = le.encode(colors, gray(), source_prompt=SCENE)
    wanted = le.manipulate(latent, le.identify(latent, change=RED.text), strength=0.6)
    assert result is not None
    assert visit.current is not None
    assert same_image(result.image, wanted.image)
    assert same_image(visit.current.image.image, wanted.image)
    onward = visit.edit([PageChange(text="red => green")], **more).edit
    assert onward is not None
    assert same_image(onward.results[0].image, wanted.image)
    with pytest.raises(ConfigError):
        visit.settle(float("nan"))


def test_saved_images_and_directions_can_be_opened_again(
    colors: ColorBackbone, visit: EditVisit, tmp_path: Path
) -> None:
    """An image with its record, which can be undone and replayed, and a direction."""
    edited = visit.edit([RED], **EIM).image.image
    saved, record = visit.image_file(0.5), visit.record_file(0.5)
    assert (saved.name, record.name) == ("a gray one.edited.png", "a gray one.edited.json")
    (tmp_path / saved.name).write_bytes(saved.content)
    report = read_record(tmp_path / saved.name)
    assert report.strengths == (0.5,)
    assert json.loads(record.content)["record"]["caption"] == SCENE
    (replayed,) = le.replay(report, colors, SourceImage.from_image(gray()))
    assert same_image(replayed.image, Image.open(tmp_path / saved.name))
    later = visit_of(Models(colors))
    later.open(saved.content, saved.name, model="colors")
    assert same_image(later.undo(model="colors").image.image, gray())
    assert len(later.entries) == 2
    (file,) = visit.direction_files()
    assert file.name == "gray-red.safetensors"
    (tmp_path / file.name).write_bytes(file.content)
    visit.go_to(0)
    names = [visit.add_direction(tmp_path / file.name, model="colors") for _ in range(2)]
    assert names == ["gray-red.safetensors", "gray-red-2.safetensors"]
    again = visit.edit([PageChange(text=names[0])], **EIM)
    assert same_image(again.image.image, edited)


@pytest.mark.nightly
def test_discovered_directions_are_applied(visit: EditVisit, monkeypatch: pytest.MonkeyPatch) -> None:
    widen(monkeypatch)
    found = visit.discover(model="colors", rank=1, level=0.5)
    assert len(found.directions) == len(visit.discovered) == 1
    entry = visit.edit([PageChange(text=visit.discovered[0])], **EIM)
    assert not same_image(entry.image.image, gray())


def test_a_task_stopped_in_its_last_step_leaves_the_history_unchanged(
    visit: EditVisit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(session: Session, *arguments: Any, **options: Any) -> Any:
        visit.stop()
        return real(session, *arguments, **{**options, "progress": None})

    real = Session.run
    monkeypatch.setattr(Session, "run", run)
    with pytest.raises(StoppedError):
        visit.edit([RED], **EIM)
    assert len(visit.entries) == 1


def test_a_closed_visit_computes_nothing(visit: EditVisit) -> None:
    visit.close()
    with pytest.raises(StoppedError):
        visit.edit([RED], **EIM)
    visit.models = Models(ColorBackbone(), {"other": lambda: pytest.fail("a model is loaded")})
    with pytest.raises(StoppedError):
        visit.open(png(gray()), "a.png", model="other")


def test_one_task_runs_at_a_time(colors: ColorBackbone) -> None:
    models, working = Models(colors), threading.Lock()
    steps: list[int] = []

    def work(index: int) -> None:
        visit = visit_of(models, working)
        visit.open(png(gray()), "a.png", model="colors")
        visit.edit([RED], **EIM, progress=lambda what, done, total: steps.append(index))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(steps) > 3
    assert len([index for index, _ in itertools.groupby(steps)]) == 3


def test_damaged_and_too_large_images_are_rejected(colors: ColorBackbone, tmp_path: Path) -> None:
    visit, large = visit_of(Models(colors)), png(Image.fromarray(np.zeros((3251, 4000, 3), np.uint8)))
    for content, message in ((b"", "empty"), (b"a text", "PNG"), (large, r"4000 x 3251")):
        with pytest.raises(ImageError, match=message):
            visit.open(content, "/etc/a.png", model="colors")
    assert visit.current is None
    for side in (5001, 9999):
        header = png_header(side, side)  # nothing behind it could be decoded
        (tmp_path / "large.png").write_bytes(header)
        with pytest.raises(ImageError):
            visit.drop("original", tmp_path / "large.png")
        with pytest.raises(ImageError):
            visit.open(header, "large.png", model="colors")
    assert (visit.current, visit.pair) == (None, {})
    entry = visit_of(Models(ColorBackbone())).open(png(noisy()), "a.png", model="colors")
    assert entry.caption == ""
    assert entry.notes == ("The model colors has no captioner. Describe the image.",)


@pytest.mark.parametrize(
    ("wishes", "more", "message"),
    [
        ([], {}, "edit"),
        ([dataclasses.replace(RED, strength=0.0)], {}, "strength 0"),
        ([RED, RED], {}, "gray"),
        ([RED], {"method": "../eim"}, "\\.\\./eim"),
        ([RED], {"model": "/etc"}, "/etc"),
    ],
)
def test_invalid_requests_are_rejected(
    visit: EditVisit, wishes: list[PageChange], more: dict[str, str], message: str
) -> None:
    with pytest.raises(LatentEditError, match=message):
        visit.edit(wishes, **{**EIM, **more})
    assert len(visit.entries) == 1


def test_other_models_are_loaded_once_by_name(colors: ColorBackbone) -> None:
    loads: list[str] = []

    def load() -> ColorBackbone:
        loads.append("second")
        return ColorBackbone()

    models = Models(colors, {"second": load, "colors": load})
    assert models.names == ["colors", "second"]
    steps = list[tuple[str, int, int]]()
    second = models.get("second", lambda *step: steps.append(step))
    assert models.get("second", lambda *step: steps.append(step)) is second
    assert steps == [("loading the model", 0, 1)]
    assert models.get("colors") is colors
    assert loads == ["second"]
    with pytest.raises(RegistryError, match="second"):
        models.get("secnd")
    assert models.examples() == []
