"""Named random streams: reproducible, independent of order, of each other and of the global state."""

import pytest
import torch
from torch import nn

from latentedit.core.errors import ShapeError
from latentedit.numerics.rng import draw, item_seed, noise_like, seeded, stream


def test_streams_depend_only_on_seed_purpose_and_index() -> None:
    first = draw((3, 4), seed=7, purpose="hsds", index=2)
    draw((5,), seed=7, purpose="other")
    assert torch.equal(first, draw((3, 4), seed=7, purpose="hsds", index=2))
    assert first.dtype == torch.float32
    assert first.device.type == "cpu"
    stream_names = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1), (0, "a1", 0), (-1, "a", 0), (2**40, "a", 0)]
    draws = torch.stack([draw((64,), seed=seed, purpose=purpose, index=index) for seed, purpose, index in stream_names])
    assert len(torch.unique(draws, dim=0)) == len(stream_names)
    correlation = torch.corrcoef(draws).fill_diagonal_(0)
    assert float(correlation.abs().max()) < 0.6
    generator = stream(3, "x", 1)
    assert torch.equal(torch.randn(4, generator=generator), draw((4,), seed=3, purpose="x", index=1))


def test_numbers_are_stable_across_versions() -> None:
    expected = torch.tensor([0.408401, -0.160743, 0.305106])
    assert torch.allclose(draw((3,), seed=0, purpose="pinned"), expected, atol=1e-6)


def test_noise_is_standard_normal_and_keeps_the_global_state() -> None:
    noise = draw((20000,), seed=0, purpose="moments")
    assert abs(float(noise.mean())) < 4 / 20000**0.5
    assert abs(float(noise.std()) - 1) < 4 / 40000**0.5
    before = torch.random.get_rng_state()
    draw((8,), seed=0, purpose="global")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("count", [None, 2])
def test_noise_like_uses_one_seed_per_latent(count: int | None) -> None:
    z, shape = torch.zeros(3, 4, 5), (4, 5) if count is None else (count, 4, 5)
    noise = noise_like(z, seed=[7, 8, 7], purpose="x", index=1, count=count)
    assert noise.shape == (*shape[:-2], 3, 4, 5)
    for row, seed in enumerate([7, 8, 7]):
        assert torch.equal(noise.select(-3, row), draw(shape, seed=seed, purpose="x", index=1))
    shared = noise_like(z, seed=7, purpose="x", index=1, count=count)
    assert torch.equal(shared, noise_like(z, seed=[7, 7, 7], purpose="x", index=1, count=count))
    with pytest.raises(ShapeError):
        noise_like(z, seed=[7, 8], purpose="x", count=count)


def test_item_seeds_are_distinct_and_reproducible() -> None:
    seeds = {item_seed(seed, f"item-{item}") for seed in range(5) for item in range(100)}
    assert len(seeds) == 500
    assert item_seed(1, "0001") == item_seed(1, "0001") < 2**32


def test_seeded_weights_are_reproducible_and_keep_the_global_state() -> None:
    state, weights = torch.random.get_rng_state(), []
    for seed in (0, 0, 1):
        with seeded(seed):
            weights.append(nn.Linear(3, 3).weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(state, torch.random.get_rng_state())
