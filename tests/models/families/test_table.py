"""The page of model families matches their tests and names every adapter."""

import pytest

from latentedit.core.plugins import BACKBONES
from latentedit.models.families import families
from tests.models.families.table import PAGE, measured, page


@pytest.mark.nightly
def test_the_page_matches_the_tests() -> None:
    found, tested = families(), measured()
    assert PAGE.read_text() == page(found, tested), "write it again: make docs-text"
    assert [one.name for one in found if not tested.keys() & {*one.adapters}] == ["DDPM in pixels"]


def test_every_registered_pipeline_has_a_family() -> None:
    assert sorted(network for one in families() for network in one.networks) == BACKBONES.names()
