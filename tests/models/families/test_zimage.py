"""Z-Image and Z-Image-Turbo against their stock pipeline."""

from typing import Any

from diffusers import ZImageImg2ImgPipeline

from latentedit.testing.miniatures.zimage import zimage
from tests.models.families.family import NO_CHAT, OTHER_CHANNELS, OTHER_WIDTH, FamilyContract


class TestZImage(FamilyContract):
    guidance = (6.0, "cfg")
    image_to_image = (ZImageImg2ImgPipeline, {})
    room = 506  # the beginning of the chat takes a mark, four letters and a new line
    misfits = (
        NO_CHAT,
        OTHER_CHANNELS,
        (OTHER_WIDTH[0], lambda pipeline: pipeline.transformer.register_to_config(cap_feat_dim=24)),
    )

    def build(self) -> Any:
        return zimage()

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"guidance_scale": weight - 1}


class TestTurbo(TestZImage):
    weights = (1.0,)
    guidance = (1.0, "none")
    kind_at_one = "none"

    def build(self) -> Any:
        return zimage(turbo=True)
