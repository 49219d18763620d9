"""Stable Diffusion folders whose parts do not belong together."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from latentedit.core.errors import ModelError
from latentedit.models.loading import open_folder
from latentedit.models.sd import StableDiffusionBackbone
from latentedit.models.sd_parts import SDParts, load_sd_parts


@pytest.fixture(scope="module")
def parts(folder_sd: Path) -> SDParts:
    return load_sd_parts(open_folder(folder_sd), torch.float32)


def unet_like(parts: SDParts, **changes: Any) -> Any:
    build: Any = UNet2DConditionModel
    with torch.random.fork_rng(devices=[]):
        return build.from_config(dict(parts.unet.config) | changes)


def test_every_part_is_loaded_frozen(parts: SDParts) -> None:
    assert parts.width == 16
    for network in (parts.unet, parts.vae, parts.text.encoder):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 9}, "takes 9, as models for inpainting"),
        ({"in_channels": 8, "out_channels": 8}, "8 into and 8 out of the U-Net, 4 from the VAE"),
        ({"cross_attention_dim": [16, 8]}, "one width of text"),
        ({"num_class_embeds": 3}, "class labels"),
    ],
)
def test_a_u_net_of_another_kind_is_refused(parts: SDParts, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(parts, unet=unet_like(parts, **changes))


def test_a_text_encoder_of_another_model_is_refused(parts: SDParts) -> None:
    wider = dataclasses.replace(parts, unet=unet_like(parts, cross_attention_dim=24))
    with pytest.raises(ModelError, match="text encoder of width 24; got 16"):
        StableDiffusionBackbone(wider, name="parts of two", device="cpu")
