"""Denoising losses of a model whose denoiser has a closed form."""

import torch

from latentedit.core.rng import draw
from latentedit.latents.joint import denoising_losses
from tests.editors.colors import COLORS, VARIANCE, ColorBackbone


def test_losses_match_the_posterior_mean() -> None:
    """For z = m + d: x_hat - z = (k (1-s) - 1) d + k s e, k = (1-s) var / ((1-s)^2 var + s^2); e and -e cancel."""
    model, s = ColorBackbone(), 0.6
    z = 0.3 * draw((4, 3, 8, 8), seed=1, purpose="test")
    noise = draw((2, 3, 8, 8), seed=5, purpose="here")
    texts = [model.embed(["red"]), model.embed([""])]
    result = denoising_losses(model, z, texts, level=s, pairs=2, seed=5, purpose="here")
    k = (1 - s) * VARIANCE / ((1 - s) ** 2 * VARIANCE + s**2)
    for row, name in zip(result, ("red", "gray"), strict=True):
        d = z - torch.tensor(COLORS[name])[:, None, None]
        expected = (1 - k * (1 - s)) ** 2 * d.square().mean((1, 2, 3)) + (k * s) ** 2 * noise.square().mean()
        assert torch.allclose(row, expected, rtol=1e-5)


def test_losses_cost_two_evaluations_per_pair_and_do_not_depend_on_the_batch() -> None:
    model, z = ColorBackbone(), draw((3, 3, 8, 8), seed=2, purpose="test")
    with model.count() as cost:
        batch = denoising_losses(model, z, [model.embed(["red"])] * 2, level=0.5, pairs=2, seed=0, purpose="x")
    assert cost.evaluations == 2 * 2 * 3 * 2
    single = denoising_losses(model, z[:1], [model.embed(["red"])], level=0.5, pairs=2, seed=0, purpose="x")
    assert torch.allclose(batch[:1, :1], single, rtol=1e-6)
