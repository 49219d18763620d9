"""``--instruction`` on the command line, with folders written by diffusers."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import Ran
from tests.editing.test_instructed import FAMILIES, HAT, SETTINGS, flat_photo

KEPT = "keep the image the same (instructed)"


def written(tmp_path: Path) -> tuple[Path, Path]:
    """A model folder and an image."""
    folder, image = tmp_path / "model", tmp_path / "me.png"
    FAMILIES["kontext"]().save_pretrained(folder)
    (folder / "latentedit.json").write_text(json.dumps(SETTINGS))
    flat_photo().save(image)
    return folder, image


@pytest.mark.nightly
def test_commands_take_instructions(tmp_path: Path, ran: Ran) -> None:
    """Edit, sweep, direction, replay and undo; and captions as before."""
    folder, image = written(tmp_path)

    def run(*words: object) -> str:
        return ran(*words, "--model", folder)

    out, hat = tmp_path / "hat.png", tmp_path / "hat.safetensors"
    assert KEPT in run("edit", image, "--instruction", HAT, "-o", out)
    run("replay", out, "-o", tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == out.read_bytes()
    run("undo", out, "-o", tmp_path / "undone.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "undone.png")), np.asarray(flat_photo()))
    run("sweep", image, "--instruction", HAT, "--strengths", "0,1", "-o", tmp_path / "sweep.png")
    run("direction", "make", image, "--instruction", HAT, "-o", hat)
    run("edit", image, "--direction", hat, "-o", tmp_path / "applied.png")
    run("edit", image, "--source-prompt", "a wall", "--change", "=> a hat", "-o", tmp_path / "captioned.png")
