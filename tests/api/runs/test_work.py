"""What runners take is a `Work`: it can be sent to another process, and is the same there."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest

from latentedit.api.runs.work import UnitResult, Work, check_model, in_halves, timed
from latentedit.core.errors import ConfigError, ModelError
from tests.api.runs.small_work import small_work


def test_a_plan_can_be_sent(tmp_path: Path) -> None:
    work = small_work(tmp_path / "notes")
    assert isinstance(work, Work)
    assert not isinstance(UnitResult(rows=()), Work)
    again = pickle.loads(pickle.dumps(work))
    assert (again.spec, again.units) == (work.spec, work.units)
    for unit in work.units:
        first = work.start()(work.task(unit))
        second = pickle.loads(pickle.dumps(again.start()(again.task(unit, with_bytes=True))))
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

    found = in_halves(range(8), together, lambda number, error: [-number])
    assert found == [[0, 1, 2, 3], [4], [-5], [6, 7]]
    assert parts == [(0, 1, 2, 3), (4,), (6, 7)]
    with pytest.raises(ZeroDivisionError):
        in_halves([1, 0], lambda some: [1 / number for number in some], lambda number, error: [0.0])


def test_another_model_is_refused() -> None:
    spec = {"model": "portraits", "model_fingerprint": "a"}
    check_model(spec, "a")
    with pytest.raises(ModelError, match="the run has the fingerprint a, this worker b"):
        check_model(spec, "b")
