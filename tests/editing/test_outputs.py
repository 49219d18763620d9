"""Results as files: their records, writing all files or none, and foreign files, which are not overwritten."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from latentedit.core.errors import ConfigError, FileFormatError, OutputError
from latentedit.core.files import plain
from latentedit.editing import outputs
from latentedit.editing import result as results
from latentedit.editing.outputs import check_json_path, read_record, same_image
from latentedit.editing.result import EditResult, SweepResult
from latentedit.editing.session import Session
from latentedit.editing.verbs import edit, identify
from latentedit.encoding.encode import encode
from latentedit.encoding.record import MAX_EDITS
from latentedit.keeping.undoing import undo_difference
from latentedit.photo.images import read_image
from latentedit.photo.saving import read_chunks
from tests.editors.colors import ColorBackbone
from tests.editors.edits import noisy
from tests.folders import names_in


@pytest.fixture
def result(colors: ColorBackbone, tmp_path: Path) -> EditResult:
    noisy().save(tmp_path / "me.png")
    return edit(colors, tmp_path / "me.png", prompt="green", seed=3)


@pytest.fixture
def swept(colors: ColorBackbone, tmp_path: Path) -> list[EditResult]:
    noisy().save(tmp_path / "me.png")
    latent = encode(colors, tmp_path / "me.png")
    return Session(latent).sweep(identify(latent, prompt="green"), strengths=[1.0, 0.0, 0.5])[0]


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises((OutputError, FileFormatError)) as caught:
        act()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_an_image_is_written_with_its_record_and_measurements(result: EditResult, tmp_path: Path) -> None:
    result.save(tmp_path / "out.png", sheet=tmp_path / "sheet.png")
    assert names_in(tmp_path) == ["me.png", "out.json", "out.png", "sheet.json", "sheet.png"]
    assert read_record(tmp_path / "sheet.png") == result.record.model_copy(update={"output": "sheet"})
    result.save_sheet(tmp_path / "alone.png")
    assert (tmp_path / "alone.png").read_bytes() == (tmp_path / "sheet.png").read_bytes()
    assert same_image(read_image(tmp_path / "out.png"), result.image)
    text, payload = read_chunks(tmp_path / "out.png")
    assert text == result.record.to_json()
    assert payload == undo_difference(result.source, result.image)
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["record"] == json.loads(text)
    (measured,) = report["results"]
    assert measured["verdict"] == plain(result.verdict)
    assert (measured["verdict"]["word"], measured["verdict"]["share"]) == ("done", None), "the model is not calibrated"
    assert measured["cost"] == plain(result.cost)
    assert measured["effect"]["rest_psnr_db"] is None  # infinite, which JSON cannot express


@pytest.mark.slow_except("s.html")
@pytest.mark.parametrize("name", ["s.png", "s.jpg", "s.webp", "s.html"])
def test_a_sweep_is_one_record_with_all_strengths(swept: list[EditResult], tmp_path: Path, name: str) -> None:
    SweepResult(swept).save(tmp_path / name)
    record = read_record(tmp_path / name)
    assert record == swept[0].record.model_copy(update={"output": "sweep", "strengths": (1.0, 0.0, 0.5)})
    report = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["results"]
    assert [row["strength"] for row in report] == [1.0, 0.0, 0.5]


@pytest.mark.slow_except("out.png")
@pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.webp", "out.bmp", "out.tiff"])
def test_formats_without_a_record_have_it_in_a_json_file(result: EditResult, tmp_path: Path, name: str) -> None:
    result.save(tmp_path / name)
    result.save(tmp_path / name)  # our own files are overwritten
    assert (read_chunks(tmp_path / name) == (None, None)) == (name != "out.png")
    assert read_record(tmp_path / name) == result.record
    assert read_record(str(tmp_path / name)) == result.record
    if name == "out.png":
        (tmp_path / "out.json").write_text("{}")
        assert read_record(tmp_path / name) == result.record, "the record in the image has precedence"


@pytest.mark.parametrize("content", [b'{"record": {"artist": "me"}}', b"[1]", b'{"record": "\xff"}'])
def test_json_of_another_program_is_neither_read_nor_overwritten(
    result: EditResult, swept: list[EditResult], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "out.json").write_bytes(content)
    noisy().save(tmp_path / "out.jpg")
    before = (tmp_path / "out.jpg").read_bytes()
    assert "no record in " in refusal(lambda: read_record(tmp_path / "out.jpg"))
    assert "there is no me.json next to it" in refusal(lambda: read_record(tmp_path / "me.png"))
    place = tmp_path / "out.jpg"
    for act in (lambda: check_json_path(place), lambda: result.save(place), lambda: SweepResult(swept).save(place)):
        assert "did not write. Choose another name" in refusal(act)
    assert (tmp_path / "out.json").read_bytes() == content
    assert place.read_bytes() == before
    assert names_in(tmp_path) == ["me.png", "out.jpg", "out.json"]


@pytest.mark.slow_except("draw_sheet-False", "draw_sweep-False")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", ["save_image", "draw_sheet", "write_text", "draw_sweep"])
def test_all_files_are_written_or_none(
    result: EditResult, swept: list[EditResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: bool
) -> None:
    """Existing files are unchanged."""
    folder = tmp_path / "out"
    folder.mkdir()

    def write() -> None:
        if name == "draw_sweep":
            SweepResult(swept).save(folder / "s.png")
        else:
            result.save(folder / "a.png", sheet=folder / "b.png")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if old:
        write()
        for place in folder.glob("*.png"):
            noisy(9).save(place)
    before = {place.name: place.read_bytes() for place in folder.iterdir()}
    assert bool(before) == old
    monkeypatch.setattr(outputs if name == "write_text" else results, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write()
    assert {place.name: place.read_bytes() for place in folder.iterdir()} == before


def test_unusable_paths_are_rejected(result: EditResult, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "blocked.json").mkdir()
    for name, words in (("out.psd", "'out.psd'"), ("blocked.png", "is a folder")):
        assert words in refusal(lambda name=name: result.save(tmp_path / name))
    for sheet in ("a.png", "a.jpg", "blocked.json/../a.png"):
        assert "have the same name" in refusal(
            lambda sheet=sheet: result.save(tmp_path / "a.png", sheet=tmp_path / sheet)
        )
    request.getfixturevalue("full_disk")
    assert "out.png cannot be written: No space left on device" in refusal(lambda: result.save(tmp_path / "out.png"))
    assert names_in(tmp_path) == ["blocked.json", "me.png"]


def test_the_edited_image_is_replaced_only_on_request(
    result: EditResult, swept: list[EditResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file of a result replaces it, under whatever name of the image, even if the result is detached."""
    before, path = (tmp_path / "me.png").read_bytes(), tmp_path / "me.png"
    (tmp_path / "link.png").hardlink_to(path)
    monkeypatch.chdir(tmp_path)
    for write in (
        lambda: result.save("me.png"),
        lambda: result.detach().save(tmp_path / "link.png"),
        lambda: result.save("out.png", sheet=path),
        lambda: result.save_sheet(path),
        lambda: SweepResult(swept).save(path),
        lambda: Session(result.latent).edit(prompt="red")[0].save(path),
    ):
        assert "`overwrite=True`" in refusal(write)
    assert (path.read_bytes(), names_in(tmp_path)) == (before, ["link.png", "me.png"])
    result.save("me.png", overwrite=True)
    assert same_image(read_image(path), result.image)


