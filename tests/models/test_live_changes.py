"""What the user changes in a pipeline after from_pipeline: heeded as a new model would, or refused by name."""

import copy
import gc
import json
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    FirstBlockCacheConfig,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
)
from peft import LoraConfig
from PIL import Image

import latentedit as le
from latentedit.core.errors import ConfigError, ModelError
from latentedit.core.rng import draw, seeded
from latentedit.editors import FlowEdit
from latentedit.models.attention import uncompiled
from latentedit.models.base import Backbone
from latentedit.models.model_settings import read_settings
from latentedit.models.registry import bundled_folder, bundled_names, weights_fingerprint
from latentedit.testing.miniature import saved, sd3_pipeline
from tests.miniatures.flow import flux, qwen_image
from tests.miniatures.noise import sd_pipeline
from tests.models.families.family import SETTINGS, noise_image

pytestmark = pytest.mark.slow

Change = Callable[[Any], object]


def sd3() -> Any:
    return sd3_pipeline(t5=False)


def made(pipeline: Any) -> Backbone:
    return le.from_pipeline(pipeline, settings=SETTINGS)


def seen(model: Backbone) -> tuple[object, ...]:
    """What a model says and computes."""
    z = draw((1, *model.latent_shape(32, 32)), seed=3, purpose="live").to(model.dtype)
    image = draw((1, 3, 32, 32), seed=4, purpose="live").clamp(-1, 1).to(model.dtype)
    text = model.embed(["a face"])
    v = model.velocity(z, torch.tensor([0.5], dtype=z.dtype), text)
    values = [text.tokens, v, model.encode(image), model.decode(z)]
    about = model.fingerprint, model.capabilities, model.network_dtype, model.grid(4).levels
    return *about, *[value.tolist() for value in values]


def scheduled(**changes: Any) -> Change:
    return lambda pipeline: pipeline.scheduler.register_to_config(**changes)


def coded(**changes: Any) -> Change:
    return lambda pipeline: pipeline.vae.register_to_config(**changes)


def replaced(kind: Any, **changes: Any) -> Change:
    def change(pipeline: Any) -> None:
        pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **changes)

    return change


def part(name: str, change: Callable[[Any], Any]) -> Change:
    def changed(pipeline: Any) -> None:
        if (new := change(getattr(pipeline, name))) is not None:
            setattr(pipeline, name, new)

    return changed


def compiled(network: Any) -> Any:
    return torch.compile(network, backend="eager")


@pytest.mark.parametrize(
    ("build", "change", "counts"),
    [
        (sd_pipeline, scheduled(prediction_type="v_prediction"), True),
        (sd_pipeline, scheduled(beta_end=0.03, timestep_spacing="trailing"), True),
        (sd_pipeline, replaced(DDIMScheduler, rescale_betas_zero_snr=True, prediction_type="v_prediction"), True),
        (sd_pipeline, replaced(EulerDiscreteScheduler, timestep_spacing="trailing"), True),
        (sd_pipeline, replaced(PNDMScheduler), False),
        (sd_pipeline, lambda pipeline: pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4), True),
        (sd_pipeline, part("vae", lambda vae: vae.to(torch.bfloat16)), False),
        (sd_pipeline, part("text_encoder", lambda encoder: encoder.to(torch.bfloat16)), False),
        (flux, scheduled(base_shift=0.7), True),
        (flux, replaced(FlowMatchEulerDiscreteScheduler, use_dynamic_shifting=False, shift=5.0), True),
        (sd3, lambda pipeline: pipeline.to(torch.bfloat16), False),
        (flux, part("transformer", lambda network: network.to(torch.float64)), False),
        (flux, part("transformer", compiled), False),
        (flux, part("transformer", lambda network: network.compile(backend="eager")), False),
        (flux, part("text_encoder_2", compiled), False),
        (sd3, lambda pipeline: pipeline.scheduler.set_shift(6.0), True),
        (lambda: sd_pipeline().components, lambda parts: parts.update(scheduler=DDIMScheduler()), True),
    ],
)
def test_a_change_is_heeded_as_by_a_new_model(build: Any, change: Change, counts: bool) -> None:
    """Casts and compiling make no other model, what levels and velocities depend on does."""
    pipeline = build()
    live = made(pipeline)
    before, _ = live.fingerprint, live.capabilities
    change(pipeline)
    new = made(pipeline)
    with uncompiled():  # tracing takes seconds
        assert seen(live) == seen(new)
    assert (live.fingerprint != before) == counts


def put(values: list[float]) -> Change:
    def change(pipeline: Any) -> None:
        pipeline.vae.config.latents_mean[0] = values[0]

    return change


