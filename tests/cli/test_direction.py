"""``latentedit direction``: show, preview and compare."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentedit.editing.outputs import read_record
from latentedit.identification.direction import Direction
from tests.commands import FROM, Command, Ran


def test_a_stored_direction_is_shown(command: Command, ran: Ran, made: Callable[..., Path], tmp_path: Path) -> None:
    """Beside an image of the file's name."""
    place, direction = made("me"), Direction.load(made("me"))
    image = (tmp_path / "me.png").read_bytes()
    assert ran("direction", "preview", place) == f"{place} -> {tmp_path / 'me.preview.png'}\n"
    assert (tmp_path / "me.preview.png").read_bytes() == direction.preview
    assert (tmp_path / "me.png").read_bytes() == image
    assert command("direction", "preview", place, "--quiet", "-o", tmp_path / "p.png").out == ""
    facts = json.loads(ran("direction", "show", place, "--json"))
    assert (facts["direction"], facts["calibration"]["arm"]) == (direction.fingerprint, "image")


@pytest.mark.nightly
def test_a_preview_on_an_image_is_a_sweep(
    ran: Ran, made: Callable[..., Path], other: Path, miniature: Path, tmp_path: Path
) -> None:
    """Over the range of its calibration."""
    place = made("a")
    where = ("--on", other, "--source-prompt", FROM, "--model", miniature)
    ran("direction", "preview", place, *where)
    known = Direction.load(place).calibration
    assert known is not None
    strengths = read_record(tmp_path / "a.preview.png").strengths
    assert len(strengths) == 7
    assert strengths[0] == pytest.approx(max(known.lowest, -1), abs=0.006)
    assert strengths[-1] == pytest.approx(min(known.highest, 2), abs=0.006)


def test_directions_are_compared(command: Command, made: Callable[..., Path]) -> None:
    files = (made("a"), made("b", to="a person with no glasses, a smile"))
    facts = json.loads(command("direction", "compare", *files, "--json").out)
    a, b = (Direction.load(file).z.flatten().double() for file in files)
    assert facts["lengths"] == pytest.approx([float(a.norm()), float(b.norm())])
    cosine = float(a @ b / (a.norm() * b.norm()))
    assert np.array(facts["cosines"]) == pytest.approx(np.array([[1, cosine], [cosine, 1]]))
    talk = [[1, float(a @ b / (b @ b))], [float(a @ b / (a @ a)), 1]]
    assert np.array(facts["cross_talk"]) == pytest.approx(np.array(talk))
    assert f"{cosine:+.3f}" in command("direction", "compare", *files).out
