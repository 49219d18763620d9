"""The command line in this process, on a tiny model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from latentedit import load
from latentedit.editors import FlowSlider, StrengthResult
from latentedit_bench.data.items import Item
from latentedit_bench.data.loading import write_manifest
from tests.commands import *  # noqa: F403
from tests.editors.edits import noisy

METHOD = "hooked"
BEFORE: list[Callable[[], None]] = []  # functions that are called before the next edits, one each


class Hooked(FlowSlider):
    """An editor during which anything may happen."""

    name: ClassVar[str] = METHOD

    def edit(self, *given: Any, **more: Any) -> list[StrengthResult]:
        if BEFORE:
            BEFORE.pop(0)()
        return super().edit(*given, **more)


@pytest.fixture(autouse=True)
def hooked(register: Callable[..., None]) -> None:
    register("editors", hooked=f"{__name__}:Hooked")
    BEFORE.clear()


@pytest.fixture(autouse=True)
def figures_are_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plotting takes longer than a run of two images."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, file, **__: file.write(b"\x89PNG"))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two images of noise with right answers, in the miniature's size and words."""
    captions = {"source_caption": "a person with no glasses", "target_caption": "a person with glasses"}
    images = [(noisy(seed, (64, 64)), noisy(seed, (64, 64), mean=(90, 150, 90))) for seed in range(2)]
    items = [
        Item(id=f"item-{seed}", image=image.copy, truth=truth.copy, **captions)
        for seed, (image, truth) in enumerate(images)
    ]
    return write_manifest(items, tmp_path / "data")


@pytest.fixture
def where(miniature: Path) -> tuple[str, ...]:
    """The options that name the model."""
    return ("--model", str(miniature), "--device", "cpu")


@pytest.fixture(scope="session")
def fingerprint(miniature: Path) -> str:
    return load(miniature, device="cpu").fingerprint


@pytest.fixture
def method(fingerprint: str, tmp_path: Path) -> tuple[str, ...]:
    """The options that name the method with its settings, as `bench tune` writes them, and one seed."""
    path, best = tmp_path / "settings.json", {"steps": 2, "level": 0.8, "noises": 1}
    methods = {METHOD: {"editor": METHOD, "local": False, "best": best}}
    path.write_text(json.dumps({"model": "miniature", "fingerprint": fingerprint, "methods": methods}))
    return ("--method", METHOD, "--settings", str(path), "--seeds", "1")
