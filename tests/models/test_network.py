"""Behavior that adapters share, on miniature models."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from latentedit.core.errors import ConfigError, DeviceError, ModelError, ShapeError
from latentedit.models.attention import differentiable_attention
from latentedit.models.families.unet import DDPMBackbone
from latentedit.models.loading import open_folder
from latentedit.models.network import NetworkBackbone
from latentedit.models.registry import load
from latentedit.models.sites import keeping, projections
from latentedit.numerics.device import existing_device, parse_dtype
from latentedit.numerics.rng import draw
from tests.models.folders import folder_with
from tests.testing.tolerances import relative_error

CAPTION = "a person with red hair and glasses"


@pytest.fixture(params=["sd", "without_t5"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def backbone(name: str, request: pytest.FixtureRequest) -> NetworkBackbone:
    return request.getfixturevalue(name)


@pytest.fixture
def folder(name: str, request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"folder_{name}")


@pytest.mark.slow_except("without_t5")
def test_bfloat16_networks_keep_float32_latents(name: str, backbone: NetworkBackbone, folder: Path) -> None:
    half: Any = load(folder, device="cpu", dtype=torch.bfloat16)
    condition = half.embed([CAPTION])
    assert (backbone.device.type, backbone.dtype, backbone.network_dtype) == ("cpu", torch.float32, torch.float32)
    assert (half.dtype, half.network_dtype) == (torch.float32, torch.bfloat16)
    assert (condition.tokens.dtype, condition.pooled.dtype) == (torch.float32, torch.float32)
    z, s = draw((1, *half.latent_shape(64, 64)), seed=3, purpose="start"), torch.tensor([0.6])
    v, exact = half.velocity(z, s, condition), backbone.velocity(z, s, backbone.embed([CAPTION]))
    assert v.dtype == torch.float32
    # eight bits of mantissa through some twenty layers, times 1 / (1 - s) where noise is predicted
    assert 0 < relative_error(v, exact) < {"sd": 0.1, "without_t5": 0.05}[name]
    assert half.encode(torch.zeros(1, 3, 64, 64)).dtype == torch.float32


@pytest.mark.slow_except("without_t5")
def test_settings_of_the_folder_are_read(name: str, folder: Path, tmp_path: Path) -> None:
    settings = {"guidance": 2.5, "sizes": [32, 64, 96], "zero_tokens": 3, "vocabulary": ["a", "red", "t-shirt"]}
    model = load(folder_with(folder, tmp_path / "set", "latentedit.json", **settings), device="cpu")
    assert (model.capabilities.guidance, model.capabilities.sizes) == (2.5, (32, 64, 96))
    assert model.embed([""]).tokens.shape[1] == {"sd": 20, "without_t5": 20 + 3}[name]
    assert model.unseen_words("A red t-shirt, green") == ["green"]
    assert model.defaults == settings
    wrong = folder_with(folder, tmp_path / "wrong", "latentedit.json", sizes=[64, 32, 96])
    with pytest.raises(ModelError):
        load(wrong, device="cpu")


def test_mismatched_inputs_are_rejected(backbone: NetworkBackbone) -> None:
    side, s, condition = backbone.capabilities.sizes[0], torch.tensor([0.5]), backbone.embed([CAPTION])
    z = torch.zeros(1, *backbone.latent_shape(64, 64))
    widths = rf"{condition.tokens.shape[-1]}.*{condition.pooled.shape[-1]}"
    narrow = dataclasses.replace(condition, tokens=condition.tokens[..., :-1])
    for latent, text, message in ((z[..., :7], condition, "2"), (z, narrow, widths)):
        with pytest.raises(ShapeError, match=message):
            backbone.velocity(latent, s, text)
    for pixels, error, message in (
        (torch.zeros(1, 3, side + 1, side), ShapeError, "16"),
        (torch.zeros(1, 3, side, side, device="meta"), DeviceError, "meta"),
    ):
        with pytest.raises(error, match=message):
            backbone.encode(pixels)
    with pytest.raises(ConfigError):
        backbone.embed([])


def test_dtypes_and_devices_are_chosen_and_validated(folder: Path) -> None:
    assert parse_dtype("bfloat16") == parse_dtype(torch.bfloat16) == torch.bfloat16
    model_folder = open_folder(folder)
    large_folder = dataclasses.replace(model_folder, shapes={"vae": {"weight": (2**29 + 1,)}})
    assert model_folder.default_dtype(torch.device("cuda")) == torch.float32
    assert large_folder.default_dtype(torch.device("cuda")) == model_folder.adapter.half
    assert large_folder.default_dtype(torch.device("cpu")) == torch.float32
    assert existing_device("cpu") == torch.device("cpu")
    assert existing_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(DeviceError):
        existing_device("meta")  # a record may name it, but tensors there have no values
    for device, dtype, message in (
        ("cpu", torch.int8, "int8"),
        ("cuda:99", "auto", "cuda:99"),
        ("abacus", "auto", "abacus"),
    ):
        with pytest.raises((ConfigError, DeviceError), match=message):
            load(folder, device=device, dtype=dtype)


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


def test_sites_are_the_blocks_in_order(sd: Any, ddpm: DDPMBackbone) -> None:
    """Attention layers are in the order in which the network runs them."""
    blocks = ("down.0", "down.1", "mid", "up.0", "up.1")
    assert sd.sites[:5] == ddpm.sites[:5] == blocks
    assert sd.default_site == ddpm.default_site == "mid"
    for backbone, sides in ((sd, (4, 4, 4, 8, 8)), (ddpm, (8, 8, 8, 16, 16))):
        z = draw((1, *backbone.latent_shape(*[backbone.capabilities.sizes[1]] * 2)), seed=0, purpose="sites")
        for site, side in zip(blocks, sides, strict=True):
            feature = backbone.features(z, torch.tensor([0.5]), backbone.embed([""]), site)
            assert feature.shape[2:] == (side, side)
    z = draw((1, *sd.latent_shape(64, 64)), seed=0, purpose="sites")
    with keeping(projections(sd._attention())) as found:
        sd.velocity(z, torch.tensor([0.5]), sd.embed([""]))
    assert list(dict.fromkeys(name.rpartition(".")[0] for name in found)) == list(sd.attention_layers)
    assert [name.partition(".")[0] for name in sd.attention_layers] == ["down", "mid", "up", "up"]
    assert (sd.capabilities.sizes, sd.capabilities.size_multiple) == ((16, 64, 96), 16)


def test_forward_mode_supports_group_norms_of_any_memory_layout(ddpm: Any) -> None:
    """PyTorch rejects layouts that attention leaves behind: without the context this raises."""
    norm = ddpm._network.mid_block.resnets[0].norm1
    assert isinstance(norm, torch.nn.GroupNorm)
    x = draw((1, 64, 16), seed=0, purpose="norm").transpose(1, 2).reshape(1, 16, 8, 8)
    x = x.as_strided(x.shape, (1024, 1, 128, 16))
    with differentiable_attention():
        _, tangent = torch.func.jvp(norm, (x,), (x.flip(2).contiguous().as_strided(x.shape, x.stride()),))
    assert bool(tangent.isfinite().all())
