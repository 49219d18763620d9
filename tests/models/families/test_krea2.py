"""Krea 2 Raw and Turbo against their stock pipeline."""

from typing import Any

import torch

from latentedit.models.base import Backbone
from latentedit.testing.miniatures.krea2 import krea2
from tests.models.families.family import OTHER_WIDTH
from tests.models.families.test_flux import Packed


class TestRaw(Packed):
    guidance = (5.5, "cfg")
    chat_as_published = False
    room = 507  # five tokens of the window are the end of the chat
    misfits = ((OTHER_WIDTH[0], lambda pipeline: pipeline.transformer.register_to_config(text_hidden_dim=24)),)

    def build(self) -> Any:
        return krea2()

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"guidance_scale": weight - 1}

    def test_turbo_has_one_shift(self, backbone: Backbone) -> None:
        grids = [backbone.grid(4, height_px=side, width_px=side) for side in (64, 1024)]
        assert (grids[0] == grids[1]) == (self.guidance[1] == "none")

    def test_layers_of_text_stay_apart(self, pipeline: Any, backbone: Any) -> None:
        """A token is the layers that the pipeline chose, one after the other."""
        condition, (layers, mask) = backbone.embed(["a face"]), pipeline.encode_prompt("a face")
        assert int(condition.mask.sum()) == int(mask.sum())
        assert torch.allclose(condition.tokens[condition.mask].unflatten(1, (2, -1)), layers[mask], atol=1e-6)


class TestTurbo(TestRaw):
    weights = (1.0,)
    guidance = (1.0, "none")
    kind_at_one = "none"

    def build(self) -> Any:
        return krea2(turbo=True)
