"""``latentedit replay``: the same file again, or the differences."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentedit.editing.outputs import read_record
from latentedit.photo.saving import pack_chunks, read_chunks
from tests.commands import FROM, Command, Ran, Refused


def rewrite(path: Path, **changes: Any) -> None:
    """Change fields of an image's record."""
    text, payload = read_chunks(path)
    assert text is not None
    printed = json.dumps(json.loads(text) | changes, separators=(",", ":"))
    with Image.open(path) as image:
        image.load()
        image.save(path, format="PNG", pnginfo=pack_chunks(printed, payload))


def recorded(path: Path) -> dict[str, Any]:
    return json.loads(read_record(path).to_json())


def report(command: Command, result: Path, model: Path, *more: object) -> dict[str, Any]:
    outcome = command("replay", result, "--model", model, "--json", *more)
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


@pytest.mark.slow
def test_replay_writes_the_same_file(command: Command, ran: Ran, edited: Path, miniature: Path, tmp_path: Path) -> None:
    printed = ran("replay", edited, "--model", miniature)
    again = tmp_path / "me.edited.again.png"
    assert printed.splitlines()[0] == f"{edited} -> {again}"
    assert again.read_bytes() == edited.read_bytes()
    names = sorted(place.name for place in tmp_path.iterdir())
    assert names == ["me.edited.again.json", "me.edited.again.png", "me.edited.png", "me.png"]
    with Image.open(edited) as image:
        image.load()
        image.save(edited, compress_level=0, pnginfo=pack_chunks(*read_chunks(edited)))
    assert not report(command, edited, miniature)["same"], "written by another encoder, like the viewer's"
    assert "pixels and metadata identical" in command("replay", edited, "--model", miniature).out


@pytest.mark.nightly
def test_changes_of_a_file_are_reported(command: Command, edited: Path, miniature: Path, tmp_path: Path) -> None:
    rewrite(edited, versions={**recorded(edited)["versions"], "torch": "0.1"})
    assert "torch" in report(command, edited, miniature)["differences"][0]
    assert "metadata differs" in command("replay", edited, "--model", miniature).out
    text, payload = read_chunks(edited)
    pixels = np.array(Image.open(edited))
    pixels[0, 0] ^= 128
    Image.fromarray(pixels).save(edited, pnginfo=pack_chunks(text, payload))
    outcome = command("replay", edited, "--model", miniature)
    assert "0.04 % of the pixels" in outcome.out
    Image.fromarray(pixels[:30]).save(edited, pnginfo=pack_chunks(text, payload))
    outcome = command("replay", edited, "--model", miniature)
    assert "56x30 pixels against 56x40" in outcome.out


def test_directions_from_files_are_required(
    command: Command, refused: Refused, made: Callable[..., Path], other: Path, miniature: Path
) -> None:
    files = (made("a"), made("b", to="a person with no glasses, a smile"))
    arguments = ("--direction", files[0], "--direction", files[1], "--source-prompt", FROM, "--model", miniature)
    assert command("edit", other, *arguments).code == 0
    result = other.with_name("other.edited.png")
    wanted = [direction["fingerprint"] for direction in recorded(result)["directions"]]
    assert wanted[0] in refused("replay", result, "--model", miniature)
    assert wanted[1] in refused("replay", result, "--direction", files[0], "--model", miniature)
    given = ("--direction", files[1], "--direction", files[0])
    assert report(command, result, miniature, *given)["same"]


@pytest.mark.parametrize("name", ["../../me.png", "x" * 5000, "\0", "..", "", "me.edited.png"])
def test_file_names_in_records_are_looked_up_only_next_to_the_file(
    refused: Refused, command: Command, edited: Path, miniature: Path, name: str
) -> None:
    rewrite(edited, image=recorded(edited)["image"] | {"name": name})
    if name.endswith("/me.png"):
        assert command("replay", edited, "--model", miniature).code == 0
    else:
        assert "--image" in refused("replay", edited, "--model", miniature)
