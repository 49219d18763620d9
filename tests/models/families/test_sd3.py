"""Stable Diffusion 3 against the stock pipeline; what else is its own is in `tests.models.test_sd3`."""

from typing import Any, ClassVar

from latentedit.models.base import Backbone
from latentedit.testing.miniature import sd3_pipeline
from tests.models.families.family import SETTINGS, FamilyContract


class TestThreeEncoders(FamilyContract):
    t5: ClassVar[bool] = True

    def build(self) -> Any:
        pipeline = sd3_pipeline(t5=self.t5)
        pipeline.set_progress_bar_config(disable=True)
        for part in pipeline.components.values():
            if hasattr(part, "eval"):
                part.eval()
        return pipeline

    def test_the_third_encoder_is_256_tokens_of_zeros_where_there_is_none(self, backbone: Backbone) -> None:
        third = backbone.embed(["a face"]).tokens[:, 20:]
        assert third.shape[1] == 256
        assert bool(third.any()) == self.t5


class TestTwoEncoders(TestThreeEncoders):
    """A folder that never had T5 gets one zero token, unless it names as many as the pipeline takes by default."""

    t5: ClassVar[bool] = False
    settings: ClassVar[dict[str, Any]] = {**SETTINGS, "zero_tokens": 256}
    difference_tolerance: ClassVar[float] = 0.02  # differences in float32 are off by 0.008 before anything is changed
