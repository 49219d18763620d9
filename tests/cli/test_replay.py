"""``latentedit replay``: the same file again, or in one line why not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentedit.cli.main import run
from latentedit.editing.outputs import read_record
from latentedit_keep.pictures import pack_chunks, read_chunks
from tests.commands import Command, Refused

FROM, TO = "a person with no glasses", "a person with glasses"


@pytest.fixture
def edited(picture: Path, miniature: Path, tmp_path: Path, kept_files: dict[tuple[object, ...], bytes]) -> Path:
    place, asked = tmp_path / "me.edited.png", (picture.read_bytes(), "edit")
    if asked not in kept_files:
        arguments = (picture, "--from", FROM, "--to", TO, "--seed", 3, "--model", miniature, "--quiet")
        assert run([str(item) for item in ("edit", *arguments)]) == 0
        kept_files[asked] = place.read_bytes()
        place.with_suffix(".json").unlink()
    place.write_bytes(kept_files[asked])
    return place


def rewrite(path: Path, **changes: Any) -> None:
    """The same picture with another record."""
    text, payload = read_chunks(path)
    assert text is not None
    told = json.dumps(json.loads(text) | changes, separators=(",", ":"))
    with Image.open(path) as image:
        image.load()
        image.save(path, format="PNG", pnginfo=pack_chunks(told, payload))


def told(path: Path) -> dict[str, Any]:
    return json.loads(read_record(path).to_json())


@pytest.mark.slow
def test_the_same_file_again(command: Command, edited: Path, miniature: Path, tmp_path: Path) -> None:
    outcome = command("replay", edited, "--model", miniature)
    assert outcome.code == 0, outcome.err
    again = tmp_path / "me.edited.again.png"
    assert outcome.out.splitlines() == [f"{edited} -> {again}", "  the same    yes, byte for byte"]
    assert again.read_bytes() == edited.read_bytes()
    names = sorted(place.name for place in tmp_path.iterdir())
    assert names == ["me.edited.again.json", "me.edited.again.png", "me.edited.png", "me.png"]
    with Image.open(edited) as image:
        image.load()
        image.save(edited, compress_level=0, pnginfo=pack_chunks(*read_chunks(edited)))
    outcome = command("replay", edited, "--model", miniature)
    assert "yes, every pixel and what is said beside them" in outcome.out, "from another encoder, as the viewer's"


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "method"), [("o.png", "eim"), ("o.jpg", "flowedit"), ("o.webp", "sdedit")])
def test_every_format_and_method(
    command: Command, picture: Path, miniature: Path, tmp_path: Path, name: str, method: str
) -> None:
    arguments = (picture, "--from", FROM, "--to", TO, "--method", method, "--strength", 0.5, "--model", miniature)
    assert command("edit", *arguments, "-o", tmp_path / name).code == 0
    outcome = command("replay", tmp_path / name, "--model", miniature, "--json", "-o", tmp_path / f"again{name}")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out) == {
        "result": str(tmp_path / name),
        "output": str(tmp_path / f"again{name}"),
        "same": True,
        "differences": [],
    }


@pytest.mark.nightly
def test_the_picture_is_looked_for_beside_the_result_and_here(
    command: Command,
    refused: Refused,
    edited: Path,
    picture: Path,
    miniature: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    picture.rename(elsewhere / "me.png")
    assert "the picture me.png does not lie beside" in refused("replay", edited, "--model", miniature)
    monkeypatch.chdir(elsewhere)
    assert "byte for byte" in command("replay", edited, "--model", miniature).out
    monkeypatch.chdir(tmp_path)
    (elsewhere / "me.png").rename(elsewhere / "other.png")
    outcome = command("replay", edited, "--picture", elsewhere / "other.png", "--model", miniature)
    assert "byte for byte" in outcome.out


@pytest.mark.nightly
def test_a_file_that_was_changed_is_not_the_same(
    command: Command, edited: Path, miniature: Path, tmp_path: Path
) -> None:
    rewrite(edited, versions={**told(edited)["versions"], "torch": "0.1"})
    outcome = command("replay", edited, "--model", miniature)
    assert "every pixel; what the file says beside them differs" in outcome.out
    assert "differs     torch was 0.1, is " in outcome.out
    text, payload = read_chunks(edited)
    pixels = np.array(Image.open(edited))
    pixels[0, 0] ^= 128
    Image.fromarray(pixels).save(edited, pnginfo=pack_chunks(text, payload))
    outcome = command("replay", edited, "--model", miniature)
    assert "no: 0.04 % of the pixels differ by more than 8 of 255 levels, the rest agrees to" in outcome.out
    Image.fromarray(pixels[:30]).save(edited, pnginfo=pack_chunks(text, payload))
    outcome = command("replay", edited, "--model", miniature)
    assert "no: 56x30 pixels against 56x40" in outcome.out


@pytest.mark.slow
def test_directions_from_files_are_asked_for(
    command: Command, refused: Refused, made: Callable[..., Path], other: Path, miniature: Path
) -> None:
    files = (made("a"), made("b", to="a person with no glasses, a smile"))
    arguments = ("--direction", files[0], "--direction", files[1], "--from", FROM, "--model", miniature)
    assert command("edit", other, *arguments).code == 0
    result = other.with_name("other.edited.png")
    wanted = [direction["fingerprint"] for direction in told(result)["directions"]]
    found = refused("replay", result, "--model", miniature)
    assert wanted[0] in found
    assert "--direction" in found
    assert wanted[1] in refused("replay", result, "--direction", files[0], "--model", miniature)
    given = ("--direction", files[1], "--direction", files[0])
    assert "byte for byte" in command("replay", result, *given, "--model", miniature).out


def test_a_model_that_is_not_bundled_has_to_be_named(
    refused: Refused, edited: Path, bundled: Path, miniature: Path
) -> None:
    assert "the record names 'miniature', which is no bundled model" in refused("replay", edited)
    for name in ("org/name", str(miniature), "../miniature"):
        rewrite(edited, model=told(edited)["model"] | {"name": name})
        assert "with --model" in refused("replay", edited)


@pytest.mark.usefixtures("mask", "other")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("me.png",), "Only pictures that latentedit wrote"),
        (("no.png",), "no such file"),
        (("-o", "no/o.png"), "does not exist"),
        (("-o", "x.png"), "holds something else"),
        (("-o", "me.png"), "another name"),
        (("-o", "me.edited.png"), "another name"),
        (("--mask", "a mask.png", "-o", "a mask.png"), "another name"),
        (("--picture", "no.png"), "no such file"),
        (("--direction", "no.safetensors"), "no such file"),
        (("--edited", "me.png"), "--edited cannot be used here"),
        (("--device", "gpu7"), "gpu7"),
    ],
)
def test_wrong_input_is_refused(
    refused: Refused,
    edited: Path,
    miniature: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(edited.parent)
    Path("x.json").write_text("[]")
    result = () if arguments[0].endswith(".png") else (edited,)
    assert words in refused("replay", *result, *arguments, "--model", miniature)
    assert Path("x.json").read_text() == "[]"


@pytest.mark.parametrize("name", ["../../me.png", "x" * 5000, "\0", "..", "", "me.edited.png"])
def test_a_name_in_a_record_leads_nowhere_but_beside_the_file(
    refused: Refused, command: Command, edited: Path, miniature: Path, name: str
) -> None:
    rewrite(edited, picture=told(edited)["picture"] | {"name": name})
    if name.endswith("/me.png"):
        assert command("replay", edited, "--model", miniature).code == 0
    else:
        assert "--picture" in refused("replay", edited, "--model", miniature)
