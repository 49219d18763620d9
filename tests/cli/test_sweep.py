"""``latentedit sweep`` with a tiny model: sheet and animation, and printed values."""

import json
from pathlib import Path

import pytest
from PIL import Image

from latentedit.editing.outputs import read_record
from tests.commands import Ran

FROM, TO = "a person with no glasses", "a person with glasses"


@pytest.fixture
def arguments(image: Path, miniature: Path) -> list[object]:
    return ["sweep", image, "--source-prompt", FROM, "--prompt", TO, "--model", miniature, "--device", "cpu"]


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "method"), [("out.png", "eim"), ("out.jpg", "eim"), ("out.html", "flowslider")])
def test_a_sweep_is_replayed(ran: Ran, arguments: list[object], tmp_path: Path, name: str, method: str) -> None:
    printed = ran(*arguments, "--method", method, "--strengths=-1:1:3", "--seed", 3, "-o", tmp_path / name)
    assert {"-1.00", "0.00", "1.00"} <= {line.split()[0] for line in printed.splitlines()}
    record = read_record(tmp_path / name)
    assert (record.output, record.recipe.method, record.strengths) == ("sweep", method, (-1.0, 0.0, 1.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.png", *sorted({"out.json", name})]
    assert "yes, byte for byte" in ran("replay", tmp_path / name, "--model", arguments[-3])


@pytest.mark.slow
def test_a_sweep_takes_changes_and_a_mask(ran: Ran, image: Path, mask: Path, miniature: Path) -> None:
    """Several changes of a sweep are one direction."""
    changes = ("--change", "no glasses => glasses", "--change", "=> a smile")
    where = ("--mask", mask, "--no-auto-mask", "--model", miniature)
    facts = json.loads(ran("sweep", image, "--source-prompt", FROM, *changes, *where, "--strengths", "0,1", "--json"))
    assert facts["target"] == "a person with glasses, a smile"
    assert len(facts["record"]["directions"]) == 1
    assert facts["record"]["recipe"]["auto_mask"] is False
    assert facts["record"]["image"]["mask"] is not None
    assert [row["strength"] for row in facts["strengths"]] == [0.0, 1.0]
    assert facts["strengths"][0]["verdict"]["share"] == 0
    assert facts["output"] == str(image.with_name("me.sweep.png"))
    assert Image.open(facts["output"]).width > 2 * 56
