"""Placement, storage and autoencoders of loaded models and live pipelines."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import latentedit as le
from latentedit.models.base import Backbone
from latentedit.numerics.rng import draw, seeded
from latentedit.testing.miniature import draw_weights
from latentedit.testing.tolerances import relative_error
from tests.miniatures.flow import flux
from tests.miniatures.noise import sdxl
from tests.miniatures.parts import autoencoder_tiny
from tests.models.families.family import CAPTION, apply_variant

FP8 = torch.float8_e4m3fn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("placed") / "flux"
    flux().save_pretrained(path, safe_serialization=True)
    return path


def velocity(model: Backbone) -> torch.Tensor:
    z = draw((1, *model.latent_shape(64, 64)), seed=0, purpose="image")
    return model.velocity(z, torch.tensor([0.6]), model.embed([CAPTION]))


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("options", "variant", "is_plain"),
    [
        ({"storage": FP8}, "fp8", False),
        ({"placement": "groups"}, "groups", True),
        ({"placement": "model", "dtype": "auto"}, "", True),
        ({"dtype": "bfloat16"}, "bfloat16", False),
    ],
)
def test_loaded_models_match_live_pipelines(
    folder: Path, options: dict[str, Any], variant: str, is_plain: bool
) -> None:
    pipeline = flux()
    if variant:
        apply_variant(pipeline, pipeline.transformer, variant)
    loaded, live = le.load(folder, device="cpu", **options), le.from_pipeline(pipeline)
    assert loaded.network_dtype == live.network_dtype
    v = velocity(loaded)
    assert relative_error(v, velocity(live)) <= 1e-5  # memory is aligned differently
    assert (relative_error(v, velocity(le.from_pipeline(flux()))) <= 1e-5) == is_plain


def test_an_offloaded_denoiser_makes_room_for_the_text_encoders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerate would keep it on the device, where only the larger of the two needs to fit."""
    model: Any = le.load(folder, device="cpu", placement="model")
    network, sent = model.pipeline.transformer, list[object]()
    assert network._hf_hook.prev_module_hook.model is model.pipeline.text_encoder_2
    assert model.pipeline.vae._hf_hook.prev_module_hook.model is network
    monkeypatch.setattr(network, "to", lambda device: sent.append(device) or network)
    velocity(model)
    sent.clear()
    model.embed([CAPTION])
    assert sent == ["cpu"]


def test_models_of_pixels_are_offloaded_too(folder_ddpm: Path, ddpm: Any) -> None:
    """They have no autoencoder, which others run last. Like all that are loaded, they are frozen."""
    network: Any = le.load(folder_ddpm, device="cpu", placement="model").pipeline.unet  # type: ignore[attr-defined]
    assert hasattr(network, "_hf_hook")
    for one in (network, ddpm.pipeline.unet):
        assert not one.training
        assert not any(part.requires_grad for part in one.parameters())


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
