"""Directions without words on the command line: kept in a file, put on a picture, and made again from the record."""

import json
from pathlib import Path

from latentedit.api.outputs import read_record
from latentedit.api.verbs import load
from latentedit.directions.at_level import random_direction
from latentedit.directions.direction_file import save_direction
from latentedit.latents.encode import encode
from tests.commands import Command

CAPTION = "a person with no glasses"


def test_a_direction_at_a_level_is_applied_and_replayed(
    command: Command, picture: Path, miniature: Path, tmp_path: Path
) -> None:
    latent = encode(load(str(miniature), device="cpu"), picture, caption=CAPTION)
    for index in range(2):
        direction = random_direction(latent, level=0.5, steps=4, step=8.0, seed=0, index=index)
        save_direction(direction, tmp_path / f"{index}.safetensors")
    files, out = [tmp_path / f"{index}.safetensors" for index in range(2)], tmp_path / "out.png"
    asked = ("--on", picture, "--from", CAPTION, "--model", miniature, "-o", out, "--json")
    outcome = command("direction", "apply", *files, *asked, "--strength", 0.6, "--strength", -0.3)
    assert outcome.code == 0, outcome.err
    record = read_record(out)
    assert record.settings == {"arm": "joint", "level": 0.5, "steps": 4}
    assert [told.given for told in record.directions] == [True, True]
    again = command(
        "replay",
        out,
        *(part for file in files for part in ("--direction", file)),
        *("--model", miniature, "-o", tmp_path / "again.png", "--json"),
    )
    assert again.code == 0, again.err
    assert json.loads(again.out)["same"] is True
