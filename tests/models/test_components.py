"""Adapters around the components of a live pipeline: those that belong together, and those that do not."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from latentedit.core.errors import ModelError
from latentedit.core.rng import seeded
from latentedit.models.loading import open_folder
from latentedit.models.sd import StableDiffusionBackbone
from latentedit.models.sd3 import StableDiffusion3Backbone

pytestmark = pytest.mark.slow

ENCODER_OF_ANOTHER = SimpleNamespace(config=SimpleNamespace(projection_dim=8, hidden_size=32))


@pytest.fixture(scope="module")
def sd3_parts(folder_without_t5: Path) -> Mapping[str, Any]:
    return open_folder(folder_without_t5).components(torch.float32)


@pytest.fixture(scope="module")
def sd_parts(folder_sd: Path) -> Mapping[str, Any]:
    return open_folder(folder_sd).components(torch.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_encoder_2": None}, "takes 24 pooled features"),
        ({"vae": SimpleNamespace(config=SimpleNamespace(latent_channels=4))}, "8 channels in and 8 out, .* have 4"),
        ({"text_encoder": ENCODER_OF_ANOTHER}, "reads text of width 32; the CLIP encoders give 48"),
        ({"scheduler": {"invert_sigmas": True}}, "invert_sigmas"),
    ],
)
def test_sd3_refuses_parts_of_different_models(
    sd3_parts: Mapping[str, Any], change: dict[str, Any], message: str
) -> None:
    bare = StableDiffusion3Backbone({**sd3_parts, "scheduler": {"shift": 3.0}}, name="defaults", device="cpu")
    whole = StableDiffusion3Backbone(sd3_parts, name="in training", device="cpu", max_sequence_length=1)
    assert bare.grid(7) == whole.grid(7), "missing settings of a scheduler are its defaults"
    with pytest.raises(ModelError, match=message):
        StableDiffusion3Backbone({**sd3_parts, **change}, name="parts of two", device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 9}, "takes 9 channels, .* as models for inpainting"),
        ({"in_channels": 8, "out_channels": 8}, "8 channels in and 8 out, the VAE's latents have 4"),
        ({"cross_attention_dim": [16, 8]}, "one width in every block"),
        ({"num_class_embeds": 3}, "class labels"),
        ({"cross_attention_dim": 24}, "text of width 24, and the text encoders give 16"),
    ],
)
def test_sd_refuses_a_u_net_of_another_kind(sd_parts: Mapping[str, Any], changes: dict[str, Any], message: str) -> None:
    build: Any = UNet2DConditionModel
    with seeded(0):
        unet = build.from_config(dict(sd_parts["unet"].config) | changes)
    with pytest.raises(ModelError, match=message):
        StableDiffusionBackbone({**sd_parts, "unet": unet}, name="parts of two", device="cpu")
