"""Chroma against its stock pipeline."""

import dataclasses
from typing import Any

import pytest
import torch
from diffusers import ChromaImg2ImgPipeline

from latentedit.testing.miniatures.chroma import chroma
from latentedit.testing.tolerances import relative_error
from tests.models.families.family import CAPTION, OTHER_WIDTH
from tests.models.families.test_flux import Packed


class TestChroma(Packed):
    guidance = (5.0, "cfg")
    image_to_image = (ChromaImg2ImgPipeline, {})
    misfits = (OTHER_WIDTH,)

    def build(self) -> Any:
        return chroma()

    def test_padding_is_attended_less(self, backbone: Any) -> None:
        """The mask holds the words, their end and one token more, and matters; so does the padding outside it."""
        condition = backbone.embed([CAPTION])
        assert int(condition.mask.sum()) == len(CAPTION.split()) + 2
        z, s = self.start(backbone, (64, 64)), torch.tensor([0.5])
        v = backbone.velocity(z, s, condition)
        whole = dataclasses.replace(condition, mask=None)
        cut = dataclasses.replace(condition, tokens=condition.tokens * condition.mask[..., None])
        for other in (whole, cut):
            assert relative_error(backbone.velocity(z, s, other), v) > 1e-4

    def test_a_mask_is_where_the_model_is(self, backbone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A text from the cache comes from the CPU, one that was read now from the model's device."""
        read = backbone._encode_prompt(CAPTION)
        monkeypatch.setattr(backbone, "_device", torch.device("meta"))
        condition = backbone._padded(*read)
        assert {part.device.type for part in (condition.tokens, condition.pooled, condition.mask)} == {"meta"}
