"""``latentedit sweep`` with a tiny model."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.commands import FROM, Ran


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
