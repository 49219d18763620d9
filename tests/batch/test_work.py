"""What runners take is a `Work`: it can be sent to another process, and is the same there."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest

from latentedit._version import __version__
from latentedit.batch.work import UnitResult, bisect_failures, check_model, timed
from latentedit.core.errors import ConfigError, ModelError
from tests.batch.small_work import small_work


def test_a_plan_can_be_sent(tmp_path: Path) -> None:
    work = small_work(tmp_path / "notes")
    again = pickle.loads(pickle.dumps(work))
    assert (again.spec, again.units) == (work.spec, work.units)
    for unit in work.units:
        first = work.start()(work.task(unit))
        second = pickle.loads(pickle.dumps(again.start()(again.task(unit))))
        assert (first.rows, first.files, first.failures) == (second.rows, second.files, second.failures)
    assert timed(work.start(), work.task("004-unit")).about["seconds"] > 0
    assert timed(lambda _: UnitResult(rows=(), about={"seconds": 7.0}), 0).about["seconds"] == 7.0


def test_what_cannot_be_done_is_found_by_halving() -> None:
    """Whatever can be done is done together with as many as possible, and order is kept."""
    parts: list[tuple[int, ...]] = []

    def together(some: Sequence[int]) -> list[int]:
        if 5 in some:
            raise ConfigError("no five")
        parts.append(tuple(some))
        return list(some)

    found = bisect_failures(range(8), together, lambda number, error: [-number])
    assert found == [[0, 1, 2, 3], [4], [-5], [6, 7]]
    assert parts == [(0, 1, 2, 3), (4,), (6, 7)]
    with pytest.raises(ZeroDivisionError):
        bisect_failures([1, 0], lambda some: [1 / number for number in some], lambda number, error: [0.0])


def test_another_model_and_another_version_are_refused() -> None:
    spec = {"latentedit": __version__, "model": "portraits", "model_fingerprint": "a"}
    check_model(spec, "a")
    for other, fingerprint in ((spec, "b"), (spec | {"latentedit": "99.0"}, "a")):
        with pytest.raises(ModelError, match=r"has latentedit \d.*, this run .*Install the same everywhere"):
            check_model(other, fingerprint)
