from collections.abc import Callable
from pathlib import Path

import pytest

Register = Callable[..., Path]


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that hold for any number of bootstrap draws."""
    monkeypatch.setattr("latentedit_bench.metrics.statistics._DRAWS", 100)


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Experiments run in this process: another one would lack what a test replaces."""
    for module in ("experiment", "items"):
        monkeypatch.setattr(f"latentedit_bench.experiments.{module}.suitable_workers", lambda *_: 1)
