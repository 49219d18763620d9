import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from latentedit.core.cost import counting, spend, spending


def failing(model: object) -> None:
    spend(model, 1)
    raise KeyError


def test_contexts_nest_and_both_count() -> None:
    model, other = object(), object()
    spend(model, 1)
    with counting(model) as outer, counting(other) as elsewhere:
        spend(model, 2)
        with counting(model) as inner:
            spend(model, 3)
        spend(model, 4)
    spend(model, 5)
    assert (outer.evaluations, inner.evaluations, elsewhere.evaluations) == (9, 3, 0)


def test_what_threads_request_of_one_model_is_counted_apart() -> None:
    model, together = object(), threading.Barrier(2)

    def work(times: int) -> int:
        with counting(model) as count:
            together.wait()  # both contexts are open
            for _ in range(times):
                spend(model, 1)
            together.wait()
        return count.evaluations

    with counting(model) as outside, ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, (100, 7))) == [100, 7]
        pool.submit(contextvars.copy_context().run, spend, model, 3).result()
    assert outside.evaluations == 3, "a thread counts here only in a copy of this context"


def test_a_sum_stands_for_what_was_called() -> None:
    """An attempt that fails costs nothing; another model that is asked meanwhile is counted as ever."""
    model, other = object(), object()
    with counting(model) as count, counting(other) as elsewhere:
        with spending(model, 2), counting(model) as inside:
            spend(model, 50)
            spend(other, 1)
        with pytest.raises(KeyError), spending(model, 1000):
            failing(model)
    assert (count.evaluations, inside.evaluations, elsewhere.evaluations) == (2, 50, 1)


def test_a_count_ends_with_its_context_though_it_fails() -> None:
    model = object()
    with pytest.raises(KeyError), counting(model) as count:
        failing(model)
    spend(model, 1)
    assert count.evaluations == 1
