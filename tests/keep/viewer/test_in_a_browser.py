"""The viewer in a browser, used by mouse, keyboard and screen reader."""

import base64
import dataclasses
import functools
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Download, Locator

from latentedit.editing.outputs import read_record, same_image
from latentedit.editing.replay import replay
from latentedit.editing.result import SweepResult
from latentedit.editing.session import Session
from latentedit.editing.verbs import identify
from latentedit.encoding.encode import encode
from latentedit.photo.images import read_image
from latentedit.photo.saving import read_chunks
from latentedit.viewer import View, ViewerFrame
from tests.browser import Browser
from tests.editors.colors import ColorBackbone
from tests.editors.edits import noise, noisy
from tests.keep.viewer.pages import changed, view_of

pytestmark = pytest.mark.nightly

STRENGTHS = [-1.0, 0.5, 1.0, 1.25]


@pytest.fixture(scope="module")
def view() -> View:
    """Noise with a changed box, at four strengths."""
    return view_of(STRENGTHS, size=(160, 120), others={"right answer": noise((160, 120), seed=9)})


@pytest.fixture(scope="module")
def page(view: View, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("noise") / "page.html"
    view.save(path)
    return path


@pytest.fixture(scope="module")
def red_to_blue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red image that is blue at strength 1."""
    path = tmp_path_factory.mktemp("colors") / "page.html"
    source = Image.new("RGB", (80, 60), "red")
    View(source=source, frames=[ViewerFrame(strength=1.0, image=Image.new("RGB", (80, 60), "blue"))]).save(path)
    return path


def shown(browser: Browser, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
    browser.open(path, width=width, height=height, dark=dark)
    browser.page.wait_for_selector("latentedit-viewer[ready]")


def part(browser: Browser, selector: str) -> Locator:
    return browser.page.locator(f"latentedit-viewer {selector}")


def box_of(place: Locator) -> dict[str, float]:
    found = place.bounding_box()
    assert found is not None
    return dict(found)


def typed(browser: Browser, strength: str) -> None:
    part(browser, ".number").fill(strength)


def canvas(browser: Browser, name: str) -> NDArray[np.int16]:
    """The pixels of a canvas, without alpha."""
    script = f"""(() => {{
        const one = document.querySelector("latentedit-viewer").shadowRoot.querySelector("canvas.{name}");
        const {{ data }} = one.getContext("2d").getImageData(0, 0, one.width, one.height);
        return [one.width, one.height, btoa(Array.from(data, (x) => String.fromCharCode(x)).join(""))] }})()"""
    width, height, content = browser.evaluate(script)
    pixels = np.frombuffer(base64.b64decode(content), np.uint8).reshape(height, width, 4)
    return pixels[..., :3].astype(np.int16)


def pixels_of(image: Image.Image) -> NDArray[np.int16]:
    return np.asarray(image.convert("RGB"), np.int16)


def colors_across(browser: Browser, shares: Sequence[float]) -> list[tuple[int, ...]]:
    """Colors in the stage at these shares of its width, a third down."""
    shot = Image.open(io.BytesIO(part(browser, ".stage").screenshot())).convert("RGB")
    return [shot.getpixel((int(share * shot.width), shot.height // 3)) for share in shares]


def downloaded(browser: Browser, selector: str, folder: Path) -> Path:
    with browser.page.expect_download() as waiting:
        part(browser, selector).click()
    download: Download = waiting.value
    place = folder / download.suggested_filename
    download.save_as(place)
    return place


def test_the_canvas_shows_rendered_images_exactly_and_blends_between_them(
    browser: Browser, page: Path, view: View
) -> None:
    shown(browser, page)
    images = {0.0: view.source} | {frame.strength: frame.image for frame in view.frames}
    for strength in (1.0, 0.5, -1.0, 0.0, 1.25):
        typed(browser, f"{strength:g}")
        assert np.array_equal(canvas(browser, "after"), pixels_of(images[strength])), strength
    for strength, low, high in ((0.6, 0.5, 1.0), (0.1, 0.0, 0.5), (-0.25, -1.0, 0.0)):
        typed(browser, str(strength))
        share = (strength - low) / (high - low)
        blend = (1 - share) * pixels_of(images[low]) + share * pixels_of(images[high])
        assert np.abs(canvas(browser, "after") - blend).max() <= 1
        assert f"a blend of the images at {low:g} and {high:g}" in (part(browser, ".status").text_content() or "")
    part(browser, ".differ").click()
    for strength in STRENGTHS:
        typed(browser, f"{strength:g}")
        difference = np.abs(pixels_of(images[strength]) - pixels_of(view.source))
        assert np.array_equal(canvas(browser, "after"), (4 * difference).clip(0, 255))
    part(browser, ".differ").click()
    assert np.array_equal(canvas(browser, "after"), pixels_of(view.frames[-1].image))
    for label, image in (("right answer", view.others["right answer"]), ("original", view.source)):
        part(browser, ".other").select_option(label=label)
        assert np.array_equal(canvas(browser, "before"), pixels_of(image))


def test_the_slider_takes_keys_mouse_and_numbers(browser: Browser, page: Path) -> None:
    shown(browser, page)
    slider, number = part(browser, ".slider"), part(browser, ".number")
    assert number.input_value() == "1", "the full change first"
    slider.focus()
    for key, value in (
        ("ArrowLeft", "0.99"), ("ArrowRight", "1"), ("ArrowUp", "1.01"), ("PageDown", "1"), ("PageDown", "0.5"),
        ("PageUp", "1"), ("End", "1.25"), ("ArrowRight", "1.25"), ("Home", "-1"), ("PageUp", "0"),
    ):  # fmt: skip
        slider.press(key)
        assert number.input_value() == value, key
    box, seen = box_of(slider), set[float]()
    for share in np.linspace(0.6, 0.75, 16):
        browser.page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        seen.add(float(number.input_value()))
    assert 0.5 in seen, "the mouse snaps to rendered strengths"
    assert not seen & {0.49, 0.51}
    for text, strength in (("7", "1.25"), ("-3", "-1"), ("", "-1"), ("0.333", "0.33")):
        typed(browser, text)
        number.blur()
        assert number.input_value() == strength


def test_arrow_keys_move_a_slider_that_is_on_or_off(browser: Browser, tmp_path: Path) -> None:
    frames = [ViewerFrame(strength=one, image=Image.new("RGB", (8, 8), "red")) for one in (0.5, 1.0)]
    View(source=Image.new("RGB", (8, 8)), frames=frames, steps=True).save(tmp_path / "steps.html")
    shown(browser, tmp_path / "steps.html")
    slider, number = part(browser, ".slider"), part(browser, ".number")
    slider.focus()
    for key, value in (("ArrowLeft", "0.5"), ("ArrowDown", "0"), ("ArrowLeft", "0"), ("ArrowUp", "0.5"), ("End", "1")):
        slider.press(key)
        assert number.input_value() == value, key


def test_the_wipe_and_the_original_while_a_key_is_held(browser: Browser, red_to_blue: Path) -> None:
    red, blue = (255, 0, 0), (0, 0, 255)
    shown(browser, red_to_blue)
    assert colors_across(browser, (0.4, 0.6)) == [red, blue]
    box, mouse, wipe = box_of(part(browser, ".stage")), browser.page.mouse, part(browser, ".wipe")
    middle = box["y"] + box["height"] / 2
    mouse.move(box["x"] + box["width"] / 2, middle)
    mouse.down()
    mouse.move(box["x"] + 0.8 * box["width"], middle, steps=3)
    mouse.up()
    mouse.move(box["x"] + 0.1 * box["width"], middle)
    assert colors_across(browser, (0.6, 0.7, 0.95)) == [red, red, blue]
    assert wipe.input_value() == "80", "for screen readers"
    wipe.press("Home")
    assert colors_across(browser, (0.05, 0.4)) == [blue, blue]
    part(browser, ".slider").focus()
    browser.page.keyboard.down("o")
    assert colors_across(browser, (0.1, 0.9)) == [red, red]
    browser.page.keyboard.up("o")
    assert colors_across(browser, (0.1, 0.9)) == [blue, blue]


def test_zoom_is_centered_on_the_pointer_and_pan_follows_it(browser: Browser, page: Path) -> None:
    shown(browser, page)
    stage = part(browser, ".stage")
    box, place = box_of(stage), functools.partial(box_of, part(browser, ".plane"))
    whole = place()
    part(browser, ".in").click()
    assert place()["width"] == pytest.approx(2 * whole["width"], abs=1)
    x, y = box["x"] + 0.2 * box["width"], box["y"] + 0.3 * box["height"]
    under = (x - place()["x"]) / place()["width"]
    browser.page.mouse.move(x, y)
    browser.page.keyboard.down("Control")
    browser.page.mouse.wheel(0, -200)
    browser.page.keyboard.up("Control")
    stage.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert place()["width"] > 3 * whole["width"]
    assert (x - place()["x"]) / place()["width"] == pytest.approx(under, abs=0.01), "zoom is centered on the pointer"
    before = place()
    browser.page.mouse.down()
    browser.page.mouse.move(x + 30, y + 20, steps=2)
    browser.page.mouse.up()
    assert (place()["x"] - before["x"], place()["y"] - before["y"]) == pytest.approx((30, 20), abs=0.5)
    part(browser, ".fit").click()
    assert place() == pytest.approx(whole, abs=0.5)


def test_saved_files_equal_the_edit_or_are_reported_as_blends(browser: Browser, tmp_path: Path) -> None:
    model = ColorBackbone()
    noisy().save(tmp_path / "me.png")
    latent = encode(model, tmp_path / "me.png", source_prompt="red")
    swept = Session(latent).sweep(identify(latent, prompt="green"), strengths=[0.25, 0.5, 1.0])[0]
    SweepResult(swept).save(tmp_path / "page.html")
    shown(browser, tmp_path / "page.html")
    typed(browser, "0.5")
    place, record = downloaded(browser, ".keep", tmp_path), downloaded(browser, ".note", tmp_path)
    assert (place.name, record.name) == ("me.0.50.png", "me.0.50.json")
    swept[1].save(tmp_path / "saved.png")
    assert same_image(read_image(place), swept[1].image)
    assert read_chunks(place) == read_chunks(tmp_path / "saved.png")
    report, saved = (json.loads(one.read_text("utf-8")) for one in (record, tmp_path / "saved.json"))
    assert report["record"] == saved["record"]
    assert report["results"][0].items() <= saved["results"][0].items()
    typed(browser, "0.4")
    place, record = downloaded(browser, ".keep", tmp_path), downloaded(browser, ".note", tmp_path)
    assert read_chunks(place) == (None, None), "a blend has no record"
    assert Image.open(place).info["Comment"] == "a blend of the images at 0.25 and 0.5"
    assert f"latentedit replay {place.name}" in json.loads(record.read_text("utf-8"))["blend"]
    again = read_record(place)
    assert again == swept[0].record.model_copy(update={"strengths": (0.4,)})
    (exact,) = replay(again, model, tmp_path / "me.png")
    assert np.abs(pixels_of(read_image(place)) - pixels_of(exact.image)).max() <= 1, "this model's decoder is linear"


def test_transparent_images_are_saved_exactly(browser: Browser, tmp_path: Path) -> None:
    source = noise((30, 20), "RGBA")
    image = changed(source, (5, 5, 20, 12), 3)
    image.info["icc_profile"] = source.info["icc_profile"] = b"a profile"
    View(source=source, frames=[ViewerFrame(strength=0.5, image=image)], name="half").save(tmp_path / "page.html")
    shown(browser, tmp_path / "page.html")
    place = downloaded(browser, ".keep", tmp_path)
    saved = Image.open(place)
    assert same_image(saved, image)
    assert saved.info["icc_profile"] == b"a profile"
    assert part(browser, ".note").count() == 0, "there is no record"


def test_the_viewer_works_in_a_frame_of_another_page(browser: Browser, view: View, tmp_path: Path) -> None:
    """A notebook shows it like this: it works, sends its strength to the outer page, and cannot access that page."""
    heard = "<title>x</title><script>heard = []; onmessage = (event) => heard.push(event.data.latentedit)</script>"
    (tmp_path / "page.html").write_text(heard + dataclasses.replace(view, start=0.6).iframe, "utf-8")
    browser.open(tmp_path / "page.html", width=1000)
    inside = browser.page.frame_locator("iframe")
    inside.locator("latentedit-viewer[ready]").wait_for()
    browser.wait("heard[0]?.strength === 0.6")
    inside.locator(".number").fill("0.5")
    browser.wait("heard.at(-1)?.strength === 0.5")
    assert browser.evaluate("heard.at(-1).height") > 500
    with browser.page.expect_download() as waiting:
        inside.locator(".keep").click()
    assert same_image(Image.open(waiting.value.path()), view.frames[1].image)
    assert browser.complaints == []
    assert all(url.startswith(("file:", "about:srcdoc")) for url in browser.requests)
    reached = "(() => { try { return parent.document.title } catch { return null } })()"
    assert browser.page.frames[1].evaluate(reached) is None