@pytest.mark.parametrize(
    ("build", "change", "name"),
    [
        (sd_pipeline, coded(scaling_factor=0.5), r"scaling_factor of the vae changed from 0\.18215 to 0\.5"),
        (flux, coded(shift_factor=0.3), r"shift_factor of the vae changed from \S+ to 0\.3"),
        (qwen_image, coded(latents_std=[1.0] * 4), "latents_std of the vae changed"),
        (qwen_image, put([7.0]), r"latents_mean of the vae changed from .* to \[7"),
        (sd_pipeline, lambda pipeline: setattr(pipeline, "vae", sd_pipeline(seed=1).vae), "vae .* was exchanged"),
        (flux, lambda pipeline: setattr(pipeline, "text_encoder", None), "text_encoder .* was exchanged"),
        (flux, part("transformer", lambda one: one.register_to_config(guidance_embeds=False)), "guidance_embeds of"),
        (flux, scheduled(invert_sigmas=True), "levels rise"),
        (sd_pipeline, scheduled(prediction_type="flow"), "predicts 'flow'"),
        (sd_pipeline, lambda pipeline: setattr(pipeline, "scheduler", None), "has no scheduler"),
        (sd_pipeline, part("vae", lambda vae: vae.to("meta")), "on two devices"),
        (flux, part("transformer", lambda one: one.enable_cache(FirstBlockCacheConfig(0.1))), "reuses features"),
    ],
)
def test_what_no_latent_from_before_would_fit_is_refused_by_name(build: Any, change: Change, name: str) -> None:
    """By whatever is asked for first, and again."""
    pipeline = build()
    live = made(pipeline)
    z, text = torch.zeros(1, *live.latent_shape(64, 64)), live.embed(["a"])
    change(pipeline)
    requested: list[Callable[[], object]] = [
        lambda: live.fingerprint,
        lambda: live.grid(4),
        lambda: live.velocity(z, torch.tensor([0.5]), text),
        lambda: live.decode(z),
        lambda: live.embed(["a"]),
    ]
    for predict in requested:
        with pytest.raises(ModelError, match=name):
            predict()


def test_stored_configurations_count_in_the_fingerprint(tmp_path: Path) -> None:
    """Of what is loaded from a folder, and of its files alone; a direction is refused then."""
    folder = saved(sd_pipeline(), tmp_path)
    first = le.load(folder, device="cpu")
    latent = le.encode(first, noise_image(64, 64), source_prompt="a")
    direction = le.identify(latent, prompt="a face", method=le.HSDS(steps=1))
    assert first.fingerprint == weights_fingerprint(folder) == made(sd_from(folder)).fingerprint
    found = [first.fingerprint]
    for file, key, value in (
        ("vae/config.json", "scaling_factor", 0.5),
        ("scheduler/scheduler_config.json", "prediction_type", "v_prediction"),
        ("scheduler/scheduler_config.json", "beta_end", 0.03),
    ):
        config = folder / file
        config.write_text(json.dumps({**json.loads(config.read_text()), key: value}))
        found.append(weights_fingerprint(folder))
    last = le.load(folder, device="cpu")
    assert last.fingerprint == found[-1]
    assert len(set(found)) == 4
    with pytest.raises(ConfigError, match="in another model"):
        direction.check_model(last.name, last.fingerprint)


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_models_keep_their_fingerprints(name: str) -> None:
    """Directions, records and results of before have them."""
    folder = bundled_folder(name)
    assert weights_fingerprint(name) == read_settings(folder)["fingerprint"]


def sd_from(folder: Path) -> Any:
    return StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)


def with_lora(pipeline: Any, *names: str) -> None:
    for name in names:
        with seeded(0):
            config = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
            pipeline.unet.add_adapter(config, adapter_name=name)


def active(pipeline: Any, **scales: float) -> None:
    pipeline.set_adapters(list(scales), list(scales.values()))


def in_folder() -> Any:
    return sd_pipeline()


