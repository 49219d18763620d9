"""The first tab in a browser, with a running server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import FrameLocator, Page, expect

from tests.browser import Browser
from tests.keep.pairs import cast, scene, with_object
from tests.page.servers import png, served

PATIENCE_MS = 90_000


class Visitor:
    """The browser context of one visitor."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.on("filechooser", lambda _: None)  # playwright begins to listen too late for a key that follows at once
        page.on("request", lambda one: self.requests.append(one.url))
        page.on("console", lambda one: self.complaints.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda one: self.complaints.append(one.message))

    @classmethod
    @contextlib.contextmanager
    def of(cls, browser: Browser, address: str) -> Iterator[Self]:
        """A visitor with cookies and storage of his own, who has come to an address."""
        started = browser.page.context.browser
        assert started is not None
        with started.new_context() as context:
            visitor = cls(context.new_page())
            visitor.come(address)
            yield visitor

    def come(self, address: str) -> None:
        with self.page.expect_response("**/run/predict"):  # the server knows the visitor
            self.page.goto(address)

    def drop(self, role: str, pixels: NDArray[np.uint8], name: str = "") -> None:
        file: Any = {"name": name or f"{role}.png", "mimeType": "image/png", "buffer": png(Image.fromarray(pixels))}
        self.page.locator(f"#le-{role} input[type=file]").set_input_files(file)
        self.page.wait_for_selector(f"#le-{role} img")

    def press(self, name: str) -> None:
        button = self.page.locator(f"#le-{name}")
        button.scroll_into_view_if_needed()
        self.page.wait_for_timeout(100)  # Chromium 156 gives a click right after scrolling to the frame that was there
        button.click()

    @property
    def kept(self) -> FrameLocator:
        return self.page.frame_locator("#le-kept iframe")

    def downloads(self, name: str, folder: Path, ending: str = "") -> Path:
        with self.page.expect_download(lambda one: one.suggested_filename.endswith(ending)) as waiting:
            self.press(name)
        place = folder / waiting.value.suggested_filename
        waiting.value.save_as(place)
        return place


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Path]]:
    with served() as found:
        yield found


@pytest.fixture
def guest(browser: Browser, server: tuple[str, Path]) -> Iterator[Visitor]:
    with Visitor.of(browser, server[0]) as visitor:
        yield visitor


def test_an_image_of_any_editor_is_checked_and_kept(guest: Visitor, server: tuple[str, Path], tmp_path: Path) -> None:
    page = guest.page
    expect(guest.kept.locator(".tag.right")).to_have_text("kept")
    expect(guest.kept.locator("h2")).to_have_text("Example: photograph.jpg")
    expect(guest.kept.locator(".mark")).to_have_text(["1", "2"])
    for button in ("save-kept", "layers button", "mask", "unmask", "cancel-keep"):
        expect(page.locator(f"#le-{button}")).to_be_hidden()
    for role, pixels in (("original", scene()), ("edited", with_object(cast(scene())))):
        guest.drop(role, pixels, name=f"<b>{role}_1.png")
    expect(guest.kept.locator("h2")).to_contain_text("original_1.png")
    expect(guest.kept.locator(".tag.right")).to_have_text("kept")
    expect(guest.kept.locator(".status")).to_contain_text("local change")
    assert 55 <= int(guest.kept.locator(".wipe").input_value()) <= 58, "the middle of the object, at 90 of 160 px"
    expect(page.locator("#le-cancel-keep")).to_be_hidden()
    file = guest.downloads("save-kept", tmp_path)
    assert file.name.endswith("original_1.kept.png")
    saved = [np.asarray(Image.open(file), dtype=int)]
    guest.kept.get_by_label("Strength as a number").fill("0.5")
    expect(page.locator("#le-kept-strength input")).to_have_value("0.5")
    saved.append(np.asarray(Image.open(guest.downloads("save-kept", tmp_path)), dtype=int))
    full, half = (np.abs(one - scene()) for one in saved)
    assert 0.02 < full.any(axis=2).mean() < 0.2
    assert half.max() == pytest.approx(full.max() / 2, abs=1)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save layers as .png").click()
    assert waiting.value.suggested_filename.endswith("original_1.change.png")
    assert guest.complaints == []
    assert [url for url in guest.requests if not url.startswith((server[0], "data:", "blob:"))] == []


@pytest.mark.slow
def test_what_is_painted_is_the_original_again(guest: Visitor, tmp_path: Path) -> None:
    original = scene(300, width=400)
    edited, page = with_object(with_object(original, (100, 150), 40), (320, 120), 30), guest.page
    for role, pixels in (("original", original), ("edited", edited)):
        guest.drop(role, pixels)
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


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1366, 900), (390, 844)])
def test_the_result_is_in_sight_with_one_action(guest: Visitor, width: int, height: int) -> None:
    page = guest.page
    page.set_viewport_size({"width": width, "height": height})
    for role, pixels in (("original", scene()), ("edited", with_object(scene()))):
        guest.drop(role, pixels)
    expect(guest.kept.locator(".tag.right")).to_have_text("kept")
    stage, action = guest.kept.locator(".stage").bounding_box(), page.locator("#le-save-kept").bounding_box()
    assert stage is not None
    assert action is not None
    assert stage["y"] < height / 2
    assert stage["y"] + stage["height"] <= action["y"]
    assert action["y"] + action["height"] <= height
    assert page.evaluate("document.documentElement.scrollWidth") == width


def tab_to(page: Page, focused: str) -> None:
    """Press Tab until a condition on the focused element is true."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(f"((one) => {focused})(document.activeElement)"):
            return
    pytest.fail(f"the keyboard does not reach {focused}")


@pytest.mark.slow
def test_a_pair_is_kept_and_saved_by_keyboard(guest: Visitor, tmp_path: Path) -> None:
    page = guest.page
    expect(guest.kept.locator(".tag.right")).to_have_text("kept")
    for name, pixels in (("Original", scene()), ("Edited image", with_object(scene()))):
        (tmp_path / f"{name}.png").write_bytes(png(Image.fromarray(pixels)))
        tab_to(page, f'one.labels?.[0]?.textContent.startsWith("{name}")')
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Space")
        chooser.value.set_files(tmp_path / f"{name}.png")
        page.wait_for_selector(f"#le-{name.split()[0].lower()} img")
    expect(page.locator("#le-save-kept")).to_be_visible()
    tab_to(page, 'one.id === "le-save-kept"')
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert waiting.value.suggested_filename == "Original.kept.png"
    assert guest.complaints == []


@pytest.mark.slow
def test_a_file_is_dropped_on_its_zone(guest: Visitor) -> None:
    page, content = guest.page, list(png(Image.fromarray(scene())))
    page.evaluate(
        """(content) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(content)], "dropped.png", {type: "image/png"}));
          const event = new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
          document.querySelector("#le-original .le-zone").dispatchEvent(event);
        }""",
        content,
    )
    expect(page.locator("#le-original")).to_contain_text("dropped.png, 160 x 160 px")
