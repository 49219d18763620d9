"""``latentedit undo``: from the file of an edit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
        assert report == {"image": str(moved), "output": str(tmp_path / name), "bit_for_bit": same}
