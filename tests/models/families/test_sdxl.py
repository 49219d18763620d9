"""Stable Diffusion XL against its stock pipelines: base, Turbo, and a fine-tune on v with zero terminal SNR."""

from typing import Any

import pytest
import torch
from diffusers import EDMEulerScheduler, EulerDiscreteScheduler
from torch import Tensor

import latentedit as le
from latentedit.core.errors import ConfigError, ModelError
from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField
from latentedit.testing.miniatures.sdxl import sdxl
from latentedit.testing.tolerances import relative_error
from tests.models.families.family import CAPTION, SETTINGS
from tests.models.families.vp import DDIM, VPContract

TRAILING = {"timestep_spacing": "trailing"}
LARGEST = 14.6146
"""Noise over signal at the last trained time of the family's betas."""


class TestBase(VPContract):
    null_is_the_empty_text = False

    def build(self) -> Any:
        return sdxl(settings=DDIM)

    def test_guidance_starts_from_zeros(self, backbone: Backbone) -> None:
        null = backbone.null(backbone.embed([CAPTION, ""]))
        assert len(null) == 1
        assert not null.tokens.any()
        assert not null.pooled.any()
        assert backbone.embed([""]).tokens.any()


class TestTurbo(VPContract):
    """Distilled: no guidance. Euler's method on noise over signal, the published sampler, is DDIM."""

    null_is_the_empty_text = False
    weights = (1.0,)

    def build(self) -> Any:
        return sdxl(EulerDiscreteScheduler, settings=TRAILING)

    def stock_latents(self, z: Tensor) -> Tensor:
        """The scheduler starts at ``sigma`` times noise, and pictures of unit variance make ``|(1, sigma)|`` of it."""
        return z * (1 + LARGEST**2) ** 0.5 / LARGEST

    def test_guidance_is_refused_unless_settings_name_a_weight(self, pipeline: Any, backbone: Backbone) -> None:
        assert backbone.capabilities.guidance == 1
        with pytest.raises(ConfigError, match="distilled"):
            GuidedField(backbone=backbone, condition=backbone.embed([CAPTION]), guidance=3.0)
        other = le.from_pipeline(pipeline, settings={"guidance": 6.0}).capabilities
        assert (other.guidance, other.guidance_kind) == (6.0, "cfg")


class TestFineTune(VPContract):
    """Of Playground's latents, with the empty text under guidance, and of the class that starts from a picture."""

    def build(self) -> Any:
        zero_snr = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
        return sdxl(settings={**DDIM, **TRAILING, **zero_snr}, force_zeros=False, statistics=True)

    def test_it_is_not_taken_for_a_distilled_model(self, backbone: Backbone) -> None:
        assert (backbone.capabilities.guidance, backbone.capabilities.guidance_kind) == (5.0, "cfg")
        assert backbone.capabilities.s_max == 1

    def test_the_image_to_image_pipeline_is_the_same_model(self, backbone: Backbone) -> None:
        live = le.from_pipeline(sdxl(image_to_image=True), settings=SETTINGS)
        base = le.from_pipeline(sdxl(), settings=SETTINGS)
        z, s = self.start(live, self.sizes[0]), torch.tensor([0.5])
        assert torch.equal(*(model.velocity(z, s, model.embed([CAPTION])) for model in (live, base)))


def test_the_picture_size_is_told_to_the_network() -> None:
    """A network that is told sizes gives other velocities to the same latents of a larger autoencoder."""
    backbone: Any = le.from_pipeline(sdxl(), settings=SETTINGS)
    z, s, text = torch.zeros(1, 4, 8, 12), torch.tensor([0.5]), backbone.embed([CAPTION])
    told = backbone._added_conditions(z, text)["time_ids"]
    assert told.tolist() == [[64, 96, 0, 0, 64, 96]]
    before = backbone.velocity(z, s, text)
    backbone._scale = 16
    assert relative_error(backbone.velocity(z, s, text), before) > 1e-3


def test_a_half_precision_autoencoder_runs_in_single_where_it_says_so() -> None:
    pipeline = sdxl()
    pipeline.vae.to(torch.float16)
    backbone = le.from_pipeline(pipeline, settings=SETTINGS)
    z = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8)
    picture = backbone.decode(z)
    assert pipeline.vae.dtype == torch.float16
    pipeline.vae.to(torch.float32)
    with torch.no_grad():
        assert relative_error(picture, pipeline.vae.decode(z / 0.13025).sample) <= 1e-6


def test_parts_of_other_models_are_refused() -> None:
    pipeline = sdxl()
    pipeline.unet.register_to_config(projection_class_embeddings_input_dim=16 + 5 * 4)
    with pytest.raises(ModelError, match="refiner"):
        le.from_pipeline(pipeline)
    pipeline.unet.register_to_config(cross_attention_dim=32)
    with pytest.raises(ModelError, match="text of width 32, and the text encoders give 24"):
        le.from_pipeline(pipeline)
    pipeline = sdxl()
    pipeline.scheduler = EDMEulerScheduler()
    with pytest.raises(ModelError, match="EDMEulerScheduler"):
        le.from_pipeline(pipeline)
