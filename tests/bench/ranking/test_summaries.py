"""Everything that follows from rows, against numbers that are known."""

import numpy as np
import pandas as pd
import pytest

from latentedit.core.errors import ConfigError
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.ranking import COMPARED
from latentedit_bench.ranking.summaries import Summaries, is_ranked
from latentedit_bench.tuning.search_spaces import Roles
from tests.bench.report.report_runs import SLOPES, rows_of

ROLES = Roles(family=frozenset(("eim", "eim joint", "eim text")), apart=frozenset(("sdedit",)))


def found_of(*methods: str, roles: Roles = ROLES) -> Summaries:
    return Summaries.of(pd.DataFrame([row for name in methods for row in rows_of(name)]), roles)


@pytest.mark.nightly
def test_methods_are_in_order_and_ours_is_compared_by_each_error() -> None:
    """Straight paths: what is above the codec, scaled or not, is the square of the slope less that of the codec's."""
    found = found_of(*reversed(SLOPES))
    ranked = [name for name in SLOPES if name != "sdedit"]
    assert list(found.order) == sorted(ranked, key=lambda name: SLOPES[name])
    assert list(found.apart) == ["sdedit"]
    assert list(found.rivals) == ["flow<edit>"], "neither our family nor what is told apart"
    assert [one[0].other for one in found.comparisons] == ["eim joint", "eim text", "flow<edit>"]
    assert [one.measure for one in found.comparisons[0]] == list(COMPARED)
    slopes, (above, scaled, error) = np.arange(8) / 100, found.comparisons[-1]
    ours, other, codec = (((SLOPES[name] + slopes) ** 2).mean() for name in ("eim", "flow<edit>", CODEC))
    assert [one.difference.mean for one in (above, scaled, error)] == pytest.approx([other - ours] * 3)
    assert [above.ratio.mean, scaled.ratio.mean] == pytest.approx([(ours - codec) / (other - codec)] * 2)
    assert error.ratio.mean == pytest.approx(ours / other)
    assert found.curves is not None
    assert found.parts.empty


@pytest.mark.slow
def test_a_run_at_one_strength_has_no_curves() -> None:
    rows = pd.DataFrame([row for name in SLOPES for row in rows_of(name) if row["strength"] == 1])
    assert Summaries.of(rows, ROLES).curves is None


@pytest.mark.nightly
def test_with_too_few_seeds_methods_are_ranked_and_not_compared() -> None:
    rows = pd.DataFrame([row for name in SLOPES for row in rows_of(name) if row["seed"] < 4])
    found = Summaries.of(rows, ROLES)
    assert len(found.order) == len(SLOPES) - 1
    assert found.comparisons == []
    assert "4" in found.too_few_seeds


@pytest.mark.slow
def test_without_ours_nothing_is_compared() -> None:
    found = found_of("flow<edit>", CODEC)
    assert found.comparisons == []


def test_rows_without_right_answers() -> None:
    rows = pd.DataFrame({"method": ["a"], "strength": [1.0]})
    assert not is_ranked(rows)
    assert not is_ranked(rows.assign(effect=None))
    assert is_ranked(rows.assign(effect=0.5))
    with pytest.raises(ConfigError, match="no item has a right answer"):
        Summaries.of(rows, ROLES)
