"""Stable Diffusion 1 and 2 against the stock pipeline; what else is theirs is in `tests.models.test_sd`."""

from typing import Any, ClassVar

import pytest
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, StableDiffusionImg2ImgPipeline

import latentedit as le
from latentedit.testing.miniature import TrainedFor, sd_pipeline
from tests.models.families.family import SETTINGS
from tests.models.families.vp import VPContract


class TestNoise(VPContract):
    prediction: ClassVar[TrainedFor] = "epsilon"

    def build(self) -> Any:
        pipeline = sd_pipeline(prediction=self.prediction)
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, set_alpha_to_one=True)
        pipeline.set_progress_bar_config(disable=True)
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            part.eval()
        return pipeline


class TestVelocity(TestNoise):
    prediction: ClassVar[TrainedFor] = "v_prediction"


@pytest.mark.parametrize(("spacing", "expected"), [("trailing", (1.0, "none")), ("leading", (7.5, "cfg"))])
def test_turbo_is_known_by_its_scheduler(spacing: str, expected: tuple[float, str]) -> None:
    """Of either class of pipeline."""
    pipeline = sd_pipeline()
    config = pipeline.scheduler.config
    pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(config, timestep_spacing=spacing)
    for kind in (type(pipeline), StableDiffusionImg2ImgPipeline):
        live: Any = kind(**pipeline.components, requires_safety_checker=False)
        capabilities = le.from_pipeline(live, settings=SETTINGS).capabilities
        assert (capabilities.guidance, capabilities.guidance_kind) == expected
