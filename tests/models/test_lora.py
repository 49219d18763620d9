"""LoRA files: parity with the stock pipeline; files of other models are rejected."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

import latentedit as le
from latentedit.core.errors import ConfigError, ModelError
from latentedit.models.base import Backbone
from latentedit.numerics.rng import draw, seeded
from latentedit.testing.tolerances import relative_error
from tests.miniatures.flow import flux
from tests.miniatures.noise import sdxl

BUILDS = {"flux": flux, "sdxl": sdxl}


@seeded(0)
def adapted(pipeline: Any, seed: int, *, text: bool) -> None:
    """Random adapters on the denoiser's attention, and on a text encoder's."""
    denoiser = getattr(pipeline, "transformer", None) or pipeline.unet
    config = peft.LoraConfig(r=2, lora_alpha=3, target_modules=["to_q", "to_v"], init_lora_weights=False)
    denoiser.add_adapter(config)
    if text:
        pipeline.text_encoder.add_adapter(
            peft.LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj"], init_lora_weights=False)
        )
    generator = torch.Generator().manual_seed(seed)
    for network in (denoiser, pipeline.text_encoder):
        for name, parameter in network.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(std=0.1, generator=generator)


def saved_lora(build: Any, path: Path, seed: int, *, text: bool = False) -> Path:
    """Writes a file like the training scripts of diffusers."""
    pipeline = build()
    adapted(pipeline, seed, text=text)
    layers: dict[str, Any] = {}
    for part in ("transformer", "unet", "text_encoder"):
        network = getattr(pipeline, part, None)
        if network is not None and getattr(network, "peft_config", None):
            layers[f"{part}_lora_layers"] = peft.get_peft_model_state_dict(network)
            layers[f"{part}_lora_adapter_metadata"] = network.peft_config["default"].to_dict()
    type(pipeline).save_lora_weights(path.parent, weight_name=path.name, **layers)
    return path


@pytest.fixture(params=BUILDS)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def folder(family: str, tmp_path: Path) -> Path:
    BUILDS[family]().save_pretrained(tmp_path / "model", safe_serialization=True)
    return tmp_path / "model"


def velocity(backbone: Backbone) -> torch.Tensor:
    z = draw((1, *backbone.latent_shape(64, 64)), seed=0, purpose="lora")
    return backbone.velocity(z, torch.tensor([0.5]), backbone.embed(["a face with red hair"]))


@pytest.mark.nightly
@seeded(0)  # peft draws weights before it loads them
def test_loras_match_the_stock_pipeline(family: str, folder: Path, tmp_path: Path) -> None:
    """Two files with scales, one with layers of a text encoder; every file and scale matters."""
    first = saved_lora(BUILDS[family], tmp_path / "first.safetensors", 1, text=True)
    second = saved_lora(BUILDS[family], tmp_path / "second.safetensors", 2)
    stock = BUILDS[family]()
    stock.load_lora_weights(str(tmp_path), weight_name=first.name, adapter_name="first")
    stock.load_lora_weights(str(tmp_path), weight_name=second.name, adapter_name="second")
    stock.set_adapters(["first", "second"], [0.8, -0.5])
    plain, ours = le.load(folder, device="cpu"), le.load(folder, device="cpu", lora=[(first, 0.8), (second, -0.5)])
    before, expected = velocity(plain), velocity(le.from_pipeline(stock))
    assert relative_error(velocity(ours), expected) <= 1e-5
    assert relative_error(before, expected) > 1e-3
    others = [le.load(folder, device="cpu", lora=lora) for lora in ([(first, 0.8)], [(first, 0.7), (second, -0.5)])]
    assert all(relative_error(velocity(other), expected) > 1e-4 for other in others)
    assert len({model.fingerprint for model in (plain, ours, *others)}) == 4
    none, one, whole = (
        velocity(le.load(folder, device="cpu", lora=[lora])) for lora in ((first, 0.0), (first, 1.0), first)
    )
    assert relative_error(none, before) <= 1e-6
    assert torch.equal(one, whole), "a scale of 1 is the default"
    assert not any("lora" in name for name, _ in ours.pipeline.components[ours.denoiser].named_modules())  # type: ignore[attr-defined]


@pytest.mark.nightly
def test_loras_of_another_model_are_rejected(family: str, folder: Path, tmp_path: Path) -> None:
    """They have other layers, or layers of another width."""
    other = saved_lora(BUILDS["sdxl" if family == "flux" else "flux"], tmp_path / "other.safetensors", 1)
    own = saved_lora(BUILDS[family], tmp_path / "own.safetensors", 1)
    tensors = load_file(own)
    name = next(name for name in tensors if "lora_A" in name)
    save_file({**tensors, name: torch.zeros(2, 5)}, own)
    for file in (other, own):
        with pytest.raises(ModelError):
            le.load(folder, device="cpu", lora=[file])


@pytest.mark.slow_except("sdxl")
def test_invalid_lora_files_and_scales_are_rejected(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    (tmp_path / "pickle.bin").write_bytes(b"\x80\x04.")
    save_file({"other": torch.zeros(2)}, tmp_path / "weights.safetensors")
    for name in ("bad.safetensors", "pickle.bin", "missing.safetensors", "weights.safetensors"):
        with pytest.raises(ModelError, match=name):
            le.load(folder, device="cpu", lora=[tmp_path / name])
    for scale in ("nan", "inf"):
        with pytest.raises(ConfigError):
            le.load(folder, device="cpu", lora=[(tmp_path / "bad.safetensors", float(scale))])


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ("gone.safetensors", "there is no file gone.safetensors"),
        (("gone.safetensors", 0.5), "there is no file gone.safetensors"),
        ([("org/name", 0.5)], "there is no file org/name"),
        (str(Path(__file__).parent), "is a folder"),
        (Path(__file__), r"test_lora\.py is a \.py"),
    ],
)
def test_what_is_no_file_of_weights_is_refused_for_what_it_is(lora: Any, message: str) -> None:
    """Also one file that is given without a list, which was read letter by letter."""
    with pytest.raises(ModelError, match=message):
        le.load("portraits", device="cpu", lora=lora)
