"""Record and payload come back as they were put in, and no hostile file gets far."""

import contextlib
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from latentedit.core.errors import ImageError, OutputError
from latentedit.core.files import pictures
from latentedit.core.files.pictures import MAX_RECORD_BYTES, pack_chunks, read_chunks, read_image, save_image
from tests.core.files.test_pictures import chunk, gradient, png_header

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def itxt(text: bytes, keyword: bytes = b"latentedit") -> bytes:
    return chunk(b"iTXt", keyword + b"\0\x01\0\0\0" + zlib.compress(text))


def with_chunks(*chunks: bytes) -> bytes:
    """A small PNG with chunks between its header, which ends at byte 33, and its pixels."""
    plain = png_header(3, 2)
    return plain[:33] + b"".join(chunks) + plain[33:]


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and body of every chunk, by the grammar of the PNG specification, checksums checked."""
    found, place = [], 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length) == (zlib.crc32(kind + body),)
        found.append((kind, body))
        place += 12 + length
    return found


@given(record=st.none() | TEXTS, payload=st.none() | st.binary())
def test_what_is_saved_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, record: str | None, payload: bytes | None
) -> None:
    place = tmp_path_factory.getbasetemp() / "carrying.png"
    save_image(gradient(), place, record=record, payload=payload)
    assert read_chunks(place) == (record, payload)
    assert type(read_chunks(place)[0]) in (str, type(None))
    assert np.array_equal(read_image(place), gradient())


def test_the_chunks_are_what_the_specification_says(tmp_path: Path) -> None:
    save_image(gradient(), tmp_path / "out.png", record='{"a": "é"}', payload=b"\0\xff")
    found = chunks_of((tmp_path / "out.png").read_bytes())
    assert [kind for kind, _ in found] == [b"IHDR", b"iTXt", b"leDt", b"IDAT", b"IEND"]
    head, text = found[1][1][:15], found[1][1][15:]
    assert head == b"latentedit\0\x01\0\0\0"  # compressed, by the one method there is; no language, no translation
    assert zlib.decompress(text) == '{"a": "é"}'.encode()
    assert found[2][1] == b"\0\xff"


def test_without_a_record_the_file_is_pillows_own(tmp_path: Path) -> None:
    save_image(gradient(), tmp_path / "ours.png")
    gradient().save(tmp_path / "plain.png")
    assert (tmp_path / "ours.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
    assert pack_chunks(None, None).chunks == []
    assert read_chunks(tmp_path / "ours.png") == (None, None)


def test_the_same_record_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, record in (("a", "one"), ("b", "one"), ("c", "two")):
        save_image(gradient(), tmp_path / f"{name}.png", record=record, payload=b"x")
    first, second, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == second != other


@pytest.mark.parametrize("ending", ["jpg", "webp", "tiff", "bmp"])
def test_other_formats_carry_nothing(tmp_path: Path, ending: str) -> None:
    save_image(gradient(), tmp_path / f"a.{ending}")
    save_image(gradient(), tmp_path / f"b.{ending}", record="x" * (MAX_RECORD_BYTES + 1), payload=b"x")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    assert read_chunks(tmp_path / f"b.{ending}") == (None, None)


def test_pixels_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_image(gradient(), tmp_path / "me.png", record="r", payload=b"p")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert read_chunks(str(tmp_path / "me.png")) == ("r", b"p")


def test_a_record_does_not_go_over_to_the_next_picture(tmp_path: Path) -> None:
    save_image(gradient(), tmp_path / "first.png", record="r", payload=b"p")
    save_image(read_image(tmp_path / "first.png"), tmp_path / "second.png")
    assert read_chunks(tmp_path / "second.png") == (None, None)


def test_texts_of_others_are_no_record(tmp_path: Path) -> None:
    (tmp_path / "me.png").write_bytes(with_chunks(itxt(b"t", b"Comment"), chunk(b"leDx", b"p")))
    assert read_chunks(tmp_path / "me.png") == (None, None)


def test_the_longest_that_is_written_is_read_and_what_is_longer_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_PAYLOAD_BYTES", 1000)
    longest, payload = "é" * (MAX_RECORD_BYTES // 2), bytes(1000)
    save_image(gradient(), tmp_path / "out.png", record=longest, payload=payload)
    assert read_chunks(tmp_path / "out.png") == (longest, payload)
    for refused, words in (
        ({"record": longest + "x"}, "record has 1000001 bytes"),
        ({"payload": bytes(1001)}, "payload has 1001 bytes"),
    ):
        with pytest.raises(OutputError, match=words):
            save_image(gradient(), tmp_path / "other.png", **refused)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    monkeypatch.setattr(pictures, "MAX_PAYLOAD_BYTES", 999)
    with pytest.raises(ImageError, match=r"out\.png has 1000 bytes in its leDt chunk, where 999"):
        read_chunks(tmp_path / "out.png")


HOSTILE: dict[str, Callable[[], bytes]] = {
    "text that expands a thousandfold": lambda: with_chunks(itxt(bytes(200_000_000))),
    "a hundred texts of 1 MB": lambda: with_chunks(*[itxt(bytes(1_000_000), b"t%d" % index) for index in range(100)]),
    "colour profile that expands": lambda: with_chunks(chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(50_000_000)))),
    "chunk that claims 2 GB": lambda: with_chunks()[:33] + struct.pack(">I", 2**31 - 1) + b"leDt" + b"short",
    "record that was changed": lambda: with_chunks(itxt(b"good").replace(b"latentedit", b"latentediT")),
    "payload that was changed": lambda: with_chunks(chunk(b"leDt", b"good").replace(b"good", b"evil")),
    "900 megapixels": lambda: png_header(30000, 30000),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_one_line_and_little_memory(tmp_path: Path, case: str) -> None:
    (tmp_path / "bad.png").write_bytes(HOSTILE[case]())
    tracemalloc.start()  # what Python objects take: a bomb unfolds into one
    try:
        with pytest.raises(ImageError) as caught:
            read_chunks(tmp_path / "bad.png")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "bad.png" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peak_bytes < 100_000_000


@pytest.mark.parametrize(
    "body",
    [b"", b"latentedit", b"latentedit\0", b"latentedit\0\x01\0\0\0broken", b"latentedit\0\0\0\0\0\xff", b"\0\0\0\0\0t"],
)
def test_text_that_is_none_is_no_record(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "odd.png").write_bytes(with_chunks(chunk(b"iTXt", body)))
    assert read_chunks(tmp_path / "odd.png") == (None, None)


@given(junk=st.binary(max_size=60), place=st.integers(8, 150))
def test_a_file_with_junk_in_it_is_refused_or_says_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, place: int
) -> None:
    data = with_chunks(itxt(b"record"), chunk(b"leDt", b"payload"))
    file = tmp_path_factory.getbasetemp() / "junk.png"
    file.write_bytes(data[:place] + junk + data[place + len(junk) :])
    with contextlib.suppress(ImageError):
        record, payload = read_chunks(file)
        assert record in (None, "record")
        assert payload in (None, b"payload")
