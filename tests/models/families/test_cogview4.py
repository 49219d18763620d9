"""CogView4 against its stock pipeline."""

from typing import Any

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
