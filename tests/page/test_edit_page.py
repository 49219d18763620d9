"""The tab *Edit* in a browser, with a running server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FrameLocator, expect

from latentedit.editing.outputs import read_record
from tests.browser import Browser
from tests.editors.edits import gray
from tests.keep.pairs import some
from tests.page import test_page as keep
from tests.page.edits import SCENE, PausedBackbone, served
from tests.page.servers import png

HOSTILE = 'gray <img src=x onerror="window.top.hacked=1"><script>window.hacked=1</script>'


class Visitor(keep.Visitor):
    """A visitor of the tab."""

    def come(self, address: str) -> None:
        super().come(address)
        self.page.get_by_role("tab", name="Edit", exact=True).click()
        self.page.wait_for_selector("#le-edit")

    def bring(self, content: bytes, name: str = "me.png") -> None:
        file: Any = {"name": name, "mimeType": "image/png", "buffer": content}
        self.page.locator("#le-upload input[type=file]").set_input_files(file)
        self.page.wait_for_selector("#le-preview img")

    def describe(self, caption: str) -> None:
        box = self.page.locator("#le-caption textarea")
        if not box.is_visible():
            self.page.get_by_role("button", name="Source caption").click()
        box.fill(caption)

    def wish(self, change: str) -> None:
        self.page.get_by_label("What to change").fill(change)

    def edit(self, change: str) -> None:
        entries = self.history.count()
        self.wish(change)
        self.press("edit")
        expect(self.history).to_have_count(entries + 1)

    @property
    def history(self):
        return self.page.locator("#le-history button")

    @property
    def viewer(self) -> FrameLocator:
        return self.page.frame_locator("#le-result iframe")

    def states(self, text: str) -> None:
        expect(self.page.locator("#le-message")).to_contain_text(text)


@pytest.fixture(scope="module")
def model() -> PausedBackbone:
    return PausedBackbone()


@pytest.fixture(scope="module")
def server(model: PausedBackbone) -> Iterator[tuple[str, Path]]:
    with served(model) as found:
        yield found


@pytest.fixture
def guest(browser: Browser, server: tuple[str, Path]) -> Iterator[Visitor]:
    with Visitor.of(browser, server[0]) as visitor:
        yield visitor


@pytest.mark.nightly
def test_an_image_is_edited_and_saved(guest: Visitor, server: tuple[str, Path], tmp_path: Path) -> None:
    page = guest.page
    guest.bring(png(gray()))
    guest.describe(SCENE)
    guest.edit("gray => red")
    strength = page.locator("#le-strength input")
    expect(strength).to_have_value("1")
    guest.viewer.get_by_label("Strength", exact=True).press("PageDown")
    expect(guest.viewer.locator(".status")).to_contain_text("0.75")
    expect(strength).to_have_value("0.75")
    expect(page.locator("#le-facts")).to_contain_text("evaluations")

    expect(guest.viewer.locator(".keep, .note")).to_have_count(0)  # the page's own buttons save the exact image
    saved = guest.downloads("save-image", tmp_path)
    assert (saved.name, read_record(saved).strengths) == ("me.edited.png", (0.75,))
    direction = guest.downloads("save-direction", tmp_path)
    guest.history.nth(0).click()
    expect(page.locator("#le-result iframe")).to_have_count(0)
    guest.wish("")
    page.get_by_role("button", name="More changes").click()
    with page.expect_file_chooser() as chooser:
        guest.press("direction label")
    chooser.value.set_files(direction)
    expect(page.get_by_label("What to change")).to_have_value("gray-red.safetensors")
    assert [url for url in guest.requests if not url.startswith((server[0], "data:", "blob:"))] == []
    assert guest.complaints == []


@pytest.mark.nightly
def test_text_is_never_interpreted_as_html(guest: Visitor) -> None:
    guest.bring(png(gray()), name="<img src=x onerror=hacked=1>.png")
    guest.describe(HOSTILE)
    guest.edit("gray => red <b onclick=alert(1)>")
    expect(guest.viewer.locator(".captions")).to_contain_text("onerror")
    assert guest.history.nth(1).inner_text().startswith("gray => red <b onclick")
    guest.wish("<svg onload=window.hacked=1> => red")
    guest.press("edit")
    guest.states("<svg onload=window.hacked=1>")
    assert guest.page.evaluate("window.hacked") is None
    assert guest.viewer.locator("body").evaluate("() => window.hacked") is None
    assert guest.page.locator("#le-message svg, #le-history b, #le-preview img[src=x]").count() == 0


@pytest.mark.slow
def test_buttons_are_disabled_until_they_can_act(guest: Visitor) -> None:
    def able() -> set[str]:
        names = ("edit", "undo", "keep-edit", "save-image", "save-direction", "save-record")
        return {name for name in names if guest.page.locator(f"#le-{name}").is_enabled()}

    assert able() == set()
    guest.bring(png(gray()))
    expect(guest.page.locator("#le-edit")).to_be_enabled()
    assert able() == {"edit"}
    expect(guest.page.locator("#le-cancel")).to_be_hidden()
    guest.describe(SCENE)
    guest.edit("gray => red")
    assert able() == {"edit", "undo", "keep-edit", "save-image", "save-direction", "save-record"}
    guest.press("undo")
    expect(guest.page.locator("#le-undo")).to_be_disabled()
    assert able() == {"edit", "save-image"}


@pytest.mark.slow
def test_an_edit_goes_on_to_the_first_tab(guest: Visitor) -> None:
    expect(guest.viewer.locator("h2")).to_contain_text("Example")
    guest.bring(png(gray((64, 48))), name="IMG_1.png")
    guest.describe(SCENE)
    guest.edit("gray => red")
    guest.press("keep-edit")
    expect(guest.page.get_by_role("tab", name="Keep only the change")).to_have_attribute("aria-selected", "true")
    expect(guest.page.locator("#le-edited")).to_contain_text("IMG_1.edited.png")
    expect(guest.kept.locator("h2")).to_have_text("IMG_1.png")
    assert guest.complaints == []


@pytest.mark.slow
def test_the_bar_does_not_cover_its_steps_and_the_page_keeps_its_width(guest: Visitor, model: PausedBackbone) -> None:
    page = guest.page
    page.set_viewport_size({"width": 1366, "height": 900})
    width = page.locator(".gradio-container").evaluate("one => one.offsetWidth")
    guest.bring(png(gray()))
    guest.describe(SCENE)
    guest.wish("gray => red")
    model.pause(after=6)
    try:
        guest.press("edit")
        text, progress = (page.locator(f"#le-working .progress-{part}") for part in ("level-inner", "bar-wrap"))
        expect(text).to_contain_text("evaluations")
        above, below = (some(one.bounding_box()) for one in (text, progress))
        assert above["y"] + above["height"] <= below["y"]
    finally:
        model.goes_on.set()
    expect(guest.history).to_have_count(2)
    assert page.locator(".gradio-container").evaluate("one => one.offsetWidth") == width


def test_the_button_is_in_sight_on_a_small_screen(guest: Visitor) -> None:
    page = guest.page
    page.set_viewport_size({"width": 1366, "height": 900})
    guest.bring(png(gray()))
    box = page.locator("#le-edit").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.slow
def test_a_phrase_of_the_caption_begins_a_change_and_enter_edits(guest: Visitor) -> None:
    page = guest.page
    guest.bring(png(gray()))
    page.locator("#le-phrases").get_by_role("button", name="gray", exact=True).click()
    box = page.get_by_label("What to change")
    expect(box).to_have_value("gray => ")
    expect(box).to_be_focused()
    page.keyboard.type("red")
    page.keyboard.press("Enter")
    expect(guest.history).to_have_count(2)
    assert guest.complaints == []
