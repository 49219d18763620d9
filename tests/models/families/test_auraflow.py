"""AuraFlow against its stock pipeline."""

from typing import Any

import pytest
import torch

import latentedit as le
from latentedit.core.errors import ModelError, ShapeError
from latentedit.testing.miniatures.auraflow import auraflow
from tests.models.families.family import SETTINGS, FamilyContract


class TestAuraFlow(FamilyContract):
    guidance = (3.5, "cfg")

    def build(self) -> Any:
        return auraflow()


def test_positions_have_an_end() -> None:
    """Sizes beyond the learned positions are refused, as settings and as latents."""
    backbone = le.from_pipeline(auraflow(), settings=SETTINGS)
    assert le.from_pipeline(auraflow(), settings={"sizes": [64, 64, 128]}).capabilities.sizes[2] == 128
    with pytest.raises(ModelError, match="go up to 144 px, the network to 128 px"):
        le.from_pipeline(auraflow(), settings={"sizes": [64, 64, 144]})
    with pytest.raises(ShapeError, match="at most 16 x 16"):
        backbone.velocity(torch.zeros(1, 4, 8, 18), torch.tensor([0.5]), backbone.embed([""]))
