"""Every control of the first tab by its events, as a browser sends them to a running server."""

import base64
import contextlib
import importlib.util
import io
import json
import re
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentedit.page import serve, visit
from latentedit.page.visit import Visit
from tests.commands import Ran
from tests.keep.pairs import scene, with_object
from tests.page.client import Client
from tests.page.servers import png, served

OF_ANOTHER_PROGRAM = {"SHARE": "true", "SSR_MODE": "true"}


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Path]]:
    with served() as found:
        yield found


@pytest.fixture
def alone(environment: dict[str, str]) -> Iterator[Client]:
    """The first page of a separate server whose user has set options of gradio."""
    environment |= {f"GRADIO_{name}": value for name, value in OF_ANOTHER_PROGRAM.items()}
    with served() as (address, _):
        yield Client(address)


@pytest.fixture
def page(server: tuple[str, Path]) -> Client:
    return Client(server[0])


@pytest.fixture
def kept(page: Client) -> Client:
    """A page with a pair and its result."""
    for role, image in (("original", scene()), ("edited", with_object(scene()))):
        page.upload(f"le-{role}", f"{role}.png", png(Image.fromarray(image)))
    return page


def saved(page: Client, button: str, **about: Any) -> list[tuple[str, bytes]]:
    page.do(f"le-{button}", **about)
    files = json.loads(page.values["le-downloads"] or "[]")
    return [(file["name"], base64.b64decode(file["content"])) for file in files]


@pytest.mark.slow
def test_a_saved_file_is_that_of_the_command(kept: Client, tmp_path: Path, ran: Ran) -> None:
    """Byte for byte, with its record, by the same name."""
    for role, image in (("original", scene()), ("edited", with_object(scene()))):
        (tmp_path / f"{role}.png").write_bytes(png(Image.fromarray(image)))
    ran("keep", tmp_path / "original.png", tmp_path / "edited.png")
    ((name, content),) = saved(kept, "save-kept")
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.slow
def test_layers_are_saved_in_three_formats(kept: Client) -> None:
    for index, ending in enumerate((".ora", ".tif", ".png")):
        if ending == ".tif" and importlib.util.find_spec("psdtags") is None:
            continue
        ((name, content),) = saved(kept, "layers", index=index)
        assert name == f"original.change{ending}"
        if ending == ".ora":
            assert zipfile.ZipFile(io.BytesIO(content)).read("mimetype") == b"image/openraster"
        else:
            assert Image.open(io.BytesIO(content)).size == (160, 160)
    assert saved(kept, "layers", index=3) == []


@pytest.mark.slow
def test_controls_are_there_once_they_can_act(page: Client) -> None:
    names = ("le-layers", "le-mask")
    assert not any(page.values[name] for name in names), "the example cannot be saved"
    page.upload("le-original", "original.png", png(Image.fromarray(scene())))
    assert not any(page.values[name] for name in names)
    page.upload("le-edited", "edited.png", png(Image.fromarray(with_object(scene()))))
    assert all(page.values[name] for name in names)


def test_other_files_are_refused_in_the_words_of_the_command(kept: Client) -> None:
    before = kept.values["le-kept"]
    for name, content, words in (
        ("notes.txt", b"only a text", "notes.txt is not an image"),
        ("empty.png", b"", "empty"),
    ):
        kept.upload("le-edited", name, content)
        assert words in kept.values["le-message"]
        assert kept.values["le-kept"] == before


@pytest.mark.slow_except("{uploads}/../a.png")
@pytest.mark.parametrize("place", ["", "/etc/hostname", "{uploads}/../a.png", None])
def test_a_browser_can_name_only_its_uploads(server: tuple[str, Path], page: Client, place: str | None) -> None:
    uploads = server[1]
    (uploads.parent / "a.png").write_bytes(png(Image.fromarray(scene())))
    path = None if place is None else place.format(uploads=uploads)
    with contextlib.suppress(AssertionError):  # gradio fails for files outside of its folder
        page.do("le-original", "upload", path=path)
    assert "<img" not in page.values["le-original"]


@pytest.mark.slow
def test_the_change_is_kept_within_a_mask_and_by_number(page: Client) -> None:
    pixels = scene()
    one, two = (with_object(pixels, (right, 70)) for right in (40, 130))
    both = np.where((one != pixels), one, two)
    assert "photograph.jpg" in page.values["le-kept"], "an example"
    for role, image in (("original", pixels), ("edited", both)):
        page.upload(f"le-{role}", f"{role}.png", png(Image.fromarray(image)))
    assert page.values["le-only"] == [1, 2]
    everything = kept_pixels(page)
    assert np.array_equal(everything, both)
    page.values["le-only"] = [1]
    page.do("le-only", "input")
    first = kept_pixels(page)
    page.values["le-only"] = [2]
    page.do("le-only", "input")
    second = kept_pixels(page)
    assert np.array_equal(np.where(first != pixels, first, second), both)
    page.values["le-only"] = [1, 2]
    page.do("le-only", "input")
    left = np.zeros(pixels.shape[:2], np.uint8)
    left[:, :85] = 255
    page.upload("le-mask", "mask.png", png(Image.fromarray(left)))
    masked = kept_pixels(page)
    assert not (masked != pixels)[:, 85:].any()
    assert (masked != pixels)[:, :85].any()
    page.values["le-kept-strength"] = 0.0
    assert np.array_equal(kept_pixels(page), pixels)
    page.values |= {"le-kept-strength": 1.0, "le-strokes": "[[12, 40, 60, 40, 80]]"}
    page.do("le-brush", "input")
    painted = kept_pixels(page)
    assert np.array_equal(painted[60:80, 40], pixels[60:80, 40])
    assert (painted != masked).any()
    page.do("le-unmask")
    assert np.array_equal(kept_pixels(page)[:, 85:], both[:, 85:])
    assert np.array_equal(kept_pixels(page)[60:80, 40], pixels[60:80, 40])
    page.values["le-strokes"] = ""  # the file is of what the page shows, even if no event came for it
    assert np.array_equal(kept_pixels(page), everything)
    page.upload("le-mask", "mask.png", png(Image.fromarray(left[:50])))
    assert "mask.png" in page.values["le-message"]
    page.values["le-strokes"] = "[[12, 40, 60]]"
    page.upload("le-original", "other.png", png(Image.new("RGB", (8, 8))))
    assert (page.values["le-message"], page.values["le-strokes"]) == ("", "")
    assert "latentedit-brush" not in page.values["le-brush"]


