import pytest

from latentedit_bench.data.counterfactual import SIZES
from research.tests.bench.experiments.counting import CALLS


@pytest.fixture
def few_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small rendered sets, which still have every kind of change in its share."""
    for split in SIZES:
        monkeypatch.setitem(SIZES, split, 60)


@pytest.fixture(autouse=True)
def nothing_counted(few_draws: None) -> None:
    CALLS.clear()
