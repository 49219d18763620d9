"""The page in a browser, used as visitors do, against a server that really runs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import FrameLocator, Page, expect

from latentedit.directions.direction import load_direction
from latentedit.editing.outputs import read_record, same_picture
from tests.app.servers import SCENE, PausedBackbone, png, served
from tests.browser import Browser
from tests.editors.edits import grey, noisy

pytestmark = pytest.mark.slow

PATIENCE_MS = 30_000
HOSTILE = 'grey <img src=x onerror="window.top.hacked=1"><script>window.hacked=1</script>'

NewPage = Callable[[], "Visitor"]


class Visitor:
    """One visitor's browser: nothing of it is shared with another one's."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda one: self.requests.append(one.url))
        page.on("console", lambda one: self.complaints.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda one: self.complaints.append(one.message))

    def come(self, address: str) -> None:
        with self.page.expect_response("**/run/predict"):  # the server knows the visitor
            self.page.goto(address)
        self.page.wait_for_selector("#le-edit")

    def drop(self, name: str, content: bytes) -> None:
        self.page.locator("#le-upload input[type=file]").set_input_files(
            {"name": name, "mimeType": "image/png", "buffer": content}
        )

    def bring(self, content: bytes, name: str = "me.png") -> None:
        self.drop(name, content)
        self.page.wait_for_selector("#le-preview img")

    def describe(self, caption: str) -> None:
        self.page.locator("#le-caption textarea").fill(caption)

    @property
    def caption(self) -> str:
        return self.page.locator("#le-caption textarea").input_value()

    def wish(self, change: str) -> None:
        self.page.get_by_label("What to change").fill(change)

    def press(self, name: str) -> None:
        self.page.locator(f"#le-{name}").click()

    def edit(self, change: str) -> None:
        entries = self.history.count()
        self.wish(change)
        self.press("edit")
        expect(self.history).to_have_count(entries + 1, timeout=PATIENCE_MS)

    @property
    def history(self):
        return self.page.locator("#le-history button")

    @property
    def viewer(self) -> FrameLocator:
        return self.page.frame_locator("iframe.le-viewer")

    def says(self, text: str) -> None:
        expect(self.page.locator("#le-message")).to_contain_text(text, timeout=PATIENCE_MS)

    def downloads(self, name: str, folder: Path) -> Path:
        with self.page.expect_download() as waiting:
            self.press(name)
        place = folder / waiting.value.suggested_filename
        waiting.value.save_as(place)
        return place


@pytest.fixture
def visitor(browser: Browser) -> Iterator[NewPage]:
    contexts, started = [], browser.page.context.browser
    assert started is not None

    def come() -> Visitor:
        contexts.append(started.new_context())
        return Visitor(contexts[-1].new_page())

    yield come
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def model() -> PausedBackbone:
    return PausedBackbone()


@pytest.fixture(scope="module")
def server(model: PausedBackbone) -> Iterator[tuple[str, Path]]:
    with served(model) as found:
        yield found


@pytest.fixture
def guest(visitor: NewPage, server: tuple[str, Path], model: PausedBackbone) -> Iterator[Visitor]:
    one = visitor()
    one.come(server[0])
    yield one
    model.goes_on.set()


@pytest.mark.nightly
def test_a_whole_task(guest: Visitor, server: tuple[str, Path], tmp_path: Path) -> None:
    page = guest.page
    guest.bring(png(grey()))
    assert guest.caption == "grey"
    guest.describe(SCENE)
    guest.edit("grey => red")
    assert guest.caption == SCENE.replace("grey", "red")
    strength = page.locator("#le-strength input")
    expect(strength).to_have_value("1")
    guest.viewer.get_by_label("Strength", exact=True).press("PageDown")
    expect(guest.viewer.locator(".status")).to_contain_text("0.75")
    expect(strength).to_have_value("0.75")
    expect(page.locator("#le-facts")).to_contain_text("evaluations")

    expect(guest.viewer.locator(".keep, .note")).to_have_count(0)  # the page's own buttons save the exact picture
    saved = guest.downloads("save-picture", tmp_path)
    assert saved.name == "me.edited.png"
    assert read_record(saved).strengths == (0.75,)
    assert read_record(saved).caption == SCENE
    told = json.loads(guest.downloads("save-record", tmp_path).read_text())
    assert told["record"]["strengths"] == [0.75]
    direction = guest.downloads("save-direction", tmp_path)
    assert load_direction(direction).target_captions == (SCENE.replace("grey", "red"),)

    guest.press("undo")
    expect(page.locator("iframe.le-viewer")).to_have_count(0)
    assert guest.caption == SCENE
    assert same_picture(Image.open(guest.downloads("save-picture", tmp_path)), grey())
    guest.history.nth(1).click()
    expect(page.locator("iframe.le-viewer")).to_have_count(1)
    expect(guest.viewer.locator(".number")).to_have_value("0.75")  # at which it was kept
    expect(strength).to_have_value("0.75")
    guest.press("undo")
    expect(page.locator("iframe.le-viewer")).to_have_count(0)
    guest.wish("")
    with page.expect_file_chooser() as chooser:
        guest.press("direction")
    chooser.value.set_files(direction)
    expect(page.get_by_label("What to change")).to_have_value("grey-red.safetensors")
    guest.edit("grey-red.safetensors")

    assert [url for url in guest.requests if not url.startswith((server[0], "data:", "blob:"))] == []
    assert guest.complaints == []
    assert [path for path in server[1].rglob("*") if path.is_file() and path.stat().st_size] == []


@pytest.mark.nightly
def test_text_is_never_taken_for_html(guest: Visitor) -> None:
    guest.bring(png(grey()), name="<img src=x onerror=hacked=1>.png")
    guest.describe(HOSTILE)
    guest.edit("grey => red <b onclick=alert(1)>")
    expect(guest.viewer.locator(".captions")).to_contain_text("onerror")
    assert guest.history.nth(1).inner_text().startswith("grey => red <b onclick")
    guest.wish("<svg onload=window.hacked=1> => red")
    guest.press("edit")
    guest.says("<svg onload=window.hacked=1>")
    assert guest.page.evaluate("window.hacked") is None
    assert guest.viewer.locator("body").evaluate("() => window.hacked") is None
    assert guest.page.locator("#le-message svg, #le-history b, #le-preview img[src=x]").count() == 0


@pytest.mark.nightly
def test_two_visitors_wait_for_each_other_and_see_nothing_of_each_other(
    guest: Visitor, visitor: NewPage, server: tuple[str, Path], model: PausedBackbone
) -> None:
    guest.bring(png(grey()))
    other = visitor()
    other.come(server[0])
    model.pause()
    guest.wish("grey => red")
    guest.press("edit")
    assert model.waits.wait(60)
    other.drop("other.png", png(noisy()))
    other.page.wait_for_timeout(300)
    assert other.page.locator("#le-preview img").count() == 0, "it waits for its turn"
    model.goes_on.set()
    other.page.wait_for_selector("#le-preview img")
    expect(guest.history).to_have_count(2, timeout=PATIENCE_MS)
    assert (guest.caption, other.caption) == ("red", "red")
    expect(other.history).to_have_count(1)
    sources = [one.page.locator("#le-preview img").get_attribute("src") or "" for one in (guest, other)]
    assert sources[0] != sources[1]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