def kept_pixels(page: Client) -> NDArray[np.uint8]:
    (_, content), *_ = saved(page, "save-kept")
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_file_may_be_dropped_twice(page: Client) -> None:
    """Gradio stores equal uploads in one place."""
    for role in ("original", "edited"):
        page.upload(f"le-{role}", "same.png", png(Image.fromarray(scene())))
    assert [name for name, _ in saved(page, "save-kept")] == ["same.kept.png"]


def test_the_example_is_not_saved(page: Client) -> None:
    assert saved(page, "save-kept") == []
    assert "example" in page.values["le-message"]
    assert saved(page, "layers", index=0) == []


@pytest.mark.slow_except("le-mask")
@pytest.mark.parametrize("name", ["le-edited", "le-mask"])
def test_nothing_is_saved_after_an_upload_that_did_not_arrive(kept: Client, name: str) -> None:
    before = kept.values["le-kept"]
    kept.do(name, "upload", path="")
    for button in ("save-kept", "layers"):
        assert saved(kept, button, index=0) == []
        assert "not uploaded" in kept.values["le-message"]
    assert kept.values["le-kept"] == before
    kept.upload(name, "again.png", png(Image.fromarray(scene())))
    assert [name for name, _ in saved(kept, "save-kept")]


def test_images_that_come_before_the_example_is_made_stay(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, example = threading.Event(), serve.example()
    monkeypatch.setattr(serve, "example", lambda: goes_on.wait(60) and example)
    page = Client(server[0], starts=False)
    coming = threading.Thread(target=page.do, args=("", "load"))
    coming.start()
    coming.join(5)
    for role, image in (("original", scene()), ("edited", with_object(scene()))):
        page.upload(f"le-{role}", f"{role}.png", png(Image.fromarray(image)))
        if role == "original":
            goes_on.set()
            coming.join()
    assert "original.png" in page.values["le-original"]
    assert [name for name, _ in saved(page, "save-kept")] == ["original.kept.png"]


def test_a_canceled_comparison_leaves_the_pair(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, goes_on, keep = threading.Event(), threading.Event(), visit.keep

    def paused(*images: Any, progress: Any) -> Any:
        waits.set()
        assert goes_on.wait(60)
        return keep(*images, progress=progress)

    monkeypatch.setattr(visit, "keep", paused)
    page.upload("le-original", "original.png", png(Image.fromarray(scene())))
    task = threading.Thread(target=page.upload, args=("le-edited", "edited.png", png(Image.fromarray(scene()))))
    task.start()
    assert waits.wait(60)
    page.do("le-cancel-keep")
    goes_on.set()
    task.join()
    assert "Canceled" in page.values["le-message"]
    assert "edited.png" in page.values["le-edited"]
    assert not page.values["le-layers"]


def test_an_expired_session_is_reported(server: tuple[str, Path]) -> None:
    page = Client(server[0], starts=False)
    for button in ("le-save-kept", "le-unmask", "le-cancel-keep"):
        page.values["le-message"] = ""
        page.do(button)
        assert "Reload the page" in page.values["le-message"]


def test_closing_the_page_closes_the_visit(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, close = threading.Event(), Visit.close
    monkeypatch.setattr(Visit, "close", lambda visit: (close(visit), closed.set()))
    page.leave()
    assert closed.wait(60)


def nodes() -> int:
    return sum(child.name().startswith("node") for child in psutil.Process().children(recursive=True))


@pytest.mark.slow
def test_settings_of_gradio_for_other_programs_change_nothing(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: Any) -> None:
        pytest.fail("the page is made public")

    monkeypatch.setattr("gradio.networking.setup_tunnel", connect)
    before = nodes()
    page: Client = request.getfixturevalue("alone")
    assert nodes() == before, "no server-side rendering"
    theme = urllib.request.urlopen(page.address + "theme.css").read().decode()
    assert ("@font-face" in theme, page.config["footer_links"]) == (False, []), "no fonts are loaded"
    assert "--block-info-text-color: var(--neutral-500)" in theme, "hints are legible"
    styled = set(re.findall(r"#(le-[a-z-]+)", page.config["css"] + page.config["head"]))
    assert "le-pair" in styled