@pytest.mark.parametrize(
    ("change", "build"),
    [
        (lambda pipeline: (with_lora(pipeline, "x"), pipeline.disable_lora()), in_folder),
        (lambda pipeline: (with_lora(pipeline, "x"), active(pipeline, x=0.0)), sd_pipeline),
        (lambda pipeline: (with_lora(pipeline, "x"), pipeline.delete_adapters("x")), sd_pipeline),
        (lambda pipeline: (with_lora(pipeline, "x"), pipeline.unload_lora_weights()), sd_pipeline),
        (lambda pipeline: pipeline.fuse_qkv_projections(), sd_pipeline),
        (lambda pipeline: (pipeline.fuse_qkv_projections(), pipeline.unfuse_qkv_projections()), sd_pipeline),
        (lambda pipeline: pipeline.transformer.fuse_qkv_projections(), flux),
        (lambda pipeline: (pipeline.enable_freeu(1, 2, 3, 4), pipeline.disable_freeu()), sd_pipeline),
    ],
)
def test_what_leaves_the_velocity_as_it_is_leaves_the_fingerprint(change: Change, build: Any, tmp_path: Path) -> None:
    """Live and afterwards; of a folder, that of its files."""
    pipeline = build()
    if build is in_folder:
        pipeline = sd_from(saved(pipeline, tmp_path))
    live = made(pipeline)
    before, z, s = live.fingerprint, torch.ones(1, *live.latent_shape(64, 64)), torch.tensor([0.5])
    text = live.embed(["a face"])
    v = live.velocity(z, s, text)
    with seeded(0):
        change(pipeline)
    assert torch.allclose(live.velocity(z, s, text), v, atol=1e-5)
    assert live.fingerprint == before == made(pipeline).fingerprint


def test_fused_projections_and_adapters_that_act_count() -> None:
    """And a model that was made with an adapter is that without it, once it is disabled."""
    pipeline, plain = sd_pipeline(), made(sd_pipeline())
    with_lora(pipeline, "x", "y")
    active(pipeline, x=1.0)
    live = made(pipeline)
    found = [live.fingerprint]
    active(pipeline, y=1.0)
    found.append(live.fingerprint)
    active(pipeline, x=1.0, y=0.5)
    found.append(live.fingerprint)
    pipeline.disable_lora()
    assert live.fingerprint == plain.fingerprint
    pipeline.delete_adapters(["x", "y"])
    with seeded(0):
        pipeline.fuse_qkv_projections()
    fused = next(module.to_qkv for module in pipeline.unet.modules() if hasattr(module, "to_qkv"))
    assert live.fingerprint == plain.fingerprint
    fused.weight.data[0] += 1
    found += [live.fingerprint, plain.fingerprint]
    assert len(set(found)) == 5


METHOD = FlowEdit(level=0.6, steps=2, source_guidance=1.0, target_guidance=2.0)


@pytest.mark.parametrize(
    "change",
    [
        part("vae", lambda vae: vae.to(torch.bfloat16)),
        part("text_encoder", lambda encoder: encoder.to(torch.float64)),
        lambda pipeline: pipeline.vae.decoder.conv_in.bias.add_(1),
        lambda pipeline: next(pipeline.text_encoder.parameters()).mul_(2),
    ],
    ids=["vae cast", "text cast", "vae", "text"],
)
def test_images_encoded_before_their_encoders_changed_are_refused(change: Change) -> None:
    """What is computed of them would be half of each; encoded again, they are edited as by a new model."""
    pipeline, image = sd_pipeline(), noise_image(64, 64)
    session = le.Session(le.encode(made(pipeline), image, source_prompt="a"))
    pipeline.unet.conv_out.bias.data[0] += 1
    session.latent.check_encoders()
    with torch.no_grad():
        change(pipeline)
    for use in (
        lambda: session.sweep(strengths=[1.0], prompt="b", method=METHOD),
        lambda: session.identify(prompt="b"),
    ):
        with pytest.raises(ModelError, match="changed after these images were encoded"):
            use()


def test_a_detached_result_frees_the_network_and_can_be_kept() -> None:
    """So can one with a model: a pickle has none, a copy shares it."""
    pipeline, image = sd_pipeline(), noise_image(64, 64)
    model = made(pipeline)
    result = le.edit(model, image, source_prompt="a", prompt="b", method=METHOD, force=True)
    copied, packed = copy.deepcopy(result), pickle.dumps(result)
    assert copied.latent.backbone is model
    assert copied.image is not result.image
    assert b"conv_in" not in packed, "the networks"
    detached, alive = result.detach(), weakref.ref(pipeline.unet)
    del model, pipeline, result, copied
    gc.collect()
    assert alive() is None
    kept: list[Any] = [detached, copy.deepcopy(detached), pickle.loads(pickle.dumps(detached)), pickle.loads(packed)]
    for one in kept:
        assert one.image.tobytes() == detached.image.tobytes() != one.undo().tobytes()
        assert one.record == detached.record
        assert torch.equal(one.latent.z, detached.latent.z)
        assert "SETTINGS" not in repr(one) + repr(one.latent)
        with pytest.raises(ConfigError, match="detached from its model"):
            le.Session(one.latent).sweep(strengths=[1.0], prompt="b", method=METHOD)
    assert isinstance(kept[2].undo(), Image.Image)
