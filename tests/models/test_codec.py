"""The small autoencoder that people put into a pipeline, in the place of its own."""

from typing import Any

import pytest
import torch

import latentedit as le
from latentedit.core.rng import draw
from latentedit.testing.miniature import draw_weights
from latentedit.testing.miniatures.flux import flux
from latentedit.testing.miniatures.parts import autoencoder_tiny
from latentedit.testing.miniatures.sdxl import sdxl
from latentedit.testing.tolerances import relative_error


@pytest.mark.parametrize("build", [flux, sdxl])
def test_a_tiny_autoencoder_has_no_posterior_and_no_scale(build: Any) -> None:
    """Its latents are those that the network wants, as the stock pipelines decode them."""
    pipeline = build()
    pipeline.vae = drawn_tiny()
    model = le.from_pipeline(pipeline, settings={"sizes": [64, 64, 96]})
    pixels = draw((2, 3, 64, 64), seed=0, purpose="pixels").clamp(-1, 1)
    with torch.no_grad():
        z = model.encode(pixels)
        assert z.shape[1:] == model.latent_shape(64, 64)
        assert relative_error(z, pipeline.vae.encode(pixels).latents) <= 1e-5
        assert relative_error(model.decode(z), pipeline.vae.decode(z).sample) <= 1e-5
    assert not model.decode(z).requires_grad


def drawn_tiny() -> Any:
    """With seeded weights."""
    with torch.random.fork_rng(devices=[]):
        network = autoencoder_tiny(4)
    draw_weights(network, torch.Generator().manual_seed(0))
    return network.eval()
