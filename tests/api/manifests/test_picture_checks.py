from pathlib import Path

import pytest

from latentedit.api.manifests.faults import Faults
from latentedit.api.manifests.items import PictureFile
from latentedit.api.manifests.picture_checks import Checker
from latentedit.core.errors import ConfigError
from tests.api.manifests.pictures import write_picture


@pytest.fixture
def checker() -> Checker:
    return Checker(faults=Faults("list"))


def said(checker: Checker) -> str:
    with pytest.raises(ConfigError) as caught:
        checker.faults.check()
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (3, "a number"),
        (2.5, "a number"),
        (True, "yes or no"),
        (["a"], "a list"),
        ({"a": 1}, "an object"),
        (None, "missing"),
        ("", "empty"),
        (" \n", "empty"),
        ("\ud800", "half a character"),
    ],
)
def test_what_is_no_caption_is_told(checker: Checker, value: object, what: str) -> None:
    assert checker.text("row 1", "caption", value) is None
    assert f"row 1: caption is {what}" in said(checker).replace("holds", "is")


def test_a_caption_is_kept_as_it_is(checker: Checker) -> None:
    assert checker.text("row 1", "caption", " été ") == " été "
    assert not checker.faults


def test_a_picture_that_many_share_is_decoded_once(
    checker: Checker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_picture(tmp_path / "a.png")
    assert checker.file(PictureFile, "row 1", "picture", "a.png", tmp_path) == PictureFile(path)
    monkeypatch.setattr("latentedit.api.manifests.picture_checks.read_image", lambda _: pytest.fail("decoded again"))
    assert checker.file(PictureFile, "row 2", "picture", "a.png", tmp_path) == PictureFile(path)


def test_a_picture_cut_short_is_told(checker: Checker, tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.jpg", (64, 64))
    path.write_bytes(path.read_bytes()[:-80])
    assert checker.file(PictureFile, "row 1", "picture", "a.jpg", tmp_path) is None
    assert "picture a.jpg cannot be used: " in said(checker)


@pytest.mark.parametrize("name", ["missing.png", "a\0b", "x" * 5000])
def test_a_name_without_a_file_is_told(checker: Checker, tmp_path: Path, name: str) -> None:
    assert checker.file(PictureFile, "row 1", "picture", name, tmp_path) is None
    assert "does not exist" in said(checker)


def test_the_first_place_with_a_file_is_taken(checker: Checker, tmp_path: Path) -> None:
    path = write_picture(tmp_path / "b" / "a.png")
    places = [tmp_path / "a.png", path]
    assert checker.first_file(PictureFile, "row 1", "picture", places) == PictureFile(path)


def test_sizes_are_compared(checker: Checker, tmp_path: Path) -> None:
    small, large = (PictureFile(write_picture(tmp_path / f"{side}.png", (side, 4))) for side in (4, 5))
    assert checker.same_size("row 1", "truth", small, small)
    assert not checker.same_size("row 1", "truth", large, small)
    assert "row 1: truth is 5x4 pixels, its picture 4x4" in said(checker)
