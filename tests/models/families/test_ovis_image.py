"""Ovis-Image against its stock pipeline."""

from typing import Any

import pytest
import torch

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.testing.miniatures.ovis_image import ovis_image
from tests.models.families.family import SETTINGS, error_with_rounded_time
from tests.models.families.test_flux import Packed


class TestOvisImage(Packed):
    half_tolerance = 0.15  # the stock pipeline rounds time otherwise than ours: see the test of that

    def build(self) -> Any:
        return ovis_image()


def test_in_half_precision_only_the_rounding_of_time_differs() -> None:
    """The stock pipeline rounds 1000 s."""
    assert error_with_rounded_time(TestOvisImage(), lambda s: (1000 * s).to(torch.bfloat16) / 1000) <= 0.02


def test_what_does_not_fit_is_refused() -> None:
    """A tokenizer without its chat, and parts of two models, by name."""
    pipeline = ovis_image()
    pipeline.transformer.register_to_config(joint_attention_dim=24)
    with pytest.raises(ModelError, match="takes text of width 24; the text encoder gives 16"):
        le.from_pipeline(pipeline)
    pipeline = ovis_image()
    pipeline.tokenizer.chat_template = None
    with pytest.raises(ModelError, match="has no chat template"):
        le.from_pipeline(pipeline, settings=SETTINGS)
