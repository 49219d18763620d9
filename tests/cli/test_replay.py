"""``latentedit replay``: the same file again, or the differences."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentedit.editing.outputs import read_record
from latentedit_keep.base.saving import pack_chunks, read_chunks
from tests.commands import Command, Ran, Refused

FROM, TO = "a person with no glasses", "a person with glasses"


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
@pytest.mark.parametrize(("name", "method"), [("o.png", "eim"), ("o.jpg", "flowedit"), ("o.webp", "sdedit")])
def test_every_format_and_method_is_replayed(
    command: Command, image: Path, miniature: Path, tmp_path: Path, name: str, method: str
) -> None:
    texts = ("--source-prompt", FROM, "--prompt", TO)
    arguments = (image, *texts, "--method", method, "--strength", 0.5, "--model", miniature)
    assert command("edit", *arguments, "-o", tmp_path / name).code == 0
    assert report(command, tmp_path / name, miniature, "-o", tmp_path / f"again{name}") == {
        "result": str(tmp_path / name),
        "output": str(tmp_path / f"again{name}"),
        "same": True,
        "differences": [],
    }


@pytest.mark.nightly
def test_the_image_is_looked_up_next_to_the_result_and_in_the_current_folder(
    command: Command, refused: Refused, edited: Path, image: Path, miniature: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    image.rename(elsewhere / "me.png")
    assert "me.png" in refused("replay", edited, "--model", miniature)
    with contextlib.chdir(elsewhere):
        assert report(command, edited, miniature)["same"]
    (elsewhere / "me.png").rename(elsewhere / "other.png")
    assert report(command, edited, miniature, "--image", elsewhere / "other.png")["same"]


@pytest.mark.nightly
def test_changes_of_a_file_are_reported(command: Command, edited: Path, miniature: Path, tmp_path: Path) -> None:
    rewrite(edited, versions={**recorded(edited)["versions"], "torch": "0.1"})
    found = report(command, edited, miniature)
    assert not found["same"]
    assert "torch" in found["differences"][0]
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


@pytest.mark.slow
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


def test_only_bundled_models_are_loaded_by_name(refused: Refused, edited: Path, bundled: Path, miniature: Path) -> None:
    for name in ("org/name", str(miniature), "../miniature"):
        rewrite(edited, model=recorded(edited)["model"] | {"name": name})
        assert "with --model" in refused("replay", edited)


@pytest.mark.parametrize("name", ["../../me.png", "x" * 5000, "\0", "..", "", "me.edited.png"])
def test_file_names_in_records_are_looked_up_only_next_to_the_file(
    refused: Refused, command: Command, edited: Path, miniature: Path, name: str
) -> None:
    rewrite(edited, image=recorded(edited)["image"] | {"name": name})
    if name.endswith("/me.png"):
        assert command("replay", edited, "--model", miniature).code == 0
    else:
        assert "--image" in refused("replay", edited, "--model", miniature)
