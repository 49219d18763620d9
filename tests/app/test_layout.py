"""The controls of the page and their events, without a server, and its pieces of HTML."""

import base64
import io
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latentedit.app import fragments
from latentedit.app.downloads import plain_name
from latentedit.app.layout import HEAD, Layout
from latentedit.app.models import Models
from latentedit.app.page import Page
from latentedit.app.visitor import MAX_CHANGES
from latentedit.latents.captions.change import MAX_LETTERS
from latentedit_keep.viewer.view import View, ViewerFrame
from tests.editors.colors import ColorBackbone
from tests.keep.pairs import scene

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return Page(Models(ColorBackbone(), {"other": ColorBackbone}), tmp_path_factory.mktemp("uploads"))


@pytest.fixture(scope="module")
def at(page: Any) -> Any:
    return page._at


def test_elements_that_styles_scripts_and_browser_tests_refer_to_exist(page: Any) -> None:
    known = {block["props"].get("elem_id") for block in page.blocks.get_config_file()["components"]} - {None}
    style = resources.files("latentedit.app").joinpath("page.css").read_text("utf-8")
    tests = (Path(__file__).parent / "test_page.py").read_text(encoding="utf-8")
    used = set(re.findall(r"#(le-[a-z-]+)", style + HEAD + tests))
    assert used <= known
    assert len(used) > 8
    assert all(name.startswith("le-") for name in known)


def test_texts_files_and_strengths_have_their_limits(at: Any) -> None:
    boxes = [at.caption, *at.texts]
    assert len(at.texts) == len(at.strengths) == MAX_CHANGES
    assert {box.max_length for box in boxes} == {at.caption.max_length}
    assert 500 < at.caption.max_length <= MAX_LETTERS
    assert all(box.placeholder for box in at.texts)
    for strength in at.strengths:
        assert (strength.minimum, strength.value, strength.maximum) == (-1, 1, 2), "opposite, full and twice the change"
        assert 1 / strength.step == pytest.approx(round(1 / strength.step)), "0 and 1 are steps"
    assert at.upload.file_types == at.pair["original"][0].file_types
    assert {".heic", ".heif"} < set(at.pair["original"][0].file_types)
    assert at.pair["original"][0].file_types == at.pair["edited"][0].file_types
    assert at.direction.file_types == [".safetensors"]
    assert 0 < at.level.minimum < at.level.value < at.level.maximum < 1
    assert at.rank.minimum == at.rank.step == 1
    assert [name for _, name in at.model.choices] == ["colors", "other"]
    assert {"", "eim", "sdedit"} <= {name for _, name in at.method.choices}


def test_clicks_on_images_are_sent_and_hidden_elements_stay_hidden(at: Any) -> None:
    for element in (at.message, at.examples, at.discovered, at.history):
        assert "dataset.index" in element.js_on_load
    assert at.files.visible == at.strength.visible == "hidden", "part of the page, which scripts read"
    assert not at.examples.visible
    assert Layout(["a"], "<button>").examples.visible
    assert at.edit.variant == at.discover.variant == "primary"


def test_visitors_and_files_are_forgotten_and_nothing_is_reported(page: Any, at: Any) -> None:
    assert not page.blocks.analytics_enabled
    assert 0 < at.visitor.time_to_live <= 3600
    assert max(page.blocks.delete_cache) <= 3600


def test_tasks_wait_in_one_queue_and_can_be_canceled_and_others_run_at_once(page: Any) -> None:
    events = page.blocks.get_config_file()["dependencies"]
    functions = page.blocks.fns
    queued = {event["id"] for event in events if event["queue"] and event["targets"][0][1] != "unload"}
    assert {(functions[one].concurrency_id, functions[one].concurrency_limit) for one in queued} == {("work", 1)}
    canceled = [set(event["cancels"]) for event in events if event["cancels"]]
    assert canceled == [queued - {max(queued)}] * 2, "all but reading a direction, by the button of either tab"
    assert {event["api_visibility"] for event in events} == {"private"}
    assert all(event["show_progress"] == "hidden" for event in events if not event["queue"] and not event["cancels"])


def sizes(html: str) -> list[tuple[int, int]]:
    """Of the images in a piece of HTML."""
    files = [io.BytesIO(base64.b64decode(text)) for text in re.findall(r"data:image/png;base64,([^\"]+)", html)]
    return [Image.open(file).size for file in files]


def test_previews_are_small_and_say_how_large_the_image_is() -> None:
    image = Image.fromarray(scene(200, width=1600))
    shown = fragments.figure(image, "a scene", ("a <note>",))
    assert sizes(shown) == [(640, 80)]
    assert "1600 x 200 px" in shown
    assert "a &lt;note&gt;" in shown
    small = Image.fromarray(scene(50))
    assert sizes(fragments.thumbnails([image, small], ["a", "b <"])) == [(96, 12), (50, 50)]
    chosen = re.findall(
        'data-index="(.)" aria-pressed="(.*?)"', fragments.thumbnails([small, small], ["", ""], chosen=1)
    )
    assert chosen == [("0", "false"), ("1", "true")]
    assert fragments.thumbnails([], []) == ""
    assert 'role="alert"' in fragments.message("wrong")
    assert 'role="status"' in fragments.message("done", kind="note")
    assert "<button" not in fragments.message("`wrong`")
    assert ">again</button>" in fragments.message("wrong", button="again")
    assert "`" not in fragments.message("`wrong`")
    viewer = fragments.frame(View(source=small, frames=[ViewerFrame(strength=1, image=small)]))
    assert "allow-same-origin" not in viewer
    assert 'sandbox="allow-scripts"' in viewer


def test_names_of_files_are_short() -> None:
    """Names of 60 letters fit into every file system, with an ending."""
    assert plain_name("long " * 40) == ("long-" * 12)
    assert plain_name("é ~") == "image"
