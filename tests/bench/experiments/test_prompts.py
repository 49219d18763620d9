import pytest

from latentedit_bench.domains.base import differences
from latentedit_bench.experiments.prompts import graded
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.domain import PORTRAITS


@pytest.mark.slow
def test_prompts_differ_from_the_picture_in_exactly_so_many_attributes() -> None:
    """Each scene has draws of its own, and each seed."""
    for own in draw_split("test", 12, 3):
        found = graded(PORTRAITS, own, (0, 1, 4, 12), seed=2)
        assert found[0] == own
        assert [len(differences(PORTRAITS, one, own)) for one in found] == [0, 1, 4, 12]
        assert found == graded(PORTRAITS, own, (0, 1, 4, 12), seed=2)
        assert found[1:] != graded(PORTRAITS, own, (0, 1, 4, 12), seed=3)[1:]