def test_too_many_edits_are_rejected_before_anything_is_written(
    colors: ColorBackbone, result: EditResult, tmp_path: Path
) -> None:
    record = result.record
    for _ in range(MAX_EDITS):
        record = record.model_copy(update={"before": record})
    with pytest.raises(ConfigError):
        dataclasses.replace(result, record=record).save(tmp_path / "out.png")
    assert names_in(tmp_path) == ["me.png"]


def test_images_that_differ_in_their_extension_keep_their_records(
    swept: list[EditResult], result: EditResult, tmp_path: Path
) -> None:
    """Also after renaming all of them; the record of a deleted image may be replaced."""
    result.save(tmp_path / "out.jpg")
    SweepResult(swept).save(tmp_path / "out.webp")
    assert names_in(tmp_path) == ["me.png", "out.jpg", "out.json", "out.webp", "out.webp.json"]
    sweep = swept[0].record.model_copy(update={"output": "sweep", "strengths": (1.0, 0.0, 0.5)})
    assert (read_record(tmp_path / "out.jpg"), read_record(tmp_path / "out.webp")) == (result.record, sweep)
    swept[0].save(tmp_path / "out.jpg")
    for name in ("out.jpg", "out.json", "out.webp", "out.webp.json"):
        (tmp_path / name).rename(tmp_path / name.replace("out", "moved"))
    assert read_record(tmp_path / "moved.jpg") == swept[0].record
    assert read_record(tmp_path / "moved.webp") == sweep
    (tmp_path / "moved.webp.json").unlink()
    assert "there is no moved.webp.json next to it" in refusal(lambda: read_record(tmp_path / "moved.webp"))
    (tmp_path / "moved.jpg").unlink()
    result.save(tmp_path / "moved.webp")
    assert read_record(tmp_path / "moved.webp") == result.record
