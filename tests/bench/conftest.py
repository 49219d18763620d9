import pytest


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Experiments measure in this one: another would not know what a test replaces."""
    for module in ("experiment", "items"):
        monkeypatch.setattr(f"latentedit_bench.experiments.{module}.suitable_workers", lambda *_: 1)
