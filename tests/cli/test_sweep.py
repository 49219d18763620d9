"""``latentedit sweep`` with a tiny model."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.commands import FROM, Ran

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize("strengths", ["0,0.5", "0.5,0,1,0.7"])
def test_a_sweep_reports_the_cost_and_the_notes_of_all_its_results(
    strengths: str, ran: Ran, image: Path, miniature: Path
) -> None:
    request = ("--source-prompt", FROM, "--change", "no glasses => glasses", "--model", miniature)
    facts = json.loads(ran("sweep", image, *request, "--strengths", strengths, "--json"))
    each = json.loads(image.with_name("me.sweep.json").read_text())["results"]
    for name in ("evaluations", "verdict_evaluations", "guard_evaluations", "seconds"):
        total = sum(one["cost"][name] for one in each)
        assert facts["cost"][name] == pytest.approx(total, abs=1e-6), "the sum is rounded to that"
    assert facts["cost"]["peak_bytes"] == max(one["cost"]["peak_bytes"] for one in each)
    assert {note for one in each for note in one["notes"]} < {*facts["notes"]}, "and those of captions"
    assert " ".join(facts["notes"]).count("off or on") == 1
