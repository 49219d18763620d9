"""Krea 2 Raw and Turbo against their stock pipeline."""

from typing import Any

import pytest
import torch

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.testing.miniatures.krea2 import krea2
from tests.models.families.family import SETTINGS, error_with_rounded_time
from tests.models.families.test_flux import Packed


class TestRaw(Packed):
    half_tolerance = 0.2  # the stock pipeline rounds time to bfloat16, ours does not: see the test of that

    def build(self) -> Any:
        return krea2()

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"guidance_scale": weight - 1}


class TestTurbo(TestRaw):
    weights = (1.0,)

    def build(self) -> Any:
        return krea2(turbo=True)


@pytest.mark.parametrize("family", [TestRaw(), TestTurbo()])
def test_in_half_precision_only_the_rounding_of_time_differs(family: Any) -> None:
    """The stock pipeline rounds s."""
    assert error_with_rounded_time(family, lambda s: s.to(torch.bfloat16)) <= 0.02


def test_turbo_has_one_shift_and_no_guidance() -> None:
    """The configuration of its pipeline says which it is."""
    raw, turbo = (le.from_pipeline(krea2(turbo=turbo), settings=SETTINGS) for turbo in (False, True))
    assert (raw.capabilities.guidance, raw.capabilities.guidance_kind) == (5.5, "cfg")
    assert (turbo.capabilities.guidance, turbo.capabilities.guidance_kind) == (1.0, "none")
    sizes = ((64, 64), (1024, 1024))
    grids = [[model.grid(4, height_px=height, width_px=width) for height, width in sizes] for model in (raw, turbo)]
    assert grids[0][0] != grids[0][1]
    assert grids[1][0] == grids[1][1]


def test_turbo_with_a_weight_in_its_settings_is_guided() -> None:
    """At the levels of Turbo."""
    plain, told = (
        le.from_pipeline(krea2(turbo=True), settings={**SETTINGS, **more})
        for more in ({"guidance": 1.0}, {"guidance": 4})
    )
    assert (plain.capabilities.guidance, plain.capabilities.guidance_kind) == (1.0, "none")
    assert (told.capabilities.guidance, told.capabilities.guidance_kind) == (4.0, "cfg")
    assert told.grid(4) == plain.grid(4)


def test_long_captions_lose_their_end() -> None:
    """The window holds the end of the chat too: five tokens of the real tokenizer."""
    backbone = le.from_pipeline(krea2(), settings=SETTINGS)
    assert backbone.caption_notes(["x" * 507]) == []
    assert "507 tokens" in backbone.caption_notes(["x" * 508])[0]


def test_parts_of_two_models_are_refused() -> None:
    """By name."""
    pipeline = krea2()
    pipeline.transformer.register_to_config(text_hidden_dim=24)
    with pytest.raises(ModelError, match="takes text of width 24; the text encoder gives 16"):
        le.from_pipeline(pipeline)


def test_layers_of_text_stay_apart() -> None:
    """A token is the layers that the pipeline chose, one after the other."""
    pipeline = krea2()
    told = le.from_pipeline(pipeline, settings=SETTINGS).embed(["a face"])
    layers, mask = pipeline.encode_prompt("a face")
    assert told.mask is not None
    assert int(told.mask.sum()) == int(mask.sum())
    assert torch.allclose(told.tokens[told.mask].unflatten(1, (2, -1)), layers[mask], atol=1e-6)
