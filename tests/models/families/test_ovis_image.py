"""Ovis-Image against its stock pipeline."""

from typing import Any

from latentedit.testing.miniatures.ovis_image import ovis_image
from tests.models.families.family import NO_CHAT, OTHER_WIDTH
from tests.models.families.test_flux import Packed


class TestOvisImage(Packed):
    guidance = (5.0, "cfg")
    misfits = (OTHER_WIDTH, NO_CHAT)

    def build(self) -> Any:
        return ovis_image()
