"""Z-Image and Z-Image-Turbo against their stock pipeline."""

from typing import Any

import pytest
import torch
from diffusers import ZImageImg2ImgPipeline

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.testing.miniatures.zimage import zimage
from tests.models.families.family import CAPTION, SETTINGS, FamilyContract


class TestZImage(FamilyContract):
    def build(self) -> Any:
        return zimage()

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"guidance_scale": weight - 1}


class TestTurbo(TestZImage):
    weights = (1.0,)

    def build(self) -> Any:
        return zimage(turbo=True)


def test_turbo_is_known_by_its_levels() -> None:
    """It needs no guidance, unless the settings say so."""
    assert le.from_pipeline(zimage()).capabilities.guidance == 6
    assert le.from_pipeline(zimage(turbo=True)).capabilities.guidance_kind == "none"
    told = le.from_pipeline(zimage(turbo=True), settings={"guidance": 2.0}).capabilities
    assert (told.guidance, told.guidance_kind) == (2.0, "cfg")


def test_the_pipeline_from_pictures_is_the_same_model() -> None:
    """Its parts are the same, and its text is read alike."""
    pipeline = zimage()
    other = le.from_pipeline(ZImageImg2ImgPipeline(**pipeline.components))
    backbone = le.from_pipeline(pipeline)
    assert torch.equal(other.embed([CAPTION]).tokens, backbone.embed([CAPTION]).tokens)
    assert other.capabilities == backbone.capabilities


def test_long_captions_lose_their_end() -> None:
    """The window holds the beginning of the chat too: a mark, four letters and a new line."""
    backbone = le.from_pipeline(zimage())
    assert backbone.caption_notes(["x" * 506]) == []
    assert "506 tokens" in backbone.caption_notes(["x" * 507])[0]


def test_parts_of_two_models_are_refused() -> None:
    """By name, with the cure."""
    pipeline = zimage()
    pipeline.tokenizer.chat_template = None
    with pytest.raises(ModelError, match="has no chat template"):
        le.from_pipeline(pipeline, settings=SETTINGS)
    pipeline = zimage()
    pipeline.transformer.register_to_config(cap_feat_dim=24)
    with pytest.raises(ModelError, match="takes text of width 24; the text encoder gives 16"):
        le.from_pipeline(pipeline)
    pipeline = zimage()
    pipeline.vae.register_to_config(latent_channels=16)
    with pytest.raises(ModelError, match="takes latents of 4 channels; the VAE gives 16"):
        le.from_pipeline(pipeline)
