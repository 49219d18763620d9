"""Parts that belong together, and parts that do not."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from latentedit.core.errors import ModelError
from latentedit.models.loading import open_folder
from latentedit.models.sd3 import StableDiffusion3Backbone
from latentedit.models.sd3_parts import SD3Parts, load_sd3_parts


@pytest.fixture(scope="module")
def parts(folder_without_t5: Any) -> SD3Parts:
    return load_sd3_parts(open_folder(folder_without_t5), torch.float32)


def test_a_backbone_can_be_built_around_networks_in_memory(parts: SD3Parts, without_t5: Any) -> None:
    backbone = StableDiffusion3Backbone(parts, name="in training", device="cpu")
    z, s = torch.ones(1, 8, 8, 8), torch.tensor([0.5])
    expected = without_t5.velocity(z, s, without_t5.embed(["a"]))
    assert torch.equal(backbone.velocity(z, s, backbone.embed(["a"])), expected)


def test_missing_scheduler_settings_get_the_schedulers_defaults(parts: SD3Parts) -> None:
    assert dataclasses.replace(parts, scheduler={"shift": 3.0}).scheduler == parts.scheduler


def test_parts_of_different_models_are_refused(parts: SD3Parts) -> None:
    with pytest.raises(ModelError, match="pool to 24"):
        dataclasses.replace(parts, clips=parts.clips[:1])
    other: Any = SimpleNamespace(config=SimpleNamespace(latent_channels=4))
    with pytest.raises(ModelError, match="8 into and 8 out of the transformer, 4 from the VAE"):
        dataclasses.replace(parts, vae=other)
    with pytest.raises(ModelError, match="invert_sigmas"):
        dataclasses.replace(parts, scheduler={"invert_sigmas": True})
