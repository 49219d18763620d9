import importlib.metadata

import pytest
import torch
from torch import Tensor

from latentedit.backbones.base import Backbone
from latentedit.encoding.captioning import ENTRY_POINTS, Captioner, captioner_for
from latentedit.errors import RegistryError
from latentedit.testing.gaussian_mixture import example_mixture


class Fixed(Captioner):
    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def caption(self, pixels: Tensor) -> list[str]:
        return ["a"] * len(pixels)


@pytest.fixture
def backbone(monkeypatch: pytest.MonkeyPatch) -> Backbone:
    points = [
        importlib.metadata.EntryPoint(name=name, value=value, group=ENTRY_POINTS)
        for name, value in (("fixed", f"{__name__}:Fixed"), ("odd", "builtins:id"))
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: importlib.metadata.EntryPoints(points))
    return example_mixture(dimension=2)


def test_the_models_folder_names_its_captioner(backbone: Backbone) -> None:
    assert captioner_for(backbone) is None
    backbone.defaults = {"captioner": "fixed"}
    found = captioner_for(backbone)
    assert isinstance(found, Captioner)
    assert found.caption(torch.zeros(2, 3, 4, 4)) == ["a", "a"]


@pytest.mark.parametrize(("name", "words"), [("fixes", "did you mean 'fixed'"), ("odd", "to make a Captioner")])
def test_names_without_a_captioner_are_refused(backbone: Backbone, name: str, words: str) -> None:
    backbone.defaults = {"captioner": name}
    with pytest.raises(RegistryError, match=words):
        captioner_for(backbone)
