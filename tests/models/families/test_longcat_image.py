"""LongCat-Image against its stock pipeline."""

from typing import Any

from latentedit.testing.miniatures.longcat_image import longcat_image
from tests.models.families.family import OTHER_WIDTH
from tests.models.families.test_flux import Packed


class TestLongCatImage(Packed):
    guidance = (4.5, "cfg")
    room = 512  # the chat takes nothing of the window
    misfits = (OTHER_WIDTH,)

    def build(self) -> Any:
        return longcat_image()

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"guidance_scale": weight, "enable_cfg_renorm": False, "enable_prompt_rewrite": False}
