"""Every control of the page by its events, as a browser sends them to a running server."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from latentedit.editing.discovery import discover_basis
from latentedit.editing.outputs import read_record, same_image
from latentedit.identification.direction import Direction
from latentedit.page.edit_tab import discovered
from latentedit.page.edit_visit import EditVisit
from latentedit.page.models import Models
from tests.editing.discoveries import known_basis
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray, noisy
from tests.keep.viewer.pages import opened
from tests.page.client import Client
from tests.page.edits import SCENE, PausedBackbone, served
from tests.page.servers import png
from tests.page.test_tasks import saved


@pytest.fixture(scope="module")
def model() -> PausedBackbone:
    return PausedBackbone()


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    paths = [tmp_path_factory.mktemp("examples") / f"{name}.png" for name in ("a", "b")]
    for path, image in zip(paths, (noisy(), gray(size=(12, 8))), strict=True):
        image.save(path)
    return paths


@pytest.fixture(scope="module")
def server(model: PausedBackbone, examples: list[Path]) -> Iterator[tuple[str, Path]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Models, "examples", lambda _: examples)
        with served(model) as found:
            yield found


@pytest.fixture
def page(server: tuple[str, Path], model: PausedBackbone) -> Iterator[Client]:
    """A page with an image and a corrected caption."""
    client = Client(server[0])
    client.upload("le-upload", "me.png", png(gray()))
    client.values |= {"le-caption": SCENE, "le-change": "gray => red"}
    yield client
    model.goes_on.set()


def entries(page: Client) -> int:
    return page.values["le-history"].count("<button")


@pytest.mark.slow
def test_another_image_is_opened_and_no_text(page: Client) -> None:
    page.upload("le-upload", "other.png", png(noisy(size=(12, 8))))
    assert page.values["le-caption"] == "red"
    assert "12 x 8 px" in page.values["le-preview"]
    assert (entries(page), page.values["le-message"]) == (1, "")
    page.upload("le-upload", "text.png", b"only a text")
    assert "text.png" in page.values["le-message"]


def test_an_example_is_opened_by_its_number(page: Client) -> None:
    page.do("le-examples", index=1)
    assert "12 x 8 px" in page.values["le-preview"]
    assert page.values["le-caption"] == "gray"
    for about, words in (({"index": 2}, "there are 2 items; got number 3"), ({}, "no image was selected")):
        page.do("le-examples", **about)
        assert words in page.values["le-message"]


def test_an_edit_is_shown_saved_and_undone(page: Client, tmp_path: Path) -> None:
    page.do("le-edit")
    assert page.values["le-caption"] == SCENE.replace("gray", "red")
    assert (entries(page), page.values["le-strength"]) == (2, 1)
    assert f'alt="{page.values["le-caption"]}"' in page.values["le-preview"]
    assert 'data-phrase="a hat"' in page.values["le-phrases"]
    assert "evaluations" in page.values["le-facts"]
    assert "<iframe" in page.values["le-result"]
    page.values["le-strength"] = 0.5
    ((name, content),) = saved(page, "save-image")
    (tmp_path / name).write_bytes(content)
    assert (name, read_record(tmp_path / name).strengths) == ("me.edited.png", (0.5,))
    ((name, content),) = saved(page, "save-record")
    assert (name, json.loads(content)["record"]["strengths"]) == ("me.edited.json", [0.5])
    ((name, content),) = saved(page, "save-direction")
    (tmp_path / name).write_bytes(content)
    assert Direction.load(tmp_path / name).target_captions == (SCENE.replace("gray", "red"),)
    page.do("le-undo")
    assert "<iframe" not in page.values["le-result"]
    assert (page.values["le-caption"], page.values["le-facts"], page.values["le-strength"]) == (SCENE, "", 0)
    ((_, content),) = saved(page, "save-image")
    (tmp_path / "me.png").write_bytes(content)
    assert same_image(Image.open(tmp_path / "me.png"), gray())
    page.do("le-history", index=1)
    assert (entries(page), page.values["le-strength"]) == (2, 0.5)
    page.values |= {"le-strength": 0.25, "le-change": "red => blue"}
    page.do("le-edit")
    page.do("le-undo")
    assert (entries(page), page.values["le-strength"]) == (3, 0.25), "it began at the strength of the slider"
    page.do("le-undo")
    page.do("le-undo")
    assert "no edit to undo" in page.values["le-message"]


def test_enter_edits(page: Client) -> None:
    page.do("le-change", "submit")
    assert entries(page) == 2


def test_an_edit_is_put_onto_the_first_tab(page: Client) -> None:
    page.do("le-edit")
    page.do("le-keep-edit")
    assert "me.edited.png" in page.values["le-edited"]
    assert "me.png" in page.values["le-kept"]
    assert [name for name, _ in saved(page, "save-kept")] == ["me.kept.png"]


def test_changes_have_their_own_strengths_and_a_method(page: Client, tmp_path: Path) -> None:
    page.values |= {"le-change": "", "Change 2": "gray => red", "Strength of 2": 0.5}
    page.do("le-edit")
    assert page.values["le-strength"] == 0.5
    ((name, content),) = saved(page, "save-direction")
    page.do("le-history", index=0)
    page.values["Change 2"] = ""
    page.upload("le-direction", name, content)
    assert page.values["le-change"] == name
    page.upload("le-direction", "mine.safetensors", content)
    assert page.values["Change 2"] == "mine.safetensors"
    page.do("le-edit")
    rows = page.values["le-facts"].split("le-cross-talk")[1]
    assert [rows.count(f"'row'>{text}<") for text in (name, "mine.safetensors")] == [1, 1]
    assert rows.count("<td>+1.000</td>") == 4, "one direction twice"
    page.values |= {"Change 3": "c", "Change 4": "d"}
    page.upload("le-direction", name, content)
    assert "all 4 changes are in use" in page.values["le-message"]
    page.upload("le-direction", "none.safetensors", b"no direction")
    assert "none.safetensors" in page.values["le-message"]
    page.do("le-history", index=0)
    page.values |= {"Change 2": "", "Change 3": "", "Change 4": "", "le-change": "gray => red", "Method": "sdedit"}
    page.do("le-edit")
    assert "no direction to save" in (saved(page, "save-direction") or page.values["le-message"])


def test_an_unknown_image_is_edited_only_after_a_second_click(
    page: Client, unknown_images: Callable[..., object]
) -> None:
    unknown_images()
    page.do("le-edit")
    assert "Edit it anyway</button>" in page.values["le-message"]
    assert "Keep only the change" in page.values["le-message"]
    assert "--" not in page.values["le-message"], "an option"
    assert entries(page) == 1
    page.do("le-message", index=0)
    assert (entries(page), page.values["le-message"]) == (2, "")
    page.values["le-change"] = "red => green"
    page.do("le-edit")
    assert entries(page) == 3


def test_a_canceled_edit_leaves_everything_as_it_was(page: Client, model: PausedBackbone) -> None:
    model.pause(after=6)
    task = page.begin("le-edit")
    assert model.waits.wait(60)
    page.do("le-cancel")
    model.goes_on.set()
    page.finish(task)
    assert "Canceled" in page.values["le-message"]
    assert (entries(page), page.values["le-caption"]) == (1, SCENE)
    page.do("le-edit")
    assert entries(page) == 2


def test_an_expired_session_is_reported(server: tuple[str, Path]) -> None:
    page = Client(server[0], starts=False)
    for button in ("le-edit", "le-undo", "le-cancel", "le-save-image"):
        page.values["le-message"] = ""
        page.do(button)
        assert "Reload the page" in page.values["le-message"]


def test_discovered_directions_are_chosen_as_changes(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    found, requested = discover_basis(known_basis(ColorBackbone())), dict[str, Any]()

    def find(visit: EditVisit, **options: Any) -> Any:
        options.pop("progress")("one step", 1, 2)
        requested.update(options)
        visit.discovered = ["01-a.safetensors", "02-b.safetensors"]
        return found

    monkeypatch.setattr(EditVisit, "discover", find)
    page.values |= {"Number of directions": 2, "Noise level": 0.5}
    page.do("le-discover")
    assert requested == {"model": "colors", "rank": 2, "level": 0.5}
    assert page.values["le-discovered"] == discovered(found)
    page.do("le-discovered", index=1)
    assert page.values["Change 2"] == "02-b.safetensors"
    page.do("le-discovered", index=2)
    assert "there are 2 items" in page.values["le-message"]


def test_a_discovered_direction_is_shown_at_minus_two_and_two() -> None:
    found = discover_basis(known_basis(ColorBackbone()))
    shown = opened(discovered(found).split("base64,")[1].split('"')[0])
    probe = found.directions[0].probe.images
    assert shown.size == (16, 8)
    for half, scale in ((0, 0), (1, 3)):
        colors = torch.tensor(list(shown.crop((8 * half, 0, 8 * half + 8, 8)).getdata())).double().mean(0) / 127.5 - 1
        assert torch.allclose(colors, probe[scale].mean((1, 2)).double(), atol=0.01)


def test_the_server_ends_all_visits_and_restores_the_environment() -> None:
    names = ("GRADIO_TEMP_DIR", "NO_PROXY")
    model, before = PausedBackbone(), [os.environ.get(name) for name in names]
    with served(model) as (address, uploads):
        page = Client(address)
        page.upload("le-upload", "me.png", png(gray()))
        page.values["le-change"] = "gray => red"
        model.pause()
        page.begin("le-edit")
        assert model.waits.wait(60)
        assert os.environ["GRADIO_TEMP_DIR"] == str(uploads)
        threading.Timer(0.2, model.goes_on.set).start()
    assert [os.environ.get(name) for name in names] == before
