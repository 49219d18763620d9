"""Families with packed latents: Chroma, Krea 2, LongCat-Image, Ovis-Image."""

import functools
from typing import Any, ClassVar

import pytest
import torch

from tests.miniatures.flow import chroma, krea2, longcat_image, ovis_image
from tests.models.families.family import CAPTION, NO_CHAT, OTHER_WIDTH, Distilled, Packed, other_width


class TestChroma(Packed):
    make = chroma
    guidance = (5.0, "cfg")
    invalid_changes = (OTHER_WIDTH,)

    def test_conditions_are_on_the_device_of_the_model(self, backbone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Cached texts come from the CPU, new ones from the model's device."""
        read = backbone._encode_prompt(CAPTION)
        monkeypatch.setattr(backbone, "_device", torch.device("meta"))
        condition = backbone._padded(*read)
        assert {part.device.type for part in (condition.tokens, condition.pooled, condition.mask)} == {"meta"}


class TestRaw(Packed):
    """Krea 2."""

    make = krea2
    weight_offset = 1.0
    guidance = (5.5, "cfg")
    chat_as_published = False
    longest_caption = 507  # the end of the chat takes five tokens of the window
    invalid_changes = (other_width("text_hidden_dim"),)


class TestTurbo(Distilled, TestRaw):
    make = functools.partial(krea2, turbo=True)


class TestLongCatImage(Packed):
    make = longcat_image
    arguments: ClassVar[dict[str, Any]] = {"enable_cfg_renorm": False, "enable_prompt_rewrite": False}
    guidance = (4.5, "cfg")
    longest_caption = 512  # the chat does not count
    invalid_changes = (OTHER_WIDTH,)


class TestOvisImage(Packed):
    make = ovis_image
    guidance = (5.0, "cfg")
    invalid_changes = (OTHER_WIDTH, NO_CHAT)
