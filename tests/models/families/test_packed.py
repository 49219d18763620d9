"""Families with packed latents: Chroma, Krea 2, LongCat-Image, Ovis-Image."""

import dataclasses
import functools
from typing import Any, ClassVar

import pytest
import torch

from latentedit.testing.tolerances import relative_error
from tests.miniatures.flow import chroma, krea2, longcat_image, ovis_image
from tests.models.families.family import CAPTION, NO_CHAT, OTHER_WIDTH, Distilled, Packed, other_width


class TestChroma(Packed):
    make = chroma
    guidance = (5.0, "cfg")
    invalid_changes = (OTHER_WIDTH,)

    def test_mask_and_padding_change_the_velocity(self, backbone: Any) -> None:
        """The mask covers the words, their end and one more token. Both the mask and the padding outside it matter."""
        condition = backbone.embed([CAPTION])
        assert int(condition.mask.sum()) == len(CAPTION.split()) + 2
        z, s = self.start(backbone, (64, 64)), torch.tensor([0.5])
        v = backbone.velocity(z, s, condition)
        whole = dataclasses.replace(condition, mask=None)
        cut = dataclasses.replace(condition, tokens=condition.tokens * condition.mask[..., None])
        for other in (whole, cut):
            assert relative_error(backbone.velocity(z, s, other), v) > 1e-4

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

    def test_turbo_has_one_shift(self, backbone: Any) -> None:
        grids = [backbone.grid(4, height_px=side, width_px=side) for side in (64, 1024)]
        assert (grids[0] == grids[1]) == (self.guidance[1] == "none")

    def test_text_layers_are_kept_separate(self, pipeline: Any, backbone: Any) -> None:
        """A token concatenates the layers that the pipeline selects."""
        condition, (layers, mask) = backbone.embed(["a face"]), pipeline.encode_prompt("a face")
        assert int(condition.mask.sum()) == int(mask.sum())
        assert torch.allclose(condition.tokens[condition.mask].unflatten(1, (2, -1)), layers[mask], atol=1e-6)


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
