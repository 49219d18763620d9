"""Live pipelines: Stable Diffusion as it is loaded by name, and those that are refused in one line."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import accelerate
import pytest
import torch
from diffusers import FirstBlockCacheConfig, FluxPipeline, UniPCMultistepScheduler
from peft import LoraConfig

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.core.rng import seeded
from latentedit.testing.miniatures.flow import flux, sd3_pipeline

pytestmark = pytest.mark.slow


@pytest.mark.nightly
def test_an_offloaded_or_compiled_model_has_the_fingerprint_of_its_weights() -> None:
    """Accelerate keeps them between calls."""

    def offloaded(seed: int) -> Any:
        pipeline = flux(seed=seed)
        for network in (pipeline.transformer, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
            accelerate.cpu_offload(network, torch.device("cpu"))
        return pipeline

    whole, other = (le.from_pipeline(flux(seed=seed)) for seed in (0, 1))
    assert [le.from_pipeline(offloaded(seed)).fingerprint for seed in (0, 1)] == [whole.fingerprint, other.fingerprint]
    compiled = flux()
    compiled.transformer = torch.compile(compiled.transformer, backend="eager")
    live = le.from_pipeline(compiled)
    assert (live.fingerprint, live.sites) == (whole.fingerprint, whole.sites)


@pytest.mark.nightly
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_pipeline_has_the_fingerprint_of_its_folder_until_its_weights_change(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    """In whatever dtype it was loaded."""
    flux().save_pretrained(tmp_path)
    known = le.load(tmp_path, device="cpu").fingerprint
    plain = le.from_pipeline(flux(), name="mine", settings={"guidance": 2.0})
    assert (plain.name, plain.capabilities.guidance) == ("mine", 2.0)
    assert plain.fingerprint not in ("", known)
    changed = [FluxPipeline.from_pretrained(tmp_path, torch_dtype=dtype) for _ in range(5)]
    assert le.from_pipeline(changed[0]).fingerprint == known
    changed[1].transformer.proj_out.bias.data[0] += 1
    with seeded(0):
        changed[2].transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    changed[3].vae = flux(seed=1).vae.to(dtype)
    del changed[4].text_encoder_2.encoder.block[-1]
    assert len({le.from_pipeline(one).fingerprint for one in changed}) == 5
    (tmp_path / "vae/config.json").unlink()
    assert le.from_pipeline(changed[0]).fingerprint != known, "the folder is no model any more"


def spoilt(*, denoiser: dict[str, Any] | None = None, cached: bool = False, **parts: Any) -> Any:
    """A pipeline with other parts, or other modules in its denoiser, than it should have."""
    pipeline = flux()
    for whole, changes in ((pipeline, parts), (pipeline.transformer, denoiser or {})):
        for name, value in changes.items():
            setattr(whole, name, value)
    if cached:
        pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    return pipeline


def a_class(name: str) -> Any:
    """An object of a class of that name."""
    return type(name, (SimpleNamespace,), {})()


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (lambda: spoilt(denoiser={"encoder_hid_proj": torch.nn.Identity()}), r"pipeline\.unload_ip_adapter\(\)"),
        (lambda: a_class("FluxFillPipeline"), "FluxFillPipeline, which is an inpainting model.*text-to-image model"),
        (lambda: a_class("FluxxPipeline"), "FluxxPipeline, which is not supported.*FluxPipeline.*CallableBackbone"),
        (lambda: spoilt(tokenizer_2=None), "the FluxPipeline has no tokenizer_2"),
        (lambda: spoilt(transformer=sd3_pipeline(t5=False).transformer), "is not a FluxTransformer2DModel"),
        (lambda: spoilt(text_encoder_2=flux().text_encoder_2.train()), r"Call pipeline\.text_encoder_2\.eval\(\)"),
        (lambda: spoilt(cached=True), r"reuses features.*Call pipeline\.transformer\.disable_cache\(\)"),
        (lambda: spoilt(vae=flux().vae.to("meta")), "are on two devices: transformer on cpu, vae on meta"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_one_line(pipeline: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        le.from_pipeline(pipeline())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("made_of_the_models_own", [True, False])
def test_levels_of_a_flow_are_shifted_as_the_pipelines_scheduler_does_it(made_of_the_models_own: bool) -> None:
    """With another solver, by its ``flow_shift``: its nodes end at 1 / 1000, so they are near ours, and not equal."""
    pipeline, solver = flux(guidance_embeds=False), cast("Any", UniPCMultistepScheduler)
    config: Any = pipeline.scheduler.config if made_of_the_models_own else {}
    settings: Any = {"use_flow_sigmas": True, "flow_shift": 5.0, "prediction_type": "flow_prediction"}
    pipeline.scheduler = solver.from_config(config, **settings)
    pipeline.scheduler.set_timesteps(7)
    assert le.from_pipeline(pipeline).grid(7).levels == pytest.approx(pipeline.scheduler.sigmas.tolist(), abs=2e-3)


@pytest.mark.parametrize("build", [sd3_pipeline, flux])
def test_a_shift_that_was_set_is_heeded(build: Any) -> None:
    """SD3's nodes go on ending where the shift of its configuration put the smallest level."""
    pipeline = build(t5=False) if build is sd3_pipeline else build(guidance_embeds=False)
    before = le.from_pipeline(pipeline).grid(7)
    pipeline.scheduler.set_shift(6.0)
    sigmas = None if build is sd3_pipeline else torch.linspace(1, 1 / 7, 7).tolist()
    pipeline.scheduler.set_timesteps(None if sigmas else 7, sigmas=sigmas)
    levels = le.from_pipeline(pipeline).grid(7).levels
    assert levels == pytest.approx(pipeline.scheduler.sigmas.tolist(), abs=1e-6)
    assert levels != before.levels
