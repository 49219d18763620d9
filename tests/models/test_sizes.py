"""Networks are compared with their weights before they are allocated; what is counted, and for which weights."""

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from latentedit.core.errors import ModelError
from latentedit.models.registry import load
from latentedit.models.sizes import check_built, check_fields
from tests.models.folders import folder_with

FILE = Path("transformer/config.json")
SIDE = 4096  # side of a matrix whose 17 million numbers are above the least bound
MATRIX = {"weight": (SIDE, SIDE)}


def kind(build: Callable[[], nn.Module]) -> Any:
    """A class of diffusers that builds this from any configuration."""
    return SimpleNamespace(from_config=lambda _: build())


def matrix() -> nn.Module:
    return nn.Linear(SIDE, SIDE, bias=False)


@pytest.mark.parametrize("stored", [(SIDE, SIDE), (SIDE * SIDE // 2, 1)], ids=["plain", "two in a byte"])
def test_plain_and_quantized_weights_are_accepted(stored: tuple[int, int]) -> None:
    check_built(FILE, {}, kind(matrix), {"weight": stored, "scale": (SIDE,)})


def test_more_numbers_than_any_packing_holds_are_rejected() -> None:
    with pytest.raises(ModelError, match=f"parameters is {SIDE * SIDE:,}, more than"):
        check_built(FILE, {}, kind(matrix), {"weight": (SIDE, SIDE // 8)})


def test_tables_are_counted_too() -> None:
    def built() -> nn.Module:
        network = nn.Module()
        network.register_buffer("table", torch.arange(SIDE * SIDE, dtype=torch.float32), persistent=False)
        return network

    with pytest.raises(ModelError, match="parameters"):
        check_built(FILE, {}, kind(built), {"weight": (1,)})


def test_tables_that_are_not_registered_are_counted_before_they_are_computed() -> None:
    def built() -> nn.Module:
        angles = torch.outer(torch.arange(SIDE), torch.arange(SIDE))
        pytest.fail(f"{angles.numel()} numbers were computed")

    with pytest.raises(ModelError, match="parameters"):
        check_built(FILE, {}, kind(built), {"weight": (1,)})


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("axes_dims_rope", 10_000),
        ("axes_dims", 10_000),
        ("axes_lens", 10_000),
        ("pos_embed_max_size", 10_000),
        ("downsample_padding", 100),
        ("num_layers", 1000),
        ("depth", 1000),
    ],
)
def test_fields_are_bounded_without_weights(name: str, most: int) -> None:
    """Some fields are read by no constructor, and others make one take long; also where a file names no tensors."""
    check_fields(FILE, {"inner": [{name: [16, most]}]})
    for value in (most + 1, 10**9):
        with pytest.raises(ModelError, match=f"{name} is {value:,}, more than"):
            check_fields(FILE, {"inner": [{name: [16, value]}]})


@pytest.mark.slow_except("100000")
@pytest.mark.parametrize("value", [10**5, 10**9])
def test_sides_of_images_are_bounded(value: int, folder_sd: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"sample_size means images of {8 * value:,} px"):
        load(folder_with(folder_sd, tmp_path / "sd", "unet/config.json", sample_size=value), device="cpu")


@pytest.mark.slow_except("21")
@pytest.mark.parametrize("value", [21, 10**9])
def test_texts_are_padded_to_the_positions_of_their_encoder_at_most(
    value: int, folder_sd: Path, tmp_path: Path
) -> None:
    model = load(
        folder_with(folder_sd, tmp_path / "sd", "tokenizer/tokenizer_config.json", model_max_length=value), device="cpu"
    )
    with pytest.raises(ModelError, match=f"{value:,}, beyond the 20 positions"):
        model.embed(["a face"])


@pytest.mark.parametrize("layer", [lambda: nn.Linear(1, 1), lambda: nn.LayerNorm(1), matrix])
def test_a_constructor_without_an_end_is_stopped(layer: Callable[[], nn.Module]) -> None:
    with pytest.raises(ModelError, match="more than allowed"):
        check_built(FILE, {}, kind(lambda: nn.Sequential(*(layer() for _ in itertools.count()))), MATRIX)


def test_initial_values_are_left_out() -> None:
    """They are drawn on no device, and not from the global random numbers."""
    drawn = list[torch.Tensor]()

    def built() -> nn.Module:
        network = matrix()
        drawn.append(nn.init.trunc_normal_(network.weight))
        return network

    check_built(FILE, {}, kind(built), MATRIX)
    assert drawn[0].is_meta


def test_gguf_names_no_tensors() -> None:
    check_built(FILE, {}, kind(lambda: pytest.fail("a network was built")), {})
