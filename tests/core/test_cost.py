import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from latentedit.numerics.cost import counting, spend, spending


def failing(model: object) -> None:
    spend(model, 1)
    raise KeyError


def test_nested_contexts_all_count() -> None:
    model, other = object(), object()
    spend(model, 1)
    with counting(model) as outer, counting(other) as unrelated:
        spend(model, 2)
        with counting(model) as inner:
            spend(model, 3)
        spend(model, 4)
    spend(model, 5)
    assert (outer.evaluations, inner.evaluations, unrelated.evaluations) == (9, 3, 0)


def test_threads_count_separately() -> None:
    model, barrier = object(), threading.Barrier(2)

    def evaluate(times: int) -> int:
        with counting(model) as count:
            barrier.wait()  # both contexts are open
            for _ in range(times):
                spend(model, 1)
            barrier.wait()
        return count.evaluations

    with counting(model) as outside, ThreadPoolExecutor(2) as pool:
        assert list(pool.map(evaluate, (100, 7))) == [100, 7]
        pool.submit(contextvars.copy_context().run, spend, model, 3).result()
    assert outside.evaluations == 3, "a thread is counted only in a copy of this context"


def test_spending_replaces_the_calls_inside_it() -> None:
    """A failed attempt costs nothing; calls of other models are counted as usual."""
    model, other = object(), object()
    with counting(model) as count, counting(other) as unrelated:
        with spending(model, 2), counting(model) as inner:
            spend(model, 50)
            spend(other, 1)
        with pytest.raises(KeyError), spending(model, 1000):
            failing(model)
    assert (count.evaluations, inner.evaluations, unrelated.evaluations) == (2, 50, 1)


def test_counting_ends_even_if_its_context_fails() -> None:
    model = object()
    with pytest.raises(KeyError), counting(model) as count:
        failing(model)
    spend(model, 1)
    assert count.evaluations == 1
