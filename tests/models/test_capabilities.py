import pytest

from latentedit.models.capabilities import Capabilities, GuidanceKind


@pytest.mark.parametrize(("kind", "branches"), [("cfg", 2), ("renormalised", 2), ("embedded", 1), ("none", 1)])
def test_guidance_takes_a_second_branch_where_the_network_knows_one(kind: GuidanceKind, branches: int) -> None:
    known = Capabilities(guidance_kind=kind)
    assert known.branches(1.0) == 1
    assert known.branches(0.0) == known.branches(3.5) == branches
