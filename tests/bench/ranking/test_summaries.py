"""Everything that follows from rows, against numbers that are known."""

import numpy as np
import pandas as pd
import pytest

from latentedit.core.errors import ConfigError
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.summaries import ERRORS, Summaries, is_ranked, matrix_scores
from tests.bench.report.report_runs import ATTRIBUTES, SLOPES, rows_of


def found_of(*methods: str, ours: str = "eim") -> Summaries:
    rows = pd.DataFrame([row for name in methods for row in rows_of(name)])
    return Summaries.of(rows, ours=ours, baselines=["flow<edit>", "sdedit", "never ran"])


def test_methods_are_in_order_and_ours_is_compared_by_each_error() -> None:
    found = found_of(*reversed(SLOPES))
    assert list(found.order) == sorted(SLOPES, key=lambda name: SLOPES[name])
    assert list(found.rivals) == ["flow<edit>", "sdedit"], "the best first"
    assert list(found.told_first) == ["eim", "flow<edit>"]
    assert [(one[0].other, len(one)) for one in found.comparisons] == [("flow<edit>", 3), ("sdedit", 3)]
    slopes = np.arange(8) / 100
    wanted = ((0.5 + slopes) ** 2 - (0.2 + slopes) ** 2).mean()
    assert [one.difference.mean for one in found.comparisons[0]] == pytest.approx([wanted] * len(ERRORS))


def test_the_gain_is_of_the_arms() -> None:
    """SDE 1 - .25 / 2 less the better of 1 - .4 / 2 and 1 - .2 / 2."""
    found = found_of(*SLOPES).gain
    assert found is not None
    assert found.mean == pytest.approx(-0.025)
    assert found_of("eim", "eim text").gain is None


def test_without_ours_nothing_is_compared() -> None:
    found = found_of("sdedit", CODEC)
    assert found.comparisons == []
    assert list(found.told_first) == ["sdedit"]


def test_scores_of_a_matrix() -> None:
    """.8 on the diagonal and .1 beside it: a gap of 7 / 8."""
    matrix = found_of("eim").matrices["eim"]
    assert list(matrix.index) == sorted(ATTRIBUTES, reverse=True)
    told = matrix_scores(matrix)
    assert told["effectiveness"] == pytest.approx(0.8)
    assert told["gap"] == pytest.approx(7 / 8)
    assert told["decomposability"] == pytest.approx(0.8 / (0.8**2 + 0.1**2) ** 0.5)


def test_rows_without_right_answers() -> None:
    rows = pd.DataFrame({"method": ["a"], "strength": [1.0]})
    assert not is_ranked(rows)
    assert not is_ranked(rows.assign(effect=None))
    assert is_ranked(rows.assign(effect=0.5))
    with pytest.raises(ConfigError, match="no item has a right answer"):
        Summaries.of(rows, ours="a", baselines=[])
