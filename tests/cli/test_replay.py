"""``latentedit replay``: the same file again, or in one line why not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentedit.api.outputs import read_record
from latentedit.cli.main import run
from latentedit.latents.record import FORMAT
from latentedit_keep.pictures import pack_chunks, read_chunks
from tests.cli.test_direction import HOSTILE, rewritten
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


@pytest.mark.nightly
def test_the_same_file_again(command: Command, edited: Path, miniature: Path, tmp_path: Path) -> None:
    outcome = command("replay", edited, "--model", miniature)
    assert outcome.code == 0, outcome.err
    again = tmp_path / "me.edited.again.png"
    assert outcome.out.splitlines() == [f"{edited} -> {again}", "  the same    yes, byte for byte"]
    assert again.read_bytes() == edited.read_bytes()
    names = sorted(place.name for place in tmp_path.iterdir())
    assert names == ["me.edited.again.json", "me.edited.again.png", "me.edited.png", "me.png"]


@pytest.mark.slow
def test_the_same_picture_from_another_encoder(command: Command, edited: Path, miniature: Path) -> None:
    """As the viewer saves it."""
    with Image.open(edited) as image:
        image.load()
        image.save(edited, compress_level=0, pnginfo=pack_chunks(*read_chunks(edited)))
    outcome = command("replay", edited, "--model", miniature)
    assert "yes, every pixel and what is said beside them" in outcome.out


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
def test_a_sheet_again(command: Command, picture: Path, miniature: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    arguments = (picture, "--from", FROM, "--to", TO, "--model", miniature, "--sheet", sheet)
    assert command("edit", *arguments).code == 0
    assert "yes, byte for byte" in command("replay", sheet, "--model", miniature).out


@pytest.mark.slow
def test_quiet_prints_nothing(command: Command, edited: Path, miniature: Path) -> None:
    outcome = command("replay", edited, "--model", miniature, "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


@pytest.mark.nightly
def test_the_bundled_model_is_known_by_its_name(command: Command, picture: Path, bundled: Path, tmp_path: Path) -> None:
    assert command("edit", picture, "--from", FROM, "--to", TO).code == 0
    assert "yes, byte for byte" in command("replay", tmp_path / "me.edited.png").out


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
def test_another_seed_is_another_picture(command: Command, edited: Path, miniature: Path) -> None:
    record = told(edited)
    direction = record["directions"][0]
    rewrite(edited, directions=[direction | {"settings": direction["settings"] | {"seed": 4}}])
    outcome = command("replay", edited, "--model", miniature)
    assert f"differs     direction 1 was {direction['fingerprint']}, is found as " in outcome.out
    assert "the same    no: " in outcome.out


@pytest.mark.slow
def test_directions_from_files_are_asked_for(
    command: Command, refused: Refused, made: Callable[..., Path], other: Path, miniature: Path
) -> None:
    files = (made("a"), made("b", to="a person with no glasses, a smile"))
    arguments = ("--on", other, "--from", FROM, "--model", miniature)
    assert command("direction", "apply", *files, *arguments).code == 0
    result = other.with_name("other.edited.png")
    wanted = [direction["fingerprint"] for direction in told(result)["directions"]]
    found = refused("replay", result, "--model", miniature)
    assert wanted[0] in found
    assert "--direction" in found
    assert wanted[1] in refused("replay", result, "--direction", files[0], "--model", miniature)
    given = ("--direction", files[1], "--direction", files[0])
    assert "byte for byte" in command("replay", result, *given, "--model", miniature).out


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_directions(
    refused: Refused, edited: Path, made: Callable[..., Path], miniature: Path, case: str
) -> None:
    place = made("a")
    rewritten(place, case)
    assert place.name in refused("replay", edited, "--direction", place, "--model", miniature)


def test_a_model_that_is_not_bundled_has_to_be_named(
    refused: Refused, edited: Path, bundled: Path, miniature: Path
) -> None:
    assert "the record names 'miniature', which is no bundled model" in refused("replay", edited)
    for name in ("org/name", str(miniature), "../miniature"):
        rewrite(edited, model=told(edited)["model"] | {"name": name})
        assert "with --model" in refused("replay", edited)


def test_nothing_that_is_read_is_overwritten(
    refused: Refused, edited: Path, picture: Path, mask: Path, miniature: Path, tmp_path: Path
) -> None:
    for place in (edited, picture, mask):
        found = refused("replay", edited, "--mask", mask, "--model", miniature, "-o", place)
        assert "another name" in found
    (tmp_path / "x.json").write_text("[]")
    assert "holds something else" in refused("replay", edited, "--model", miniature, "-o", tmp_path / "x.png")


def test_pictures_without_a_record(refused: Refused, picture: Path, miniature: Path, tmp_path: Path) -> None:
    assert "Only pictures that latentedit wrote" in refused("replay", picture, "--model", miniature)
    Image.open(picture).save(tmp_path / "x.jpg")
    assert "x.json does not lie beside it" in refused("replay", tmp_path / "x.jpg", "--model", miniature)
    (tmp_path / "x.json").write_text('{"name": "a package"}')
    assert "no record in" in refused("replay", tmp_path / "x.jpg", "--model", miniature)
    for name in (".", "/", "", "no.png"):
        refused("replay", name, "--model", miniature)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": FORMAT + 1}, "newer latentedit"),
        ({"surprise": 1}, "'surprise'"),
        ({"seed": "x"}, "'seed'"),
        ({"strengths": []}, "'strengths'"),
        ({"method": "undo", "directions": []}, "undo"),
        ({"settings": {"arm": "left"}}, "arm"),
        ({"mixing": "blend"}, "'mixing'"),
        ({"output": "song"}, "'output'"),
        ({"output": "sweep", "strengths": [0.5]}, None),
        ({"model": {"dtype": "int8"}}, "unknown dtype"),
        ({"model": {"dtype": "load"}}, "unknown dtype"),
        ({"model": {"device": "gpu7"}}, "gpu7"),
        ({"model": {"device": "cuda:99"}}, "cuda"),
        ({"picture": {"name": "../../me.png"}}, None),
        ({"picture": {"name": "x" * 5000}}, "--picture"),
        ({"picture": {"name": "\0"}}, "--picture"),
        ({"picture": {"name": ".."}}, "--picture"),
        ({"picture": {"name": ""}}, "--picture"),
        ({"picture": {"name": "me.edited.png"}}, "--picture"),
    ],
)
def test_records_that_make_no_sense(
    refused: Refused,
    command: Command,
    edited: Path,
    miniature: Path,
    changes: dict[str, Any],
    words: str | None,
) -> None:
    """A name leads nowhere but beside the file."""
    known = told(edited)
    parts = {name: known[name] | changes[name] for name in changes.keys() & {"model", "picture"}}
    rewrite(edited, **(changes | parts))
    if words is None:
        assert command("replay", edited, "--model", miniature).code == 0
    else:
        assert words in refused("replay", edited, "--model", miniature)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "o.gif"), "o.gif"),
        (("-o", "no/o.png"), "does not exist. Create it"),
        (("-o", "."), "has no ending"),
        (("--picture", "no.png"), "no such file"),
        (("--direction", "no.safetensors"), "no such file"),
        (("--device", "gpu7"), "gpu7"),
        (("--edited", "me.png"), "--edited cannot be used here: the result is none of keep"),
    ],
)
def test_wrong_input_is_one_line(
    refused: Refused,
    edited: Path,
    miniature: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, str],
    words: str,
) -> None:
    monkeypatch.chdir(edited.parent)
    assert words in refused("replay", edited, *arguments, "--model", miniature)


@pytest.mark.usefixtures("edited", "unloaded")
@pytest.mark.parametrize("arguments", [("-o", "no/o.png"), ("-o", "me.png"), ("-o", "x.png"), ("--picture", "no.png")])
def test_places_are_checked_before_the_model_is_loaded(
    command: Command, miniature: Path, tmp_path: Path, arguments: tuple[str, str]
) -> None:
    (tmp_path / "x.json").write_text("[]")
    asked = ("replay", tmp_path / "me.edited.png", "--model", miniature)
    assert command(*asked, arguments[0], tmp_path / arguments[1]).code == 2
    with pytest.raises(AssertionError, match="loaded"):
        command(*asked)
