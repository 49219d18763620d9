"""Changes of a pipeline after from_pipeline take effect as in a new model, or are rejected by name."""

import copy
import gc
import json
import operator
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
)
from peft import LoraConfig
from PIL import Image

import latentedit as le
from latentedit.core.errors import ConfigError, ModelError
from latentedit.editors import FlowEdit
from latentedit.models.attention import uncompiled
from latentedit.models.base import Backbone
from latentedit.models.model_settings import read_settings
from latentedit.models.network import NetworkBackbone
from latentedit.models.registry import bundled_folder, bundled_names
from latentedit.numerics.rng import draw, seeded
from latentedit.testing.miniature import saved, sd3_pipeline
from tests.miniatures.flow import flux, qwen_image
from tests.miniatures.noise import sd_pipeline
from tests.models.families.family import SETTINGS, noise_image

pytestmark = pytest.mark.slow

Change = Callable[[Any], object]


def sd3() -> Any:
    return sd3_pipeline(t5=False)


def live_model(pipeline: Any) -> Backbone:
    return le.from_pipeline(pipeline, settings=SETTINGS)


def outputs(model: Backbone) -> tuple[object, ...]:
    """Properties and outputs of a model."""
    z = draw((1, *model.latent_shape(32, 32)), seed=3, purpose="live").to(model.dtype)
    image = draw((1, 3, 32, 32), seed=4, purpose="live").clamp(-1, 1).to(model.dtype)
    text = model.embed(["a face"])
    v = model.velocity(z, torch.tensor([0.5], dtype=z.dtype), text)
    values = [text.tokens, v, model.encode(image), model.decode(z)]
    properties = model.fingerprint, model.capabilities, model.network_dtype, model.grid(4).levels
    return *properties, *[value.tolist() for value in values]


def set_scheduler_config(**changes: Any) -> Change:
    return lambda pipeline: pipeline.scheduler.register_to_config(**changes)


def set_vae_config(**changes: Any) -> Change:
    return lambda pipeline: pipeline.vae.register_to_config(**changes)


def replace_scheduler(kind: Any, **changes: Any) -> Change:
    def change(pipeline: Any) -> None:
        pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **changes)

    return change


def change_part(name: str, change: Callable[[Any], Any]) -> Change:
    def changed(pipeline: Any) -> None:
        if (new := change(getattr(pipeline, name))) is not None:
            setattr(pipeline, name, new)

    return changed


def compiled(network: Any) -> Any:
    return torch.compile(network, backend="eager")


# By day one of each kind of change: to the schedule, the numbers of the autoencoder, the dtype, parts, compilation.
BY_DAY: list[tuple[Any, Change, bool]] = [
    (sd_pipeline, set_scheduler_config(prediction_type="v_prediction"), True),
    (sd_pipeline, replace_scheduler(EulerDiscreteScheduler, timestep_spacing="trailing"), True),
    (sd_pipeline, lambda pipeline: pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4), True),
    (sd_pipeline, change_part("unet", lambda network: network.to(torch.bfloat16)), True),
    (sd_pipeline, lambda pipeline: setattr(pipeline, "vae", sd_pipeline(seed=1).vae), True),
    (flux, set_vae_config(shift_factor=0.3), True),
    (flux, replace_scheduler(FlowMatchEulerDiscreteScheduler, use_dynamic_shifting=False, shift=5.0), True),
    (flux, change_part("transformer", compiled), False),
    (qwen_image, lambda pipeline: operator.setitem(pipeline.vae.config.latents_mean, 0, 7.0), True),
    (sd3, lambda pipeline: pipeline.to(torch.bfloat16), False),
    (lambda: sd_pipeline().components, lambda parts: parts.update(scheduler=DDIMScheduler()), True),
]
BY_NIGHT: list[tuple[Any, Change, bool]] = [
    (sd_pipeline, set_scheduler_config(beta_end=0.03, timestep_spacing="trailing"), True),
    (
        sd_pipeline,
        replace_scheduler(DDIMScheduler, rescale_betas_zero_snr=True, prediction_type="v_prediction"),
        True,
    ),
    (sd_pipeline, replace_scheduler(PNDMScheduler), False),
    (sd_pipeline, change_part("vae", lambda vae: vae.to(torch.float16)), False),
    (sd_pipeline, change_part("text_encoder", lambda encoder: encoder.to(torch.float16)), False),
    (sd_pipeline, set_vae_config(scaling_factor=0.5), True),
    (flux, set_scheduler_config(base_shift=0.7), True),
    (flux, change_part("transformer", lambda network: network.to(torch.float64)), False),
    (flux, change_part("transformer", lambda network: network.compile(backend="eager")), False),
    (flux, change_part("text_encoder_2", compiled), False),
    (qwen_image, set_vae_config(latents_std=[1.0] * 4), True),
    (sd3, lambda pipeline: pipeline.scheduler.set_shift(6.0), True),
]


