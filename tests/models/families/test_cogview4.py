"""CogView4 against its stock pipeline."""

from typing import Any

import numpy as np
import pytest

from latentedit.models.base import Backbone
from latentedit.testing.miniatures.cogview4 import cogview4
from tests.models.families.family import FamilyContract


class TestCogView4(FamilyContract):
    def build(self) -> Any:
        return cogview4()

    def test_texts_keep_their_windows(self, backbone: Backbone) -> None:
        """Multiples of 16, the empty one 16."""
        mask = backbone.embed(["", "a" * 15, "a" * 16]).mask
        assert mask is not None
        assert mask.sum(1).tolist() == [16, 16, 32]

    @pytest.mark.parametrize("steps", [50, 100])
    def test_nodes_are_the_pipelines(self, backbone: Any, steps: int) -> None:
        """Whole times, also where a node falls on one but for rounding: 223 of 1000 in a hundred steps."""
        assert backbone._unshifted(steps) == (np.linspace(1000, 1.0, steps).astype(np.int64) / 1000).tolist()
