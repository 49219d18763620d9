"""The command line in this process with a tiny model, and fixtures of its tests."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from latentedit.cli.program import run
from latentedit.identification.direction import Direction
from latentedit.numerics.block_lanczos import truncated_svd
from tests.commands import *  # noqa: F403
from tests.commands import FROM, TO
from tests.editors.edits import noise


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another image of the same size."""
    noise((56, 40), seed=6).save(tmp_path / "other.png")
    return tmp_path / "other.png"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """A mask of the left half."""
    image = Image.new("L", (56, 40), 255)
    image.paste(0, (28, 0, 56, 40))
    image.save(tmp_path / "a mask.png")
    return tmp_path / "a mask.png"


@pytest.fixture
def edited(image: Path, miniature: Path, tmp_path: Path, kept_files: dict[tuple[object, ...], bytes]) -> Path:
    """The edited image, computed once for all tests."""
    place, key = tmp_path / "me.edited.png", (image.read_bytes(), "edit")
    if key not in kept_files:
        wanted = ("--source-prompt", FROM, "--prompt", TO)
        options = ("--strength", "0.3", "--seed", "3", "--model", str(miniature), "--quiet")
        assert run(["edit", str(image), *wanted, *options]) == 0
        kept_files[key] = place.read_bytes()
        place.with_suffix(".json").unlink()
    place.write_bytes(kept_files[key])
    return place


@pytest.fixture
def folder(image: Path, other: Path, mask: Path, edited: Path, made: Callable[..., Path]) -> Iterator[Path]:
    """The working folder with all files that the command lines name."""
    with contextlib.chdir(image.parent):
        write_files(image, made)
        yield image.parent


def write_files(image: Path, made: Callable[..., Path]) -> None:
    direction = Direction.load(made("a"))
    feature, settings = torch.ones(1), {**direction.settings, "site": "clean"}
    found = dataclasses.replace(direction, feature=feature, settings=settings)
    found.save("found.safetensors")
    dataclasses.replace(found, model_name="foreign", model_fingerprint="x").save("foreign.safetensors")
    Path("text.safetensors").write_text("dear diary")
    Path("other.json").write_text('{"name": "a package"}')
    Path("empty.txt").write_text("\n \n")
    Path("link").symlink_to(image.parent)
    Path("copy.png").write_bytes(image.read_bytes())
    Image.open(image).convert("RGBA").save("clear.png")
    Path("empty").mkdir()
    Path("photos").mkdir()
    Path("photos/a.png").write_bytes(image.read_bytes())
    header, row = "image,source_caption,target_caption,mask\n", "photos/a.png,hat,cap,"
    Path("list.csv").write_text(f"{header}{row}\n")
    Path("masked.csv").write_text(f"{header}{row}a mask.png\n{row}\n")


@pytest.fixture
def short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most four products per local basis: those of untrained networks take hundreds to converge."""
    short = functools.partial(truncated_svd, most_products=4)
    for module in ("paths", "pullback"):
        monkeypatch.setattr(f"latentedit.geometry.{module}.truncated_svd", short)
