import pytest

from research.tests.bench.experiments.counting import CALLS


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests hold for any number of bootstrap draws."""
    monkeypatch.setattr("latentedit_bench.metrics.statistics._DRAWS", 100)


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    CALLS.clear()
