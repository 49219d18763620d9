"""The page of families is what their tests find, and names every adapter."""

import pytest

from latentedit.core.plugins import BACKBONES
from latentedit.models.families import families
from tests.models.families.table import PAGE, contracts, measured, page


@pytest.mark.nightly
def test_the_page_is_what_the_tests_find() -> None:
    assert PAGE.read_text() == page(families(), measured()), "write it again: python -m tests.models.families.table"


def test_every_registered_pipeline_has_a_family_and_a_test_module() -> None:
    found = families()
    assert sorted(pipeline for one in found for pipeline in one.pipelines) == BACKBONES.names()
    ours = {one.module.rpartition(".")[2] for one in found if one.module.startswith("latentedit.")} - {"ddpm"}
    assert ours <= {one.__module__.rpartition(".test_")[2] for one in contracts()}
