"""The controls of the page and their events, without a server, and its pieces of HTML."""

import base64
import io
import re
from importlib import resources
from pathlib import Path

import pytest
from PIL import Image

from latentedit.page import fragments
from latentedit.page.keep_tab import example
from latentedit.page.layout import HEAD
from latentedit.page.page import Page
from latentedit.page.serve import make_page
from latentedit.photo.images import read_pixels
from latentedit.pixels.analysis import SeparateChange
from latentedit.viewer.view import View, ViewerFrame
from tests.keep.pairs import scene


@pytest.fixture(scope="module")
def page() -> Page:
    return make_page()


def known(page: Page) -> set[str]:
    """The ids of all elements."""
    return {block["props"].get("elem_id") for block in page.blocks.get_config_file()["components"]} - {None}


@pytest.mark.slow
def test_elements_that_styles_scripts_and_browser_tests_refer_to_exist(page: Page) -> None:
    style = resources.files("latentedit.page").joinpath("page.css").read_text("utf-8")
    tests = (Path(__file__).parent / "test_page.py").read_text(encoding="utf-8")
    used = set(re.findall(r"#(le-[a-z-]+)", style + HEAD + tests))
    assert used - {"le-strength"} <= known(page), "the strength is of the tab Edit"
    assert len(used) > 8
    assert all(name.startswith("le-") for name in known(page))


def test_the_example_is_a_photograph_with_two_changes() -> None:
    assert example().found == "local change"
    assert [one.faint for one in example().changes] == [False, False]


def test_old_uploads_are_removed_and_nothing_is_reported(page: Page) -> None:
    assert not page.blocks.analytics_enabled
    assert max(page.blocks.delete_cache) <= 3600


def test_tasks_wait_in_one_queue_and_can_be_canceled_and_others_run_at_once(page: Page) -> None:
    events = page.blocks.get_config_file()["dependencies"]
    functions = page.blocks.fns
    queued = {event["id"] for event in events if event["queue"] and event["targets"][0][1] != "unload"}
    assert {(functions[one].concurrency_id, functions[one].concurrency_limit) for one in queued} == {("work", 1)}
    canceled = [set(event["cancels"]) for event in events if event["cancels"]]
    assert canceled == [queued]
    assert {event["api_visibility"] for event in events} == {"private"}
    assert all(event["show_progress"] == "hidden" for event in events if not event["queue"] and not event["cancels"])


def sizes(html: str) -> list[tuple[int, int]]:
    """Sizes of the images in a piece of HTML."""
    files = [io.BytesIO(base64.b64decode(text)) for text in re.findall(r"data:image/png;base64,([^\"]+)", html)]
    return [Image.open(file).size for file in files]


def test_previews_are_small_and_say_how_large_the_image_is() -> None:
    image = Image.fromarray(scene(200, width=1600))
    assert "a &lt;note&gt;" in fragments.bullets(("a <note>",))
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


def test_drop_zones_have_a_name_of_their_own_for_screen_readers() -> None:
    """The text of a label is the name of the control in it."""
    empty, full = fragments.zone("Original", "Drop it"), fragments.zone("Original", "", read_pixels(scene()))
    for html in (empty, full):
        label = re.sub("<input[^>]*>|<img[^>]*>", "", html.split("<label")[1].split("</label>")[0])
        assert re.sub("<[^>]*>", "", label.split(">", 1)[1]).startswith("Original")
    assert "<img" in full
    assert "<img" not in empty


@pytest.mark.parametrize(("top", "bottom", "room"), [(20, 100, "above"), (10, 80, "below"), (0, 100, "within")])
def test_the_number_of_a_change_stands_where_there_is_room(top: int, bottom: int, room: str) -> None:
    mark = fragments._mark(SeparateChange(number=3, share=0.1, box=(50, top, 150, bottom)), (200, 100), on=True)
    assert f"le-mark le-{room}" in mark
    shares = {name: float(share) for name, share in re.findall(r"(\w+): ([\d.]+)%", mark)}
    assert shares == {"left": 25, "top": top, "width": 50, "height": bottom - top}
