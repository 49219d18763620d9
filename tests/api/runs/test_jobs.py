"""Pictures of a folder are found by their endings, and no two edited ones get the same name."""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path, PurePath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from latentedit.api.runs.jobs import EditJob, ids_apart, named_apart, pictures_in, place_of, shown, steady_batches
from latentedit.core.errors import ConfigError, ImageError


def test_pictures_are_found_by_their_endings(tmp_path: Path) -> None:
    """Whatever is in them, and a name that leads nowhere too: who opens them is told."""
    for name in ("b.PNG", "a.jpg", "c.webp", "d.txt", ".e.png", "f", "g.ppm", "h.eps"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "in it.png").write_bytes(b"")
    (tmp_path / "z.tiff").symlink_to(tmp_path / "nowhere.tiff")
    assert [path.name for path in pictures_in(tmp_path)] == ["a.jpg", "b.PNG", "c.webp", "g.ppm", "z.tiff"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"there are no pictures in the folder .*\.jpeg, \.jpg"):
        pictures_in(tmp_path / "empty")
    with pytest.raises(ConfigError, match="No such file"):
        pictures_in(tmp_path / "nothing")


def named(*names: str) -> list[str]:
    return named_apart([PurePath(name) for name in names])


def test_names_are_the_files_own() -> None:
    assert named("x/me.png", "x/you.JPG", "x/Müller 2.webp") == ["me", "you", "Müller 2"]
    assert named("a.jpg", "a.png", "b.png") == ["a.jpg", "a.png", "b"]
    assert named("a.jpg", "A.png") == ["a.jpg", "A.png"], "one file where the case of letters is not told apart"
    assert named("a.jpg", "a.png", "a.png.png") == ["a.jpg", "a.png", "a.png.png"]
    assert named("a.png.jpg", "a.png", "a.gif") == ["a.png", "a.png (2)", "a.gif"], "by chance another's whole name"
    assert named("A.png", "a.png") == ["A.png", "a.png (2)"]
    assert named("a\u0308.png", "\u00c4.gif") == ["a\u0308.png", "\u00c4.gif"], "an accent is stored in two ways"
    assert named("con.png", "Aux.2.jpg", "com1.png", "cone.png") == ["%63on", "%41ux.2", "%63om1", "cone"]
    assert named("50%.png", 'what "now"?.png') == ["50%25", "what %22now%22%3F"]
    assert ids_apart(["1", "a/b", "a", "A"]) == ["1", "a%2Fb", "a", "A (2)"]
    path = PurePath(b"caf\xe9.png".decode("utf-8", "surrogateescape"))
    assert shown(path) == "caf?.png"
    assert named_apart([path]) == ["caf%3F"]


@pytest.mark.slow
@given(st.lists(st.text(min_size=1, max_size=60).filter(lambda name: "/" not in name and "\0" not in name), max_size=4))
def test_names_are_apart_and_fit_for_files(texts: list[str]) -> None:
    paths = [PurePath(text) for text in texts if PurePath(text).name]
    for names in (named_apart(paths), ids_apart(texts)):
        assert len({name.casefold() for name in names}) == len(names)
        for name in names:
            assert not set(name) & set('/\\:*?"<>|\n\0')
            assert name[0] not in (".", " ")
            assert len(place_of(name).removeprefix("pictures/").encode()) <= 255


def called(names: Sequence[object]) -> list[EditJob]:
    return [EditJob(id=str(name), path=Path(f"{name}.png"), name=str(name)) for name in names]


@given(names=st.lists(st.integers(0, 10**6), min_size=1, max_size=200, unique=True), most=st.integers(1, 20))
def test_batches_are_whole_and_small_enough(names: list[int], most: int) -> None:
    pictures = called(names)
    batches = steady_batches(pictures, most)
    assert [one for batch in batches for one in batch] == pictures
    assert max(map(len, batches)) <= most
    assert min(map(len, batches)) >= 1


def test_a_picture_that_goes_changes_few_batches() -> None:
    """Of about 57: those up to the next cut, 4 of 8 pictures on average; without cuts half of all, 28 on average."""
    pictures = called(range(400))
    before = set(steady_batches(pictures, 8))
    assert 50 <= len(before) < 70, "batches are nearly full"
    changed = [len(set(steady_batches(pictures[:one] + pictures[one + 1 :], 8)) - before) for one in range(400)]
    assert sum(changed) / 400 < 6


def test_a_carried_picture_needs_no_file(tmp_path: Path) -> None:
    """As it lies: turned by its EXIF tag, with profile and transparency."""
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 4)).astype(np.uint8)
    exif, content = Image.Exif(), BytesIO()
    exif[0x0112] = 6
    Image.fromarray(values).save(content, "PNG", exif=exif, icc_profile=b"a profile")
    path = tmp_path / "me.png"
    path.write_bytes(content.getvalue())
    one = EditJob(id="me", path=path, name="me")
    carried, spec = one.with_bytes(), one.spec()
    path.unlink()
    picture = carried.open()
    assert (picture.path, picture.image.mode, picture.image.info["icc_profile"]) == (path, "RGBA", b"a profile")
    assert np.array_equal(np.asarray(picture.image), np.rot90(values, -1))
    with pytest.raises(ImageError, match="no such file"):
        one.open()
    with pytest.raises(ImageError, match="no such file"):
        one.with_bytes().open()
    assert spec["bytes"] == len(content.getvalue())
    assert (one.spec()["bytes"], one.spec()["sha256"]) == (None, None)
    assert str(tmp_path) not in str(spec)
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    pipe = EditJob(id="pipe", path=tmp_path / "pipe.png", name="pipe")
    assert pipe.spec()["bytes"] is None
    with pytest.raises(ImageError, match="no regular file"):
        pipe.open()