@pytest.mark.parametrize(
    ("build", "change", "changes_fingerprint"),
    [*BY_DAY, *(pytest.param(*one, marks=pytest.mark.nightly) for one in BY_NIGHT)],
)
def test_changes_take_effect_as_in_a_new_model(build: Any, change: Change, changes_fingerprint: bool) -> None:
    """Casts to the family's half precision and compilation keep the fingerprint; what changes outputs does not."""
    pipeline = build()
    live = live_model(pipeline)
    before, _ = live.fingerprint, live.capabilities
    change(pipeline)
    new = live_model(pipeline)
    with uncompiled():  # tracing takes seconds
        assert outputs(live) == outputs(new)
    assert (live.fingerprint != before) == changes_fingerprint


@pytest.mark.parametrize(
    ("build", "change", "name"),
    [
        (flux, lambda pipeline: setattr(pipeline, "transformer", sd3().transformer), "StableDiffusion3Backbone"),
        (flux, lambda pipeline: setattr(pipeline, "text_encoder", None), "text_encoder"),
        (flux, set_scheduler_config(invert_sigmas=True), "invert_sigmas"),
        (sd_pipeline, set_scheduler_config(prediction_type="flow"), "'flow'"),
        (sd_pipeline, lambda pipeline: setattr(pipeline, "scheduler", None), "scheduler"),
        (sd_pipeline, change_part("vae", lambda vae: vae.to("meta")), "meta"),
    ],
)
def test_changes_without_a_velocity_are_rejected_by_name(build: Any, change: Change, name: str) -> None:
    """By whatever is called first, and every time."""
    pipeline = build()
    live = live_model(pipeline)
    z, text = torch.zeros(1, *live.latent_shape(64, 64)), live.embed(["a"])
    change(pipeline)
    calls: list[Callable[[], object]] = [
        lambda: live.fingerprint,
        lambda: live.grid(4),
        lambda: live.velocity(z, torch.tensor([0.5]), text),
        lambda: live.decode(z),
        lambda: live.embed(["a"]),
    ]
    for call in calls:
        with pytest.raises(ModelError, match=name):
            call()


def test_the_fingerprint_depends_on_stored_configurations(tmp_path: Path) -> None:
    """That of a loaded model and that of its files alone; directions of the old model are rejected."""
    folder = saved(sd_pipeline(), tmp_path)
    first = le.load(folder, device="cpu")
    latent = le.encode(first, noise_image(64, 64), source_prompt="a")
    direction = le.identify(latent, prompt="a face", method=le.HSDS(steps=1))
    stock: Any = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    assert first.fingerprint == live_model(stock).fingerprint
    found = [first.fingerprint]
    for file, key, value in (
        ("vae/config.json", "scaling_factor", 0.5),
        ("scheduler/scheduler_config.json", "prediction_type", "v_prediction"),
        ("scheduler/scheduler_config.json", "beta_end", 0.03),
    ):
        config = folder / file
        config.write_text(json.dumps({**json.loads(config.read_text()), key: value}))
        found.append(le.load(folder, device="cpu").fingerprint)
    last = le.load(folder, device="cpu")
    assert last.fingerprint == found[-1]
    assert len(set(found)) == 4
    with pytest.raises(ConfigError):
        direction.check_model(last.name, last.fingerprint)


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_models_keep_their_fingerprints(name: str) -> None:
    """Stored directions, records and results refer to them."""
    folder = bundled_folder(name)
    assert le.load(name, device="cpu").fingerprint == read_settings(folder)["fingerprint"]


def with_lora(pipeline: Any, *names: str) -> None:
    for name in names:
        with seeded(0):
            config = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
            pipeline.unet.add_adapter(config, adapter_name=name)


def active(pipeline: Any, **scales: float) -> None:
    pipeline.set_adapters(list(scales), list(scales.values()))


@pytest.mark.parametrize(
    ("change", "build"),
    [
        (lambda pipeline: (with_lora(pipeline, "x"), pipeline.disable_lora()), sd_pipeline),
        (lambda pipeline: (with_lora(pipeline, "x"), active(pipeline, x=0.0)), sd_pipeline),
        (lambda pipeline: (with_lora(pipeline, "x"), pipeline.delete_adapters("x")), sd_pipeline),
        (lambda pipeline: (with_lora(pipeline, "x"), pipeline.unload_lora_weights()), sd_pipeline),
        (lambda pipeline: pipeline.fuse_qkv_projections(), sd_pipeline),
        (lambda pipeline: (pipeline.fuse_qkv_projections(), pipeline.unfuse_qkv_projections()), sd_pipeline),
        (lambda pipeline: pipeline.transformer.fuse_qkv_projections(), flux),
        (lambda pipeline: (pipeline.enable_freeu(1, 2, 3, 4), pipeline.disable_freeu()), sd_pipeline),
    ],
)
def test_changes_that_keep_the_velocity_keep_the_fingerprint(change: Change, build: Any) -> None:
    """In the live model and in a new one."""
    pipeline = build()
    live = live_model(pipeline)
    before, z, s = live.fingerprint, torch.ones(1, *live.latent_shape(64, 64)), torch.tensor([0.5])
    text = live.embed(["a face"])
    v = live.velocity(z, s, text)
    with seeded(0):
        change(pipeline)
    assert torch.allclose(live.velocity(z, s, text), v, atol=1e-5)
    assert live.fingerprint == before == live_model(pipeline).fingerprint


