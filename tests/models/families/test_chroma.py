"""Chroma against its stock pipeline."""

import dataclasses
from typing import Any

import pytest
import torch

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.core.rng import draw
from latentedit.testing.miniatures.chroma import chroma
from latentedit.testing.tolerances import relative_error
from tests.models.families.family import CAPTION, SETTINGS, error_with_rounded_time
from tests.models.families.test_flux import Packed


class TestChroma(Packed):
    half_tolerance = 0.1  # the stock pipeline rounds time otherwise than ours: see the test of that

    def build(self) -> Any:
        return chroma()


@pytest.mark.nightly
def test_in_half_precision_only_the_rounding_of_time_differs() -> None:
    """The stock pipeline rounds 1000 s."""
    assert error_with_rounded_time(TestChroma(), lambda s: (1000 * s).to(torch.bfloat16) / 1000) <= 0.02


def test_padding_is_attended_less() -> None:
    """The mask holds the words, their end and one token more, and matters; so does the padding that it leaves out."""
    backbone = le.from_pipeline(chroma(), settings=SETTINGS)
    told = backbone.embed([CAPTION])
    assert told.mask is not None
    words = int(told.mask.sum())
    assert words == len(CAPTION.split()) + 2
    z, s = draw((1, *backbone.latent_shape(64, 64)), seed=4, purpose="start"), torch.tensor([0.5])
    v = backbone.velocity(z, s, told)
    whole = dataclasses.replace(told, mask=None)
    cut = dataclasses.replace(told, tokens=told.tokens * told.mask[..., None])
    for other in (whole, cut):
        assert relative_error(backbone.velocity(z, s, other), v) > 1e-4


def test_parts_of_two_models_are_refused() -> None:
    """By name."""
    pipeline = chroma()
    pipeline.transformer.register_to_config(joint_attention_dim=24)
    with pytest.raises(ModelError, match="takes text of width 24; the text encoder gives 16"):
        le.from_pipeline(pipeline)


def test_a_mask_is_where_the_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text from the cache comes from the CPU, one that was read now from the model's device."""
    backbone: Any = le.from_pipeline(chroma(), settings=SETTINGS)
    read = backbone._encode_prompt(CAPTION)
    monkeypatch.setattr(backbone, "_device", torch.device("meta"))
    condition = backbone._padded(*read)
    assert {part.device.type for part in (condition.tokens, condition.pooled, condition.mask)} == {"meta"}
