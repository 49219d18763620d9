"""A file is opened without its pixels, or refused in one line."""

from pathlib import Path

import pytest
from PIL import Image

from latentedit.core.errors import ImageError
from latentedit.core.files.reading import MAX_PIXELS, READABLE, check_size, damaged, opened
from tests.core.files.test_pictures import BAD, gradient, png_header


def test_pixels_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "me.png").write_bytes(png_header(3000, 2000))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with opened(tmp_path / "me.png") as image:
        assert (image.size, image.format) == ((3000, 2000), "PNG")


@pytest.mark.parametrize("kind", READABLE)
def test_every_format_is_opened_whatever_the_name_says(tmp_path: Path, kind: str) -> None:
    gradient().save(tmp_path / "me.txt", format=kind)
    with opened(tmp_path / "me.txt") as image:
        assert (image.size, image.format) == ((12, 8), kind)


@pytest.mark.parametrize(
    "case", ["missing file", "folder", "empty file", "text renamed to .png", "PostScript renamed to .png"]
)
def test_what_is_no_picture_is_refused(tmp_path: Path, case: str) -> None:
    write, words = BAD[case]
    write(tmp_path / "bad.png")
    with pytest.raises(ImageError, match=words), opened(tmp_path / "bad.png"):
        pytest.fail("opened")


def test_what_the_block_raises_is_taken_for_damage(tmp_path: Path) -> None:
    gradient().save(tmp_path / "me.png")
    with (
        pytest.raises(ImageError, match=r"me\.png to be a complete picture; .*\(broken\)"),
        opened(tmp_path / "me.png"),
    ):
        raise ValueError("broken")
    with pytest.raises(ImageError, match=r"^as it is$"), opened(tmp_path / "me.png"):
        raise ImageError("as it is")
    with pytest.raises(KeyboardInterrupt), opened(tmp_path / "me.png"):
        raise KeyboardInterrupt


def test_sizes_at_the_limits() -> None:
    for size in ((2, 2), (2, MAX_PIXELS // 2), (10_000, MAX_PIXELS // 10_000)):
        check_size(size, "me")
    for size, words in (
        ((1, 2), "me to be at least 2x2 pixels; it is 1x2"),
        ((2, MAX_PIXELS // 2 + 1), "me to have at"),
    ):
        with pytest.raises(ImageError, match=words):
            check_size(size, "me")


def test_damage_is_named() -> None:
    assert str(damaged("me", OSError("cut"))).startswith("expected me to be a complete picture; it is damaged")