def test_fused_projections_and_active_adapters_change_the_fingerprint() -> None:
    """A disabled adapter does not, even if the model was made with it."""
    pipeline, plain = sd_pipeline(), live_model(sd_pipeline())
    with_lora(pipeline, "x", "y")
    active(pipeline, x=1.0)
    live = live_model(pipeline)
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
        change_part("vae", lambda vae: vae.to(torch.bfloat16)),
        change_part("text_encoder", lambda encoder: encoder.to(torch.float64)),
        set_vae_config(scaling_factor=0.5),
        lambda pipeline: setattr(pipeline, "vae", sd_pipeline(seed=1).vae),
        lambda pipeline: pipeline.vae.decoder.conv_in.bias.add_(1),
        lambda pipeline: next(pipeline.text_encoder.parameters()).mul_(2),
    ],
    ids=["vae cast", "text cast", "scale", "another vae", "vae", "text"],
)
def test_latents_from_before_a_change_of_encoders_are_rejected(change: Change) -> None:
    """Their edits would mix the old encoders with the new ones."""
    pipeline, image = sd_pipeline(), noise_image(64, 64)
    session = le.Session(le.encode(live_model(pipeline), image, source_prompt="a"))
    pipeline.unet.conv_out.bias.data[0] += 1
    session.latent.check_encoders()
    with torch.no_grad():
        change(pipeline)
    for use in (
        lambda: session.sweep(strengths=[1.0], prompt="b", method=METHOD),
        lambda: session.identify(prompt="b"),
    ):
        with pytest.raises(ModelError):
            use()


def test_a_detached_result_frees_the_network_and_can_be_copied() -> None:
    """So can a result with a model: a pickle has no model, a copy shares it."""
    pipeline, image = sd_pipeline(), noise_image(64, 64)
    model = live_model(pipeline)
    result = le.edit(model, image, source_prompt="a", prompt="b", method=METHOD, force=True)
    copied, packed = copy.deepcopy(result), pickle.dumps(result)
    assert copied.latent.backbone is model
    assert copied.image is not result.image
    assert b"conv_in" not in packed, "the pickle contains networks"
    detached, alive = result.detach(), weakref.ref(pipeline.unet)
    del model, pipeline, result, copied
    gc.collect()
    assert alive() is None
    copies: list[Any] = [detached, copy.deepcopy(detached), pickle.loads(pickle.dumps(detached)), pickle.loads(packed)]
    for one in copies:
        assert one.image.tobytes() == detached.image.tobytes() != one.undo().tobytes()
        assert one.record == detached.record
        assert torch.equal(one.latent.z, detached.latent.z)
        with pytest.raises(ConfigError):
            le.Session(one.latent).sweep(strengths=[1.0], prompt="b", method=METHOD)
    assert isinstance(copies[2].undo(), Image.Image)


def test_an_edit_looks_at_the_pipeline_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its parts, configurations and modules, when an edit begins; outside of an edit at every use."""
    model, image = live_model(sd_pipeline()), noise_image(64, 64)
    looks, kind = list[str](), cast("Any", NetworkBackbone)
    own = kind._look
    monkeypatch.setattr(NetworkBackbone, "_look", lambda self: looks.append("") or own(self))
    le.edit(model, image, source_prompt="a", prompt="b", method=METHOD, force=True)
    assert len(looks) == 1
    assert model.dtype == model.network_dtype
    assert len(looks) == 3


@pytest.mark.parametrize("build", [sd3, sd_pipeline])
def test_a_default_device_of_torch_changes_nothing(build: Any) -> None:
    """On "meta" nothing is computed: not in text encoders, schedules, searches, edits and bases."""

    def computed() -> tuple[object, ...]:
        model = live_model(pipeline)
        described: Any = {"source_prompt": "a wall", "progress": False}
        edited = le.edit(model, image, "a man", method="eim", search={"steps": 1}, steps=1, **described)
        found = le.identify(model, image, "a man", steps=1, **described)
        basis = le.local_basis(model, image, rank=1, steps=2, source_prompt="a wall")
        return model.fingerprint, edited.image.tobytes(), found.fingerprint, basis.v.tolist()

    pipeline, image = build(), Image.new("RGB", (32, 32), "red")
    before = computed()
    try:
        torch.set_default_device("meta")
        assert computed() == before
    finally:
        torch.set_default_device(None)
