"""The command line in this process, on a tiny model, and what its tests share."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentedit.cli.main import run
from latentedit.directions.direction import Direction
from tests.commands import *  # noqa: F403


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """An image of somebody else, of the same size."""
    values = np.random.default_rng(6).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "other.png")
    return tmp_path / "other.png"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """The left half of the image may change."""
    image = Image.new("L", (56, 40), 255)
    image.paste(0, (28, 0, 56, 40))
    image.save(tmp_path / "a mask.png")
    return tmp_path / "a mask.png"


@pytest.fixture
def edited(image: Path, miniature: Path, tmp_path: Path, kept_files: dict[tuple[object, ...], bytes]) -> Path:
    """The image, edited; made once for all tests."""
    place, key = tmp_path / "me.edited.png", (image.read_bytes(), "edit")
    if key not in kept_files:
        wanted = ("--source-prompt", "a person with no glasses", "--prompt", "a person with glasses")
        assert (
            run(
                [
                    "edit",
                    str(image),
                    *wanted,
                    "--strength",
                    "0.3",
                    "--seed",
                    "3",
                    "--model",
                    str(miniature),
                    "--quiet",
                ]
            )
            == 0
        )
        kept_files[key] = place.read_bytes()
        place.with_suffix(".json").unlink()
    place.write_bytes(kept_files[key])
    return place


@pytest.fixture
def folder(
    image: Path, other: Path, mask: Path, edited: Path, made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The working folder with all files that the command lines name."""
    folder = image.parent
    monkeypatch.chdir(folder)
    direction = Direction.load(made("a"))
    feature, settings = torch.ones(1), {**direction.settings, "site": "clean"}
    found = dataclasses.replace(direction, feature=feature, settings=settings)
    found.save("found.safetensors")
    dataclasses.replace(found, model_name="foreign", model_fingerprint="x").save("foreign.safetensors")
    Path("text.safetensors").write_text("dear diary")
    Path("other.json").write_text('{"name": "a package"}')
    Path("empty.txt").write_text("\n \n")
    Path("link").symlink_to(folder)
    Path("copy.png").write_bytes(image.read_bytes())
    Image.open(image).convert("RGBA").save("clear.png")
    Image.open(image).rotate(90, expand=True).save("tall.png")
    return folder
