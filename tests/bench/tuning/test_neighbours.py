"""Where a search goes on: beyond the ends that are none of nature's, else between what was tried."""

from typing import Any

import pytest

from latentedit_bench.tuning.neighbours import edges, neighbours


def settings(**values: Any) -> dict[str, Any]:
    return {"steps": 7, "reference": "null", "levels": [0.9, 0.1], **values}


def test_beyond_an_end_lies_the_next_of_the_series() -> None:
    tried = [settings(scale=scale, shift=shift) for scale, shift in ((1.0, 3), (2.0, 2), (6.0, 4))]
    assert edges(tried[2], tried) == {"scale": 18.0, "shift": 6}, "6 * 6 / 2, and 4 * 4 / 3 as a whole number"
    assert edges(tried[0], tried) == {"scale": 0.5}, "3 of 2, 3, 4 is no end"
    assert edges(tried[1], tried) == {"shift": 2 * 2 / 3 + 2 / 3}
    nested = [settings(search={"gamma": gamma, "steps": 3}) for gamma in (-0.5, 0.0, 0.5)]
    assert edges(nested[2], nested) == {"search.gamma": 1.0}, "arithmetic where not all are above 0"


def test_natural_ends_are_no_edges() -> None:
    """A level of 1 is the whole path, and a weight of 1 is no guidance; just before them the end itself is tried."""
    tried = [settings(level=level, guidance=guidance) for level, guidance in ((0.8, 1.5), (1.0, 1.0))]
    assert edges(tried[1], tried) == {}
    assert edges(tried[0], tried) == {"level": 0.64, "guidance": 2.25}
    near = [settings(level=level) for level in (0.7, 0.95)]
    assert edges(near[1], near) == {"level": 1.0}, "1.29 would be beyond"


def test_what_was_not_varied_or_is_no_number_has_no_ends() -> None:
    tried = [
        settings(eta=0.5, site=site, flag=flag, steps=steps) for site, flag, steps in ((None, True, 3), ("x", False, 9))
    ]
    assert edges(tried[0], tried) == {}
    assert list(neighbours(tried[0], tried)) == []


def test_without_edges_it_goes_between() -> None:
    """First beyond, then halfway to the values on either side, one setting at a time, and never twice."""
    tried = [settings(scale=scale, pull=pull) for scale, pull in ((1.0, 0.02), (2.0, 0.1), (4.0, 0.05))]
    best = tried[1]
    assert list(neighbours(best, tried)) == [
        settings(scale=2.0, pull=0.2),
        settings(scale=1.5, pull=0.1),
        settings(scale=3.0, pull=0.1),
        settings(scale=2.0, pull=0.075),
    ]
    again = [*tried, settings(scale=2.0, pull=0.2)]
    assert next(neighbours(best, again)) == settings(scale=1.5, pull=0.1), "the edge is left behind"


@pytest.mark.parametrize("beyond", [0.0, 2.0])
def test_the_best_is_never_changed(beyond: float) -> None:
    tried = [settings(search={"keep": keep}) for keep in (beyond, 1.0)]
    for found in neighbours(tried[0], tried):
        found["search"]["keep"] = 9.0
    assert tried[0]["search"]["keep"] == beyond
