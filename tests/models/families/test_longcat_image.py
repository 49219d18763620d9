"""LongCat-Image against its stock pipeline."""

from typing import Any

import pytest
import torch

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.testing.miniatures.longcat_image import longcat_image
from tests.models.families.family import SETTINGS, error_with_rounded_time
from tests.models.families.test_flux import Packed


class TestLongCatImage(Packed):
    half_tolerance = 0.15  # the stock pipeline rounds time otherwise than ours: see the test of that

    def build(self) -> Any:
        return longcat_image()

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"guidance_scale": weight, "enable_cfg_renorm": False, "enable_prompt_rewrite": False}


def test_in_half_precision_only_the_rounding_of_time_differs() -> None:
    """The stock pipeline rounds 1000 s."""
    assert error_with_rounded_time(TestLongCatImage(), lambda s: (1000 * s).to(torch.bfloat16) / 1000) <= 0.02


def test_long_captions_lose_their_end() -> None:
    """The chat takes nothing of the window; what the notes say is dropped makes no difference."""
    backbone = le.from_pipeline(longcat_image(), settings=SETTINGS)
    longest = "x" * 512
    assert backbone.caption_notes([longest]) == []
    assert "512 tokens" in backbone.caption_notes([longest + "x"])[0]
    assert torch.equal(backbone.embed([longest]).tokens, backbone.embed([longest + "y"]).tokens)
    assert not torch.equal(backbone.embed([longest]).tokens, backbone.embed([longest[:-1] + "y"]).tokens)


def test_parts_of_two_models_are_refused() -> None:
    """By name."""
    pipeline = longcat_image()
    pipeline.transformer.register_to_config(joint_attention_dim=24)
    with pytest.raises(ModelError, match="takes text of width 24; the text encoder gives 16"):
        le.from_pipeline(pipeline)
