import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit_bench.metrics.structure import (
    network_input,
    picture_structure_distance,
    self_similarity,
    structure_distance,
)


def features(seed: int, shape: tuple[int, ...] = (2, 3, 5, 4)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_against_a_loop_over_pairs(seed: int) -> None:
    a, b = features(seed), features(seed + 1)
    found = structure_distance(a, b)
    for index in range(2):
        total = 0.0
        for i in range(5):
            for j in range(5):
                cosines = []
                for keys in (a, b):
                    x, y = (keys[index, :, token].numpy().reshape(-1) for token in (i, j))
                    cosines.append(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))
                total += (cosines[0] - cosines[1]) ** 2
        assert math.isclose(found[index], total / 25, rel_tol=1e-10)


def test_known_values() -> None:
    """All tokens at right angles against all alike: every pair of two differs by 1; against opposite ones by 2."""
    apart, alike = torch.eye(4)[None, None], torch.ones(1, 1, 4, 4)
    assert math.isclose(structure_distance(apart, alike), 12 / 16, rel_tol=1e-12)
    ends = torch.tensor([1.0, -1.0])[None, None, :, None]
    assert math.isclose(structure_distance(ends, torch.ones(1, 1, 2, 1)), 4 * 2 / 4, rel_tol=1e-12)


def test_scales_and_common_turns_do_not_count() -> None:
    keys = features(0, (1, 1, 6, 5))
    turn = torch.linalg.qr(features(1, (5, 5))).Q
    lengths = features(2, (1, 1, 6, 1)).abs() + 0.1
    # every cosine is kept but for rounding, some 1e-16; squared, it is below 1e-30
    assert structure_distance(keys @ turn * lengths, keys) < 1e-30
    assert structure_distance(keys * torch.tensor([1.0, 2, 1, 1, 1]), keys) > 1e-4


def test_heads_are_joined() -> None:
    keys = features(3)
    joined = keys.transpose(1, 2).flatten(2)[:, None]
    assert torch.allclose(self_similarity(keys), self_similarity(joined), rtol=1e-12)


def test_a_token_without_a_key_resembles_none() -> None:
    keys = features(4, (1, 1, 3, 2))
    keys[0, 0, 1] = 0
    assert self_similarity(keys)[0, 1].tolist() == [0, 0, 0]


def test_keys_of_two_shapes_are_refused() -> None:
    with pytest.raises((ShapeError, TypeCheckError), match=r"one shape|source"):
        structure_distance(features(0), features(0)[..., :3])


def test_legacy_feeds_255_where_1_is_meant() -> None:
    white = torch.ones(1, 3, 224, 224)
    deviation = torch.tensor([0.229, 0.224, 0.225])
    mean = torch.tensor([0.485, 0.456, 0.406])
    for mode, brightest in (("legacy", 255), ("corrected", 1)):
        fed = network_input(white, mode=mode)
        assert fed.dtype == torch.float32
        assert torch.allclose(fed[0].flatten(1).mean(1), (brightest - mean) / deviation, rtol=1e-5)
        black = network_input(-white, mode=mode)
        assert torch.allclose(black[0].flatten(1).mean(1), -mean / deviation, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "expected"), [((512, 512), (224, 224)), ((64, 128), (224, 448)), ((1000, 100), (480, 48))]
)
def test_pictures_are_scaled_to_224_and_480_at_most(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert network_input(torch.zeros(1, 3, *size), mode="corrected").shape[2:] == expected


def test_modes_are_checked() -> None:
    with pytest.raises((ConfigError, TypeCheckError), match="mode"):
        network_input(torch.zeros(1, 3, 8, 8), mode="old")  # type: ignore[arg-type]


def test_the_recipe_for_a_vision_transformer() -> None:
    """That of the docstring, on a random one of two layers."""
    from transformers import ViTConfig, ViTModel

    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 8}
    model = ViTModel(ViTConfig(**sizes, patch_size=56), add_pooling_layer=False).eval()
    kept: list[Tensor] = []
    model.layers[1].attention.k_proj.register_forward_hook(lambda module, inputs, output: kept.append(output))

    def keys(pictures: Tensor) -> Tensor:
        model(pixel_values=pictures)
        return kept.pop()[:, None]

    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1 for _ in range(2))
    assert keys(network_input(a, mode="legacy")).shape == (2, 1, 17, 12)
    assert picture_structure_distance(a, a, keys, mode="corrected").tolist() == [0, 0]
    corrected, legacy = (picture_structure_distance(a, b, keys, mode=mode) for mode in ("corrected", "legacy"))
    assert (corrected > 0).all()
    assert not torch.allclose(corrected, legacy, rtol=0.01)
