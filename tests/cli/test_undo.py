"""``latentedit undo``: from the file of an edit, or by a direction."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit.editing.undo import undo_direction
from latentedit.encoding.images import SourceImage
from latentedit.identification.direction import Direction
from latentedit.models.registry import load
from tests.commands import Command, Ran
from tests.editors.edits import gray


def levels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A gray image that no change clips."""
    gray(5, (56, 40)).save(tmp_path / "me.png")
    return tmp_path / "me.png"


def test_an_edit_is_undone_from_its_file_alone(
    command: Command, ran: Ran, edited: Path, image: Path, tmp_path: Path
) -> None:
    """Bit for bit, without the model, which is not bundled; a JPEG is reported as different."""
    assert (levels(edited) != levels(image)).mean() > 0.1
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    moved = shutil.move(edited, alone / "x.png")
    printed = ran("undo", moved)
    undone = alone / "x.undone.png"
    assert printed.splitlines()[0] == f"{moved} -> {undone}"
    assert np.array_equal(levels(undone), levels(image))
    assert sorted(place.name for place in alone.iterdir()) == ["x.png", "x.undone.png"]
    for name, same in (("o.png", True), ("o.jpg", False)):
        report = json.loads(command("undo", moved, "--json", "-o", tmp_path / name).out)
        assert report == {"image": str(moved), "output": str(tmp_path / name), "how": "file", "bit_for_bit": same}


@pytest.mark.slow
def test_an_image_without_its_original_is_undone_by_its_direction(
    command: Command, ran: Ran, edited: Path, made: Callable[..., Path], miniature: Path, tmp_path: Path
) -> None:
    direction = made("glasses")
    Image.open(edited).save(tmp_path / "plain.png")
    ran("undo", tmp_path / "plain.png", "--direction", direction, "--strength", 0.3, "--model", miniature)
    model = load(miniature, device="cpu")
    found = Direction.load(direction, model=model)
    expected = undo_direction(model, SourceImage.open(edited), found, strength=0.3)
    assert np.array_equal(levels(tmp_path / "plain.undone.png"), np.asarray(expected))
    assert not np.array_equal(levels(tmp_path / "plain.undone.png"), levels(edited))
    report = json.loads(command("undo", edited, "--direction", direction, "--model", miniature, "--json").out)
    assert report["how"] == "direction", "although the file contains the original"
