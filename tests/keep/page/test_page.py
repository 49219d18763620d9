"""The page in a browser, with a running server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import FrameLocator, Page, expect

from latentedit.editing.outputs import read_record
from tests.app.servers import SCENE, PausedBackbone, png, served
from tests.browser import Browser
from tests.editors.edits import gray
from tests.keep.pairs import cast, scene, some, with_object

pytestmark = pytest.mark.slow

PATIENCE_MS = 90_000
HOSTILE = 'gray <img src=x onerror="window.top.hacked=1"><script>window.hacked=1</script>'


class Visitor:
    """The browser context of one visitor."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.on("request", lambda one: self.requests.append(one.url))
        page.on("console", lambda one: self.complaints.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda one: self.complaints.append(one.message))

    def come(self, address: str) -> None:
        with self.page.expect_response("**/run/predict"):  # the server knows the visitor
            self.page.goto(address)
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

    def press(self, name: str) -> None:
        button = self.page.locator(f"#le-{name}")
        button.scroll_into_view_if_needed()
        self.page.wait_for_timeout(100)  # Chromium 156 gives a click right after scrolling to the frame that was there
        button.click()

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

    @property
    def kept(self) -> FrameLocator:
        return self.page.frame_locator("#le-kept iframe")

    def states(self, text: str) -> None:
        expect(self.page.locator("#le-message")).to_contain_text(text)

    def downloads(self, name: str, folder: Path, ending: str = "") -> Path:
        with self.page.expect_download(lambda one: one.suggested_filename.endswith(ending)) as waiting:
            self.press(name)
        place = folder / waiting.value.suggested_filename
        waiting.value.save_as(place)
        return place


@pytest.fixture(scope="module")
def model() -> PausedBackbone:
    return PausedBackbone()


@pytest.fixture(scope="module")
def server(model: PausedBackbone) -> Iterator[tuple[str, Path]]:
    with served(model) as found:
        yield found


@pytest.fixture
def guest(browser: Browser, server: tuple[str, Path]) -> Iterator[Visitor]:
    started = browser.page.context.browser
    assert started is not None
    with started.new_context() as context:
        visitor = Visitor(context.new_page())
        visitor.come(server[0])
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
        guest.press("direction")
    chooser.value.set_files(direction)
    expect(page.get_by_label("What to change")).to_have_value("gray-red.safetensors")
    assert [url for url in guest.requests if not url.startswith((server[0], "data:", "blob:"))] == []
    assert guest.complaints == []
    assert [path for path in server[1].rglob("*") if path.is_file() and path.stat().st_size] == []


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


def test_an_image_of_any_editor_is_checked_and_kept(guest: Visitor, tmp_path: Path) -> None:
    page = guest.page
    page.get_by_role("tab", name="Keep only the change").click()
    expect(guest.kept.locator(".tag.right")).to_have_text("kept")
    expect(guest.kept.locator("h2")).to_have_text("Example: scene.jpg")
    expect(guest.kept.locator(".mark")).to_have_text(["1", "2"])
    for button in ("save-kept", "save-layers"):
        expect(page.locator(f"#le-{button}")).to_be_disabled()
    for role, pixels in (("original", scene()), ("edited", with_object(cast(scene())))):
        file: Any = {"name": f"<b>{role}_1.png", "mimeType": "image/png", "buffer": png(Image.fromarray(pixels))}
        assert zone_text(page, role) == '"none"'
        page.locator(f"#le-{role} input[type=file]").set_input_files(file)
        page.wait_for_selector(f"#le-{role}-preview img")
        assert "another" in zone_text(page, role)
    expect(guest.kept.locator("h2")).to_contain_text("original_1.png")
    expect(guest.kept.locator(".tag.right")).to_have_text("kept")
    expect(guest.kept.locator(".status")).to_contain_text("local change")
    assert 55 <= int(guest.kept.locator(".wipe").input_value()) <= 58, "the middle of the object, at 90 of 160 px"
    expect(page.locator("#le-cancel-keep")).to_be_disabled()
    expect(page.locator("#le-save-layers")).to_be_enabled()
    file = guest.downloads("save-kept", tmp_path)
    assert file.name.endswith("original_1.kept.png")
    saved = [np.asarray(Image.open(file), dtype=int)]
    guest.kept.get_by_label("Strength as a number").fill("0.5")
    expect(page.locator("#le-kept-strength input")).to_have_value("0.5")
    saved.append(np.asarray(Image.open(guest.downloads("save-kept", tmp_path)), dtype=int))
    full, half = (np.abs(one - scene()) for one in saved)
    assert 0.02 < full.any(axis=2).mean() < 0.2
    assert half.max() == pytest.approx(full.max() / 2, abs=1)
    assert guest.complaints == []


def zone_text(page: Page, role: str) -> str:
    """What the style sheet writes into a drop zone."""
    script = f"""getComputedStyle(document.querySelector("#le-{role} [data-testid=upload-text]"), "::after").content"""
    return json.dumps(page.evaluate(script))


