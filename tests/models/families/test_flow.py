"""Families of rectified flows: Anima, AuraFlow, CogView4, Lumina-Image 2.0, Z-Image."""

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.transformers import transformer_cosmos
from torch import Tensor

import latentedit as le
from latentedit.core.errors import ModelError, ShapeError
from tests.miniatures.flow import anima, auraflow, cogview4, lumina2, zimage
from tests.models.families.family import (
    NO_CHAT,
    OTHER_CHANNELS,
    PARITY,
    SETTINGS,
    Distilled,
    FamilyContract,
    Modular,
    check_dropped_words,
    other_width,
    set_config,
)
from tests.testing.tolerances import relative_error


class TestAnima(Modular):
    make = anima
    guidance = (4.0, "cfg")
    invalid_changes = (
        (r"24.*16", set_config("transformer", text_embed_dim=24)),
        (r"8.*4", set_config("transformer", in_channels=8)),
    )

    def stock_latents(self, z: Tensor) -> Tensor:
        return z[:, :, None]

    def canonical_latents(self, output: Tensor, like: Tensor) -> Tensor:
        return output.reshape(like.shape)

    def test_the_mask_of_padding_is_empty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The stock pipeline has such a mask; torchvision, which resizes it, may not be installed."""
        functional = SimpleNamespace(resize=lambda mask, size, **_: torch.nn.functional.interpolate(mask, size))
        modes = SimpleNamespace(NEAREST="nearest")
        transforms = SimpleNamespace(functional=functional, InterpolationMode=modes)
        monkeypatch.setattr(transformer_cosmos, "transforms", transforms, raising=False)
        pipeline = anima(padding_mask=True)
        model = le.from_pipeline(pipeline, settings=SETTINGS)
        z = self.start(model, (64, 96))
        stock = self.canonical_latents(self.stock_image(pipeline, 3.0, (64, 96), z), z)
        assert relative_error(self.our_sample(model, 3.0, (64, 96), z), stock) <= PARITY


class TestAuraFlow(FamilyContract):
    make = auraflow
    guidance = (3.5, "cfg")

    def test_sizes_beyond_the_learned_positions_are_rejected(self, pipeline: Any, backbone: Any) -> None:
        """In the settings and in latents."""
        assert le.from_pipeline(pipeline, settings={"sizes": [64, 64, 128]}).capabilities.sizes[2] == 128
        with pytest.raises(ModelError):
            le.from_pipeline(pipeline, settings={"sizes": [64, 64, 144]})
        with pytest.raises(ShapeError):
            backbone.velocity(torch.zeros(1, 4, 8, 18), torch.tensor([0.5]), backbone.embed([""]))


class TestCogView4(FamilyContract):
    make = cogview4
    guidance = (5.0, "cfg")

    def test_levels_match_the_integer_times_of_the_pipeline(self, backbone: Any) -> None:
        """Also where rounding decides between two integers: 223 of 1000 in a hundred steps."""
        for steps in (50, 100):
            expected = np.linspace(1000, 1.0, steps).astype(np.int64) / 1000
            assert backbone._unshifted(steps) == expected.tolist()


class TestLumina2(FamilyContract):
    make = lumina2
    guidance = (4.0, "renormalized")

    def test_the_tokens_of_the_system_prompt_are_counted(self, backbone: Any) -> None:
        """The empty text has no system prompt, only the start token. A space belongs to the word after it."""
        empty, used = backbone.embed(["", "xy"]).mask.sum(1).tolist()
        assert empty == 1
        longest_caption = 256 - used + 2
        assert backbone.dropped_notes("x" * longest_caption) == []
        assert f"{longest_caption} tokens" in backbone.dropped_notes("x" * (longest_caption + 1))[0]
        check_dropped_words(backbone, f"{backbone.stock.system_prompt} <Prompt Start> ", 256)


class TestZImage(FamilyContract):
    make = zimage
    weight_offset = 1.0
    guidance = (6.0, "cfg")
    longest_caption = 506  # the chat begins with a special token, four letters and a new line
    invalid_changes = (NO_CHAT, OTHER_CHANNELS, other_width("cap_feat_dim"))


class TestTurbo(Distilled, TestZImage):
    make = functools.partial(zimage, turbo=True)
