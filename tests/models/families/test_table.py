"""The table of families is what their tests find, and names every adapter."""

import json

import pytest

from latentedit.core.plugins import BACKBONES
from latentedit.models.families import MEASURED, families
from tests.models.families.table import PAGE, measured, page

AGAIN = "write it again: python -m tests.models.families.table"


@pytest.mark.nightly
def test_the_table_is_what_the_tests_find() -> None:
    assert json.loads(MEASURED.read_text()) == measured(), AGAIN
    assert PAGE.read_text() == page(families()), AGAIN


def test_every_registered_pipeline_has_a_family() -> None:
    found = families()
    named = [pipeline for one in found for pipeline in one.pipelines]
    assert sorted(named) == BACKBONES.names()
    assert all(one.lines > 0 and one.licence for one in found)
    ours = [one for one in found if one.module.startswith("latentedit.") and one.module != "latentedit.models.ddpm"]
    assert len(ours) >= 12
    for one in ours:
        assert one.members, f"{one.name} has no tests"
        assert {"parity", "edits"} <= {label for member in one.members for label in member.tested}
