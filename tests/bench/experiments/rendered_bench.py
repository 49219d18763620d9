"""The experiments' models and items replaced by those that are drawn and known."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from latentedit.api.manifests.items import Dataset
from latentedit.core.cost import Count
from latentedit.models.registry import bundled_folder
from latentedit.models.settings_file import read_settings
from latentedit_bench.experiments import benchmark_runs, known_items
from tests.bench.rendered_network import RenderedNetwork, some_items


@dataclasses.dataclass
class Loaded:
    """Every model that an experiment opened."""

    models: list[RenderedNetwork] = dataclasses.field(default_factory=list)
    asked: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def __call__(self, name: str, **asked: Any) -> RenderedNetwork:
        self.asked.append({"name": name, **asked})
        model = RenderedNetwork()
        stored = read_settings(bundled_folder("portraits"))
        model.defaults = {**model.defaults, **{name: stored[name] for name in ("benchmark", "editors")}}
        self.models.append(model)
        return model

    @contextlib.contextmanager
    def count(self) -> Iterator[Count]:
        """Of all models, those too that are opened meanwhile."""
        before, cost = sum(model.asked for model in self.models), Count()
        yield cost
        cost.evaluations = sum(model.asked for model in self.models) - before


def use_rendered(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """From here on every bundled model is a rendered network, and every split its dozen items, whatever captions."""
    loaded = Loaded()

    def items(_: str, split: str, *, captions: str) -> Dataset:
        return Dataset(name=f"some/{split}/{captions}", version="1", items=some_items())

    for module in (benchmark_runs, known_items):
        monkeypatch.setattr(module, "load", loaded)
    monkeypatch.setattr(known_items, "counterfactual", items)
    monkeypatch.setattr(benchmark_runs, "suitable_workers", lambda *_: 1)  # another process would load the real ones
    return loaded


def rows(scores: dict[str, list[float]], column: str = "disentanglement", **more: Any) -> list[dict[str, Any]]:
    """Rows of methods at strength 1: one item, in a group of its own, for each score."""
    about = {"model": "portraits", "kind": "single", "strength": 1.0, "evaluations": 28.0, "asked": "skin"}
    about |= {"captions": "partial", "split": "test"}
    return [
        {**about, "method": method, "item": f"i{index:02d}", "group": f"i{index:02d}", column: score, **more}
        for method, some in scores.items()
        for index, score in enumerate(some)
    ]
