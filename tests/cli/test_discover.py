"""``latentedit discover`` on a tiny model; `test_transport` uses what it writes."""

from pathlib import Path

import pytest

from tests.commands import Command

pytestmark = pytest.mark.slow


@pytest.fixture
def arguments(image: Path, miniature: Path, tmp_path: Path) -> list[object]:
    where = ("--model", miniature, "--device", "cpu", "-o", tmp_path / "out")
    return ["discover", image, "--rank", 2, "--site", "clean", "--level", 0.3, *where]


def test_an_interruption_leaves_nothing(
    command: Command, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    # A method, and no function that a module imported meanwhile would keep.
    monkeypatch.setattr("latentedit.models.base.Backbone.features", interrupted)
    outcome = command(*arguments)
    assert (outcome.code, outcome.err.splitlines()[-1]) == (130, "latentedit: interrupted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.png"]
