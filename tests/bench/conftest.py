import pytest


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Experiments measure in this one: another would not know what a test replaces."""
    monkeypatch.setattr("latentedit_bench.experiments.base.suitable_workers", lambda *_: 1)
