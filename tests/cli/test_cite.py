"""``latentedit cite``: BibTeX by names and by pictures."""

import json
from pathlib import Path

import pytest

from tests.commands import Command, Refused


def test_bibtex_by_names(command: Command, refused: Refused, picture: Path) -> None:
    out = command("cite", "loco").out
    assert out.startswith("@software{latentedit,\n")
    assert out.endswith("archivePrefix = {arXiv}\n}\n")
    assert out.count("\n\n@misc{") == 2
    assert command("cite", "chroma").out.startswith("% chroma: no paper is known to us")
    assert "did you mean 'flowedit'" in refused("cite", "flowedti")
    assert "carries no record" in refused("cite", picture)


@pytest.mark.slow
def test_bibtex_of_a_picture(command: Command, picture: Path, miniature: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited.png"
    words = ("--from", "a person with no glasses", "--to", "a person with glasses")
    assert command("edit", picture, *words, "--method", "sdedit", "--model", miniature, "-o", edited).code == 0
    told = json.loads(command("cite", edited, "--json").out)
    assert [entry["key"] for entry in told["entries"]] == ["latentedit", "meng2021sdedit"]
    assert told["entries"][1]["for"] == ["sdedit"]
    assert told["notes"] == [f"{miniature.name}: not known here; cite its model's card or its authors."]
