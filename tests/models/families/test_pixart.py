"""PixArt-alpha and Sigma against their stock pipelines."""

import json
from typing import Any

import pytest
import torch

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.core.rng import seeded
from latentedit.models.base import Backbone
from latentedit.models.derivatives import VelocityJacobian
from latentedit.testing.miniatures.parts import autoencoder_kl
from latentedit.testing.miniatures.pixart import pixart
from latentedit.testing.tolerances import relative_error
from tests.models.families.family import CAPTION, SETTINGS
from tests.models.families.vp import VPContract


class PixArt(VPContract):
    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"guidance_scale": weight, "use_resolution_binning": False}


class TestAlpha(PixArt):
    def build(self) -> Any:
        return pixart()

    def test_capabilities(self, backbone: Backbone) -> None:
        assert backbone.capabilities.guidance == 4.5
        assert backbone.capabilities.size_multiple == 16
        assert backbone.embed([CAPTION]).tokens.shape[1] == 120
        assert backbone.default_site == "block.1.image"

    def test_sizes_are_told_to_the_network(self, backbone: Any) -> None:
        told = backbone._sizes_told(torch.zeros(2, 4, 8, 12))
        assert told["resolution"].tolist() == [[64, 96]] * 2
        assert told["aspect_ratio"].tolist() == [[pytest.approx(64 / 96)]] * 2


class TestSigma(PixArt):
    def build(self) -> Any:
        return pixart(sigma=True)

    def test_captions_have_300_tokens(self, backbone: Backbone) -> None:
        assert backbone.embed([CAPTION]).tokens.shape[1] == 300

    def test_in_double_precision_it_is_exact_throughout(self) -> None:
        """Differences agree with forward mode far below what a norm in float32 would leave."""
        pipeline = self.build().to(torch.float64)
        backbone = le.from_pipeline(pipeline, settings=SETTINGS)
        assert backbone.compute_dtype == torch.float64
        z, s = self.start(backbone, self.sizes[0]).double(), torch.tensor([0.5], dtype=torch.float64)
        text = backbone.embed([CAPTION])
        forward, differences = (
            VelocityJacobian(backbone, z, s, text, mode=mode).matvec(z.sin())
            for mode in ("forward", "finite_difference")
        )
        assert relative_error(differences, forward) <= 1e-8


def test_folders_that_name_the_transformer_as_it_was_first_called_load(tmp_path: Any) -> None:
    pipeline = pixart()
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    for file, key, value in (
        ("model_index.json", "transformer", ["diffusers", "Transformer2DModel"]),
        ("transformer/config.json", "_class_name", "Transformer2DModel"),
    ):
        content = json.loads((tmp_path / file).read_text())
        (tmp_path / file).write_text(json.dumps({**content, key: value}))
    loaded, live = le.load(tmp_path, device="cpu"), le.from_pipeline(pipeline)
    z, s = torch.ones(1, 4, 8, 8), torch.tensor([0.5])
    v, expected = (model.velocity(z, s, model.embed([CAPTION])) for model in (loaded, live))
    assert relative_error(v, expected) <= 1e-5


def test_parts_of_two_models_are_refused() -> None:
    pipeline = pixart()
    with seeded(0):
        pipeline.vae = autoencoder_kl(16)
    with pytest.raises(ModelError, match="latents of 4 channels; the VAE gives 16"):
        le.from_pipeline(pipeline)
