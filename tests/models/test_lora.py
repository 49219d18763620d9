"""LoRAs that diffusers loaded into a live pipeline."""

import itertools
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

import latentedit as le
from latentedit.models.base import Backbone
from latentedit.numerics.rng import draw, seeded
from tests.miniatures.flow import flux
from tests.miniatures.noise import sdxl
from tests.testing.tolerances import relative_error

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


def velocity(backbone: Backbone) -> torch.Tensor:
    z = draw((1, *backbone.latent_shape(64, 64)), seed=0, purpose="lora")
    return backbone.velocity(z, torch.tensor([0.5]), backbone.embed(["a face with red hair"]))


@pytest.mark.nightly
@seeded(0)  # peft draws weights before it loads them
def test_loras_of_a_pipeline_count_with_their_files_and_scales(family: str, tmp_path: Path) -> None:
    """Two files, one with layers of a text encoder. Merged into the weights, they give the same velocity."""
    first = saved_lora(BUILDS[family], tmp_path / "first.safetensors", 1, text=True)
    second = saved_lora(BUILDS[family], tmp_path / "second.safetensors", 2)
    pipeline = BUILDS[family]()
    model = le.from_pipeline(pipeline)
    velocities, fingerprints = [velocity(model)], [model.fingerprint]
    pipeline.load_lora_weights(str(tmp_path), weight_name=first.name, adapter_name="first")
    pipeline.load_lora_weights(str(tmp_path), weight_name=second.name, adapter_name="second")
    for scales in ([0.8, 0.0], [0.7, -0.5], [0.8, -0.5]):
        pipeline.set_adapters(["first", "second"], scales)
        velocities.append(velocity(model))
        fingerprints.append(model.fingerprint)
    for before, after in itertools.combinations(velocities, 2):
        assert relative_error(before, after) > 1e-4
    assert len(set(fingerprints)) == 4
    parts = sorted(pipeline.get_list_adapters())
    pipeline.fuse_lora(components=parts, adapter_names=["first", "second"])
    pipeline.unload_lora_weights()
    assert relative_error(velocity(le.from_pipeline(pipeline)), velocities[-1]) <= 1e-5
