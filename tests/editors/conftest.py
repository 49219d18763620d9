import importlib.metadata

import pytest

from latentedit.latents.captions import base as captioning
from tests.editors.colours import ColourBackbone


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> ColourBackbone:
    """The colour model, whose reader is found through an entry point as an installed one would be."""
    point = importlib.metadata.EntryPoint(
        name="colours", value="tests.editors.colours:ColourReader", group=captioning.ENTRY_POINTS
    )
    found = importlib.metadata.EntryPoints([point])
    real = importlib.metadata.entry_points

    def entry_points(group: str) -> importlib.metadata.EntryPoints:
        return found if group == captioning.ENTRY_POINTS else real(group=group)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    model = ColourBackbone()
    model.defaults = {"captioner": "colours", "editors": {"eim": {"search": {"steps": 24}}, "sdedit": {"level": 0.5}}}
    return model