def test_what_is_painted_is_the_original_again(guest: Visitor, tmp_path: Path) -> None:
    original = scene(300, width=400)
    edited, page = with_object(with_object(original, (100, 150), 40), (320, 120), 30), guest.page
    page.get_by_role("tab", name="Keep only the change").click()
    for role, pixels in (("original", original), ("edited", edited)):
        file: Any = {"name": f"{role}.png", "mimeType": "image/png", "buffer": png(Image.fromarray(pixels))}
        page.locator(f"#le-{role} input[type=file]").set_input_files(file)
        page.wait_for_selector(f"#le-{role}-preview img")
    expect(guest.kept.locator(".status")).to_contain_text("local change")
    page.get_by_role("tab", name="Choose and restore").click()
    canvas, undo = page.locator("#le-brush canvas"), page.get_by_role("button", name="Undo stroke")
    viewer = page.locator("#le-kept iframe")

    def point(x: float, y: float) -> tuple[float, float]:
        box = canvas.bounding_box()
        assert box is not None
        return box["x"] + x / 400 * box["width"], box["y"] + y / 300 * box["height"]

    def result() -> NDArray[np.uint8]:
        return np.asarray(Image.open(guest.downloads("save-kept", tmp_path, ".kept.png")))

    def shows(image: NDArray[np.uint8], x: int, y: int) -> None:
        """Wait until the canvas shows an image at a point, up to its compression."""
        script = """([x, y, ...color]) => {
            const pen = document.querySelector("#le-brush canvas").getContext("2d");
            return color.every((level, i) => Math.abs(level - pen.getImageData(x, y, 1, 1).data[i]) < 20) }"""
        page.wait_for_function(script, arg=[x, y, *image[y, x].tolist()])

    for width in (1366, 390):
        page.set_viewport_size({"width": width, "height": 900})
        canvas.scroll_into_view_if_needed()
        before = viewer.get_attribute("srcdoc") or ""
        page.mouse.move(*point(100, 100))
        page.mouse.down()
        page.mouse.move(*point(100, 200), steps=5)
        page.mouse.up()
        expect(viewer).not_to_have_attribute("srcdoc", before)
        rows, columns = np.nonzero((result() == original).all(axis=2) & (edited != original).any(axis=2))
        assert (columns.min(), columns.max()) == (pytest.approx(88, abs=2), pytest.approx(112, abs=2)), "6 % of 400 px"
        assert (rows.min(), rows.max()) == (pytest.approx(110, abs=2), pytest.approx(190, abs=2)), "the whole height"
        page.get_by_label("2: ", exact=False).uncheck()
        expect(page.locator("#le-brush .le-off b")).to_have_text("2")
        shows(original, 320, 120)
        page.get_by_label("2: ", exact=False).check()
        expect(page.locator("#le-brush .le-off")).to_have_count(0)
        undo.click()
        assert np.array_equal(result(), edited)
        shows(edited, 100, 150)
        page.mouse.click(*point(100, 150))
        shows(original, 100, 150)
        undo.click()
    page.mouse.move(0, 0)  # away from the canvas: leaving it, also by a shift of the page, hides the brush
    canvas.focus()
    for key in (" ", "ArrowLeft", " "):  # the first one shows the brush, in the middle
        canvas.press(key)
    strokes = page.locator("#le-strokes :is(input, textarea)")
    expect(strokes).to_have_value("[[12,188,150]]")
    page.get_by_role("button", name="Clear strokes").click()
    expect(strokes).to_have_value("")
    assert guest.complaints == []


def test_buttons_are_disabled_until_they_can_act(guest: Visitor) -> None:
    def able() -> set[str]:
        names = ("edit", "cancel", "undo", "keep-edit", "save-image", "save-direction", "save-record")
        return {name for name in names if guest.page.locator(f"#le-{name}").is_enabled()}

    assert able() == set()
    guest.bring(png(gray()))
    expect(guest.page.locator("#le-edit")).to_be_enabled()
    assert able() == {"edit"}
    guest.describe(SCENE)
    guest.edit("gray => red")
    assert able() == {"edit", "undo", "keep-edit", "save-image", "save-direction", "save-record"}
    guest.press("undo")
    expect(guest.page.locator("#le-undo")).to_be_disabled()
    assert able() == {"edit", "save-image"}


def test_an_edit_goes_on_to_the_first_tab(guest: Visitor) -> None:
    expect(guest.viewer.locator("h2")).to_contain_text("Example")
    guest.bring(png(gray((64, 48))), name="IMG_1.png")
    guest.describe(SCENE)
    guest.edit("gray => red")
    guest.press("keep-edit")
    expect(guest.page.get_by_role("tab", name="Keep only the change")).to_have_attribute("aria-selected", "true")
    expect(guest.page.locator("#le-edited-preview")).to_contain_text("IMG_1.edited.png")
    expect(guest.kept.locator("h2")).to_have_text("IMG_1.png")
    assert guest.complaints == []


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
        text, progress = (page.locator(f"#le-working .progress-{part}") for part in ("text", "bar-wrap"))
        expect(text).to_contain_text("steps")
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
