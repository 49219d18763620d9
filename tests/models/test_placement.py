"""Offloading, dtypes and autoencoders of live pipelines and loaded models."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import latentedit as le
from latentedit.models.base import Backbone
from latentedit.numerics.rng import draw, seeded
from latentedit.testing.miniature import draw_weights
from tests.miniatures.flow import flux
from tests.miniatures.noise import sdxl
from tests.miniatures.parts import autoencoder_tiny
from tests.models.families.family import CAPTION, apply_variant
from tests.testing.tolerances import relative_error


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("placed") / "flux"
    flux().save_pretrained(path, safe_serialization=True)
    return path


def velocity(model: Backbone) -> torch.Tensor:
    z = draw((1, *model.latent_shape(64, 64)), seed=0, purpose="image")
    return model.velocity(z, torch.tensor([0.6]), model.embed([CAPTION]))


PHOTO = Image.linear_gradient("L").resize((64, 64)).convert("RGB")


def edited(pipeline: Any) -> le.EditResult:
    """An edit of two steps of a live pipeline."""
    model = le.from_pipeline(pipeline, settings={"sizes": [64, 64, 96]})
    captions = {"source_prompt": "a face", "prompt": "a face with glasses"}
    return le.edit(model, PHOTO, **captions, num_inference_steps=2, progress=None)


def offload_model(pipeline: Any) -> None:
    pipeline.enable_model_cpu_offload(device="cpu")


def offload_groups(pipeline: Any) -> None:
    cpu = torch.device("cpu")
    pipeline.enable_group_offload(onload_device=cpu, offload_device=cpu, offload_type="leaf_level")


@pytest.fixture(scope="module")
def plain_edit() -> le.EditResult:
    return edited(flux())


@pytest.mark.slow
@pytest.mark.parametrize("offload", [offload_model, offload_groups])
def test_an_offloaded_pipeline_is_edited_and_measured_as_without_offloading(
    offload: Callable[[Any], None], plain_edit: le.EditResult
) -> None:
    pipeline = flux()
    offload(pipeline)
    edit = edited(pipeline)
    assert edit.image.tobytes() == plain_edit.image.tobytes()
    assert edit.record.model.fingerprint == plain_edit.record.model.fingerprint
    assert edit.cost.evaluations == plain_edit.cost.evaluations
    assert edit.verdict.text == plain_edit.verdict.text


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["fp8", "lora"])
def test_the_record_of_an_edit_has_the_fingerprint_of_changed_weights(variant: str, plain_edit: le.EditResult) -> None:
    pipeline = flux()
    apply_variant(pipeline, pipeline.transformer, variant)
    edit = edited(pipeline)
    assert edit.image.tobytes() != plain_edit.image.tobytes()
    assert edit.record.model.fingerprint == le.from_pipeline(pipeline).fingerprint
    assert edit.record.model.fingerprint != plain_edit.record.model.fingerprint


@pytest.mark.nightly
def test_a_model_loaded_in_bfloat16_matches_a_live_pipeline(folder: Path) -> None:
    pipeline = flux()
    apply_variant(pipeline, pipeline.transformer, "bfloat16")
    loaded = le.load(folder, device="cpu", dtype="bfloat16")
    live = le.from_pipeline(pipeline)
    assert loaded.network_dtype == live.network_dtype == torch.bfloat16
    assert relative_error(velocity(loaded), velocity(live)) <= 1e-5  # memory is aligned differently


def test_an_offloaded_denoiser_makes_room_for_the_text_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerate would keep it on the device, where only the larger of the two needs to fit."""
    pipeline = flux()
    offload_model(pipeline)
    model, network, sent = le.from_pipeline(pipeline), pipeline.transformer, list[object]()
    assert network._hf_hook.prev_module_hook.model is pipeline.text_encoder_2
    monkeypatch.setattr(network, "to", lambda device: sent.append(device) or network)
    velocity(model)
    sent.clear()
    model.embed([CAPTION])
    assert sent == ["cpu"]


def test_models_of_pixels_are_offloaded_too(folder_ddpm: Path, ddpm: Any) -> None:
    """They have no autoencoder and no text."""
    pipeline = DDPMPipeline.from_pretrained(folder_ddpm)
    offload_model(pipeline)
    model = le.from_pipeline(pipeline)
    z, s = draw((1, *ddpm.latent_shape(16, 16)), seed=0, purpose="pixels"), torch.tensor([0.6])
    v = model.velocity(z, s, model.embed([""]))
    assert relative_error(v, ddpm.velocity(z, s, ddpm.embed([""]))) <= 1e-5
    assert model.fingerprint == ddpm.fingerprint


@pytest.mark.slow_except("flux")
@pytest.mark.parametrize("build", [flux, sdxl])
def test_tiny_autoencoders_have_no_posterior_and_no_scale(build: Any) -> None:
    """Their latents go to the network unscaled, as in the stock pipelines."""
    pipeline = build()
    with seeded(0):
        pipeline.vae = autoencoder_tiny(4).eval()
    draw_weights(pipeline.vae, torch.Generator().manual_seed(0))
    model = le.from_pipeline(pipeline, settings={"sizes": [64, 64, 96]})
    pixels = draw((2, 3, 64, 64), seed=0, purpose="pixels").clamp(-1, 1)
    with torch.no_grad():
        z = model.encode(pixels)
        assert z.shape[1:] == model.latent_shape(64, 64)
        assert relative_error(z, pipeline.vae.encode(pixels).latents) <= 1e-5
        assert relative_error(model.decode(z), pipeline.vae.decode(z).sample) <= 1e-5
    assert not model.decode(z).requires_grad


def in_float16() -> Any:
    """SDXL as loaded in float16: its autoencoder is cast to float32 while it runs."""
    pipeline = sdxl()
    pipeline.vae.to(torch.float16)
    pipeline.vae.register_to_config(force_upcast=True)
    return pipeline


def test_derivatives_of_a_cast_autoencoder_match_float32() -> None:
    """The autoencoder is in float16 again before the derivatives are computed."""
    pipeline, wide = in_float16(), sdxl()
    wide.vae.to(torch.float16).to(torch.float32)
    gradients: list[Tensor] = []
    for one in (pipeline, wide):
        model = le.from_pipeline(one)
        z = draw((1, *model.latent_shape(64, 64)), seed=0, purpose="latents").requires_grad_()
        gradients += torch.autograd.grad(model.decode(z).square().sum(), z)
    assert pipeline.vae.dtype == torch.float16
    assert torch.equal(*gradients)


@pytest.mark.nightly
def test_threads_use_a_cast_autoencoder_one_at_a_time() -> None:
    """Otherwise the first to finish would cast it back while another one runs."""
    pipeline = in_float16()
    model, second, done = le.from_pipeline(pipeline), threading.Event(), threading.Event()
    z = draw((1, *model.latent_shape(64, 64)), seed=0, purpose="latents")
    found: list[Tensor] = []
    other = threading.Thread(target=lambda: found.append(model.decode(z)))

    def synchronize(module: nn.Module, _: object) -> None:
        if module is not pipeline.vae.decoder:
            return
        if threading.current_thread() is other:
            second.set()
            done.wait(5)
        else:
            other.start()
            second.wait(0.3)

    hook = register_module_forward_pre_hook(synchronize)  # a hook of the decoder would be refused
    with torch.no_grad():
        own = model.decode(z)
    done.set()
    other.join()
    hook.remove()
    assert torch.equal(found[0], own)
