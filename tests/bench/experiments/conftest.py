import pytest

from tests.bench.experiments.counting import CALLS


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every bootstrap: what is asked of intervals here holds for any number of draws."""
    monkeypatch.setattr("latentedit_bench.metrics.statistics._DRAWS", 100)


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    CALLS.clear()
