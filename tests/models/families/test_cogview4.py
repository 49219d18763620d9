"""CogView4 against its stock pipeline."""

from typing import Any

import numpy as np

from latentedit.testing.miniatures.cogview4 import cogview4
from tests.models.families.family import FamilyContract


class TestCogView4(FamilyContract):
    guidance = (5.0, "cfg")

    def build(self) -> Any:
        return cogview4()

    def test_texts_keep_their_windows(self, backbone: Any) -> None:
        """Multiples of 16, the empty one 16."""
        assert backbone.embed(["", "a" * 15, "a" * 16]).mask.sum(1).tolist() == [16, 16, 32]

    def test_nodes_are_the_pipelines(self, backbone: Any) -> None:
        """Whole times, also where a node falls on one but for rounding: 223 of 1000 in a hundred steps."""
        for steps in (50, 100):
            expected = np.linspace(1000, 1.0, steps).astype(np.int64) / 1000
            assert backbone._unshifted(steps) == expected.tolist()
