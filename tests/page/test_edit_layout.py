"""The controls of the tab *Edit* and their events, without a server, and its pieces of HTML."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from latentedit.encoding.captions.change import MAX_LETTERS
from latentedit.page import fragments
from latentedit.page.downloads import plain_name
from latentedit.page.edit_tab import EditTab
from latentedit.page.edit_visit import MAX_CHANGES
from latentedit.page.models import Models
from latentedit.page.page import Page
from latentedit.page.serve import make_page
from tests.editors.colors import ColorBackbone
from tests.keep.pairs import scene


@pytest.fixture(scope="module")
def page() -> Page:
    models = Models(ColorBackbone(), {"other": ColorBackbone})
    return make_page(models)


@pytest.fixture
def at(page: Page) -> EditTab:
    _, tab = page.tabs
    assert isinstance(tab, EditTab)
    return tab


def test_elements_that_browser_tests_refer_to_exist(page: Page) -> None:
    known = {block["props"].get("elem_id") for block in page.blocks.get_config_file()["components"]} - {None}
    tests = (Path(__file__).parent / "test_edit_page.py").read_text(encoding="utf-8")
    assert set(re.findall(r"#(le-[a-z-]+)", tests)) <= known


def test_texts_files_and_strengths_have_their_limits(at: EditTab) -> None:
    boxes = [at.caption, *at.texts]
    assert len(at.texts) == len(at.strengths) == MAX_CHANGES
    assert {box.max_length for box in boxes} == {at.caption.max_length}
    assert 500 < at.caption.max_length <= MAX_LETTERS
    assert all(box.placeholder for box in at.texts)
    for strength in at.strengths:
        assert (strength.minimum, strength.value, strength.maximum) == (-1, 1, 2), "opposite, full and twice the change"
        assert 1 / strength.step == pytest.approx(round(1 / strength.step)), "0 and 1 are steps"
    assert 'accept=".safetensors"' in at.direction.value
    assert 0 < at.level.minimum < at.level.value < at.level.maximum < 1
    assert at.rank.minimum == at.rank.step == 1
    assert [name for _, name in at.model.choices] == ["colors", "other"]
    assert {"", "eim", "sdedit"} <= {name for _, name in at.method.choices}


def test_clicks_on_images_are_sent_and_hidden_elements_stay_hidden(at: EditTab) -> None:
    for element in (at.examples, at.discovered, at.history):
        assert "dataset.index" in element.js_on_load
    assert at.strength.visible == "hidden", "part of the page, which scripts read"
    assert not at.examples.visible
    assert at.edit.variant == at.discover.variant == "primary"


def test_tasks_wait_in_one_queue_and_can_be_canceled_and_others_run_at_once(page: Page) -> None:
    events = page.blocks.get_config_file()["dependencies"]
    functions = page.blocks.fns
    queued = {event["id"] for event in events if event["queue"] and event["targets"][0][1] != "unload"}
    assert {(functions[one].concurrency_id, functions[one].concurrency_limit) for one in queued} == {("work", 1)}
    canceled = [set(event["cancels"]) for event in events if event["cancels"]]
    assert canceled == [queued - {max(queued)}] * 2, "all but reading a direction, by the button of either tab"
    assert {event["api_visibility"] for event in events} == {"private"}
    assert all(event["show_progress"] == "hidden" for event in events if not event["queue"] and not event["cancels"])


def test_previews_are_small_and_say_how_large_the_image_is() -> None:
    shown = fragments.figure(Image.fromarray(scene(200, width=1600)), "a scene", ("a <note>",))
    (file,) = re.findall(r"data:image/png;base64,([^\"]+)", shown)
    assert Image.open(io.BytesIO(base64.b64decode(file))).size == (640, 80)
    assert "1600 x 200 px" in shown
    assert "a &lt;note&gt;" in shown


def test_phrases_of_a_caption_are_offered() -> None:
    shown = fragments.phrases(['a man with a <b> "hat"', " ", "a smile"])
    assert re.findall('data-phrase="(.*?)"', shown) == [
        "a man with a &lt;b&gt; &quot;hat&quot;",
        "a smile",
    ]
    assert fragments.phrases([]) == ""


def test_names_of_files_are_short() -> None:
    """Names of 60 letters fit into every file system, with an ending."""
    assert plain_name("long " * 40) == ("long-" * 12)
    assert plain_name("é ~") == "image"
