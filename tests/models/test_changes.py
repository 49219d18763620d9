"""Changes of a pipeline after `from_pipeline`: they take effect as in a new model, or are refused by name.

A row is a pipeline and a change of it, and the message of an error where the change is refused.
"""

import functools
import operator
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    PNDMScheduler,
)
from diffusers.hooks import (
    FasterCacheConfig,
    FirstBlockCacheConfig,
    HookRegistry,
    LayerSkipConfig,
    MagCacheConfig,
    PyramidAttentionBroadcastConfig,
    SeaCacheConfig,
    TaylorSeerCacheConfig,
    apply_faster_cache,
    apply_first_block_cache,
    apply_layer_skip,
    apply_mag_cache,
    apply_pyramid_attention_broadcast,
    apply_taylorseer_cache,
)
from diffusers.models.attention_processor import AttnProcessor2_0, JointAttnProcessor2_0
from peft import LoraConfig

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.models.attention import uncompiled
from latentedit.models.base import Backbone
from latentedit.numerics.rng import draw, seeded
from tests.miniatures.flow import flux, qwen_image
from tests.miniatures.noise import sd_pipeline
from tests.models import own_code as own
from tests.models.own_code import Change, live_model, sd3, velocity
from tests.testing.tolerances import relative_error

Row = tuple[Callable[[], Any], Change]


def scheduler_config(**changes: Any) -> Change:
    return lambda pipeline: pipeline.scheduler.register_to_config(**changes)


def vae_config(**changes: Any) -> Change:
    return lambda pipeline: pipeline.vae.register_to_config(**changes)


def scheduler(kind: Any, **changes: Any) -> Change:
    return lambda pipeline: setattr(pipeline, "scheduler", kind.from_config(pipeline.scheduler.config, **changes))


def compiled(name: str) -> Change:
    return lambda pipeline: setattr(pipeline, name, torch.compile(getattr(pipeline, name), backend="eager"))


def with_lora(then: Change) -> Change:
    config = LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    return lambda pipeline: (pipeline.unet.add_adapter(config, adapter_name="x"), then(pipeline))


COUNTED: dict[str, Row] = {
    "prediction": (sd_pipeline, scheduler_config(prediction_type="v_prediction")),
    "FreeU": (sd_pipeline, lambda one: one.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)),
    "U-Net in bfloat16": (sd_pipeline, lambda one: one.unet.to(torch.bfloat16)),
    "shifted scheduler": (flux, scheduler(FlowMatchEulerDiscreteScheduler, use_dynamic_shifting=False, shift=5.0)),
    "mean, in place": (qwen_image, lambda one: operator.setitem(one.vae.config.latents_mean, 0, 7.0)),
    "part of a mapping": (lambda: sd_pipeline().components, lambda parts: parts.update(scheduler=DDIMScheduler())),
}
"""The fingerprint changes."""

COUNTED_BY_NIGHT: dict[str, Row] = {
    "betas": (sd_pipeline, scheduler_config(beta_end=0.03, timestep_spacing="trailing")),
    "zero SNR": (
        sd_pipeline,
        scheduler(DDIMScheduler, rescale_betas_zero_snr=True, prediction_type="v_prediction"),
    ),
    "scale of the VAE": (sd_pipeline, vae_config(scaling_factor=0.5)),
    "base shift": (flux, scheduler_config(base_shift=0.7)),
    "deviations": (qwen_image, vae_config(latents_std=[1.0] * 4)),
    "set_shift": (sd3, lambda one: one.scheduler.set_shift(6.0)),
}
OWN_CODE: dict[str, Change] = {
    "module": own.longer_block,
    "class": own.class_of_main,
    "hook": own.hook_on("proj_out", lambda: lambda _one, _inputs, output: 2 * output),
    "other hook": own.hook_on("proj_out", lambda: lambda _one, _inputs, output: 3 * output),
    "pre-hook": lambda one: one.transformer.proj_out.register_forward_pre_hook(lambda _one, x: (2 * x[0],)),
    "processor of one layer": own.one_layer(own.Weaker()),
    "partial": own.one_layer(functools.partial(own.weaker, factor=1)),
    "lambda": own.one_layer(lambda attn, *args, **given: own.weaker(attn, *args, factor=2, **given)),
}
"""Code of the user's in the denoiser of SD3, which counts as well."""

PRECISION: dict[str, Row] = {
    "compiled transformer": (flux, compiled("transformer")),
    "all in bfloat16": (sd3, lambda one: one.to(torch.bfloat16)),
}
"""Casts to the family's half precision and compilation keep the fingerprint, though outputs may differ a little."""

PRECISION_BY_NIGHT: dict[str, Row] = {
    "scheduler with the same levels": (sd_pipeline, scheduler(PNDMScheduler)),
    "VAE in float16": (sd_pipeline, lambda one: one.vae.to(torch.float16)),
    "text encoder in float16": (sd_pipeline, lambda one: one.text_encoder.to(torch.float16)),
    "transformer in float64": (flux, lambda one: one.transformer.to(torch.float64)),
    "compiled text encoder": (flux, compiled("text_encoder_2")),
}
WITHOUT_EFFECT: dict[str, Row] = {
    "LoRA of weight 0": (sd_pipeline, with_lora(lambda one: one.set_adapters(["x"], [0.0]))),
    "unloaded LoRA": (sd_pipeline, with_lora(lambda one: one.unload_lora_weights())),
    "fused projections of FLUX.1": (flux, lambda one: one.transformer.fuse_qkv_projections()),
    "disabled FreeU": (sd_pipeline, lambda one: (one.enable_freeu(1, 2, 3, 4), one.disable_freeu())),
    "processor of diffusers": (sd3, own.all_layers(JointAttnProcessor2_0)),
    "step, which is never called": (sd3, lambda one: setattr(one.scheduler, "step", own.function)),
    "compiled in place": (sd3, lambda one: one.transformer.compile(backend="eager")),
    "patch that was undone": (sd3, lambda one: setattr(one.vae, "decode", one.vae.decode)),
}
"""The velocity and the fingerprint are those from before."""

CACHES: dict[str, Change] = {
    "every second call": own.in_place_of("x_embedder", own.every_second),
    "written in place": own.hook_on("context_embedder", own.written_in_place),
}
"""Caches that no list knows, in FLUX.1."""

COUNTING: dict[str, Change] = {
    "keeps": own.all_layers(lambda: own.Recorder(lambda self, out: next(x for x in self.maps if type(x) is type(out)))),
    "every fifth": own.all_layers(lambda: own.Counter(lambda calls: calls % 5 == 0)),
}
"""Attention processors in SD3 whose answer depends on earlier calls."""

Refusal = tuple[Callable[[], Any], Change, str]

REFUSED: dict[str, Refusal] = {
    "another family": (
        flux,
        lambda one: setattr(one, "transformer", sd3().transformer),
        "StableDiffusion3Backbone|do not fit",
    ),
    "no text encoder": (flux, lambda one: setattr(one, "text_encoder", None), "text_encoder"),
    "inverted levels": (flux, scheduler_config(invert_sigmas=True), "invert_sigmas"),
    "unknown prediction": (sd_pipeline, scheduler_config(prediction_type="flow"), "'flow'"),
    "layer skip": (
        flux,
        lambda one: apply_layer_skip(one.transformer, LayerSkipConfig(indices=[0], fqn="transformer_blocks")),
        "layer_skip_hook",
    ),
    "enabled cache": (
        flux,
        lambda one: one.transformer.enable_cache(FirstBlockCacheConfig(0.1)),
        r"transformer.disable_cache\(\)",
    ),
    "cache filled at another size": (
        flux,
        own.hook_on("proj_out", lambda: lambda _one, _inputs, output: output + torch.zeros(1, 7, 1)),
        r"transformer of this FluxPipeline fails at its smallest size, 64 x 80 px.*\(7\)",
    ),
    "patch of the denoiser": (
        flux,
        lambda one: setattr(one.transformer, "forward", types.MethodType(own.of_teacache, one.transformer)),
        "runs of_teacache of tests.models.own_code in place of the forward of its FluxTransformer2DModel",
    ),
    "patch of a block": (
        flux,
        lambda one: setattr(one.transformer.transformer_blocks[0].ff, "forward", lambda x: x),
        r"runs <lambda>.* of tests.models.test_changes in place of the forward of its FeedForward",
    ),
    "processor by a name of diffusers": (sd3, own.one_layer(own.Disguised()), "Disguised"),
    "decode": (sd3, own.patch("vae", "decode"), r"wrapped.<locals>.around|AutoencoderKL.decode"),
    "encode_prompt": (sd3, own.patch("", "encode_prompt"), "encode_prompt of its StableDiffusion3Pipeline"),
    "partial forward": (sd3, own.partial_patch, "tests.models.own_code"),
    "compiled patch": (sd3, own.compiled_patch, "tests.models.own_code"),
    "hook of a text encoder": (sd3, lambda one: one.text_encoder.register_forward_hook(own.hook), "own_code.hook"),
    "module of the VAE": (sd3, lambda one: setattr(one.vae.decoder, "conv_act", own.Larger()), "own_code.Larger"),
}
"""Every use of the live model and a new model raise an error that names the reason."""


def by_day_and_night(day: dict[str, Row], night: dict[str, Row]) -> list[Any]:
    rows = [pytest.param(*row, id=name) for name, row in day.items()]
    return rows + [pytest.param(*row, id=name, marks=pytest.mark.nightly) for name, row in night.items()]


def outputs(model: Backbone) -> tuple[object, ...]:
    """Properties and outputs of a model."""
    z = draw((1, *model.latent_shape(32, 32)), seed=3, purpose="live").to(model.dtype)
    image = draw((1, 3, 32, 32), seed=4, purpose="live").clamp(-1, 1).to(model.dtype)
    text = model.embed(["a face"])
    v = model.velocity(z, torch.tensor([0.5], dtype=z.dtype), text)
    values = [text.tokens, v, model.encode(image), model.decode(z)]
    properties = model.fingerprint, model.capabilities, model.network_dtype, model.grid(4).levels
    return *properties, *[value.tolist() for value in values]


def check_followed(pipeline: Any, change: Change, *, is_counted: bool) -> None:
    """Check that a live model does as a new model does, tracing aside, which takes seconds."""
    live = live_model(pipeline)
    before, _ = live.fingerprint, live.capabilities
    with seeded(0):
        change(pipeline)
    with uncompiled(), torch.no_grad():
        assert outputs(live) == outputs(live_model(pipeline))
    assert (live.fingerprint != before) == is_counted


@pytest.mark.slow_except("FreeU")
@pytest.mark.parametrize(("build", "change"), by_day_and_night(COUNTED, COUNTED_BY_NIGHT))
def test_what_changes_outputs_counts_in_the_fingerprint(build: Any, change: Change) -> None:
    check_followed(build(), change, is_counted=True)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "change"), by_day_and_night(PRECISION, PRECISION_BY_NIGHT))
def test_casts_and_compilation_take_effect_and_do_not_count(build: Any, change: Change) -> None:
    check_followed(build(), change, is_counted=False)


def test_own_code_in_the_denoiser_counts_in_the_fingerprint() -> None:
    fingerprints = {"": live_model(sd3()).fingerprint}
    for name, change in OWN_CODE.items():
        pipeline = sd3()
        change(pipeline)
        fingerprints[name] = live_model(pipeline).fingerprint
    assert len(set(fingerprints.values())) == len(fingerprints), fingerprints


@pytest.mark.slow_except("fused projections of FLUX.1")
@pytest.mark.parametrize(("build", "change"), by_day_and_night(WITHOUT_EFFECT, {}))
def test_what_keeps_the_velocity_keeps_the_fingerprint(build: Any, change: Change) -> None:
    pipeline = build()
    live = live_model(pipeline)
    before, z, s = live.fingerprint, torch.ones(1, *live.latent_shape(64, 64)), torch.tensor([0.5])
    text = live.embed(["a face"])
    with torch.no_grad(), uncompiled():
        v = live.velocity(z, s, text)
        with seeded(0):
            change(pipeline)
        for model in (live, live_model(pipeline)):
            assert torch.allclose(model.velocity(z, s, text), v, atol=1e-5)
            assert model.fingerprint == before


def uses_of(live: Any) -> list[Callable[[], object]]:
    """Return calls of a model, any of which may be the first after a change."""
    z, s, text = torch.zeros(1, *live.latent_shape(64, 64)), torch.tensor([0.5]), live.embed(["a"])
    return [
        lambda: live.fingerprint,
        lambda: live.grid(4),
        lambda: live.velocity(z, s, text),
        lambda: live.decode(z),
        lambda: live.embed(["a"]),
    ]


def check_refused(uses: list[Callable[[], object]], pipeline: Any, pattern: str) -> str:
    """Check that every use raises the error, and every time, and so does a new model, whose message is returned."""
    for use in uses:
        with pytest.raises(ModelError, match=pattern):
            use()
    with pytest.raises(ModelError, match=pattern) as caught:
        live_model(pipeline)
    return str(caught.value)


@pytest.mark.slow_except(
    "enabled cache", "encode_prompt", "hook of a text encoder", "inverted levels", "processor by a name of diffusers"
)
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused_by_name(name: str) -> None:
    build, change, pattern = REFUSED[name]
    pipeline = build()
    uses = uses_of(live_model(pipeline))
    change(pipeline)
    check_refused(uses, pipeline, pattern)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("every second call", torch.bfloat16),
        ("written in place", torch.float32),
    ],
)
def test_caches_that_no_list_knows_are_refused(name: str, dtype: torch.dtype) -> None:
    pipeline = flux().to(dtype)
    CACHES[name](pipeline)
    check_refused([], pipeline, "fails on one image after a batch of four")


@pytest.mark.parametrize("name", COUNTING)
def test_processors_that_depend_on_earlier_calls_are_refused(name: str) -> None:
    pipeline = sd3()
    COUNTING[name](pipeline)
    reasons = "reuses results|different velocities|fails on one image"
    check_refused([], pipeline, f"({reasons}).* Take out tests.models.own_code")


@pytest.mark.slow
@pytest.mark.parametrize("make", [own.Recorder, lambda: own.Counter(lambda _: False)])
def test_a_processor_that_only_counts_or_records_is_taken(make: Any) -> None:
    pipeline, plain = sd3(), live_model(sd3())
    pipeline.transformer.set_attn_processor(make())
    model = live_model(pipeline)
    assert torch.equal(velocity(model), velocity(plain))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mix", "dtype"),
    [
        (lambda x: 0.8 * x + 0.2 * x.mean(0, keepdim=True), torch.float32),
        (lambda x: 0.8 * x + 0.2 * x.flip(0), torch.bfloat16),
        (lambda x: x if len(x) < 2 else 0.5 * x, torch.bfloat16),
    ],
    ids=["the mean", "the order", "the number"],
)
def test_what_mixes_a_batch_is_refused(mix: Any, dtype: torch.dtype) -> None:
    """Attention adds less here than half precision rounds, so the processor runs in single precision alone."""
    hooked, processed = sd3().to(dtype), sd3()
    hooked.transformer.transformer_blocks[0].register_forward_hook(lambda _one, _in, out: tuple(map(mix, out)))
    check_refused([], hooked, "beside other images")
    if dtype == torch.float32:
        processed.transformer.set_attn_processor(lambda *args, **given: own.each(own.function(*args, **given), mix))
        check_refused([], processed, "beside other images")


def test_other_methods_are_looked_at_in_a_new_model_only() -> None:
    pipeline = sd3()
    own.patch("transformer.transformer_blocks.0.attn", "prepare_attention_mask")(pipeline)
    check_refused([], pipeline, "prepare_attention")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "kind", "method", "patch"),
    [
        (flux, FluxTransformer2DModel, "forward", own.of_teacache),
        (sd3, AttnProcessor2_0, "__call__", torch.no_grad()(own.wrapped(AttnProcessor2_0.__call__))),
    ],
    ids=["transformer", "attention of the VAE"],
)
def test_a_patched_class_is_refused_by_name(
    build: Any, kind: type, method: str, patch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scripts of TeaCache patch a class, which also changes models that are loaded here."""
    pipeline = build()
    pipeline.save_pretrained(tmp_path / "model")
    uses = uses_of(live_model(pipeline))
    with monkeypatch.context() as patched:
        patched.setattr(kind, method, patch)
        check_refused(uses, pipeline, "own_code")
        with pytest.raises(ModelError, match="own_code"):
            le.load(tmp_path / "model", device="cpu")
    live_model(pipeline)


@pytest.mark.slow
def test_a_class_whose_loading_a_hub_replaced_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The velocity of a pipeline that is there does not depend on where pipelines come from."""
    pipeline = sd3()
    before = live_model(pipeline).fingerprint
    monkeypatch.setattr(type(pipeline), "from_pretrained", lambda *_, **__: pipeline)
    monkeypatch.setattr(type(pipeline), "to", lambda self, *_: self, raising=False)
    assert live_model(pipeline).fingerprint == before


MAG = MagCacheConfig(threshold=0.5, max_skip_steps=3, num_inference_steps=8, mag_ratios=torch.ones(8))


@pytest.mark.slow
def test_a_cache_applied_by_a_function_is_refused_by_name() -> None:
    """Its third call reused the residual of its second, so that velocities were off by a quarter; the remedy helps."""
    pipeline = sd3()
    model = live_model(pipeline)
    before, uses = velocity(model), uses_of(model)
    apply_mag_cache(pipeline.transformer, MAG)
    message = check_refused(uses, pipeline, "mag_cache_leader_block_hook, mag_cache_block_hook")
    registry = HookRegistry.check_if_exists_or_initialize(pipeline.transformer)
    for name in re.findall(r"remove_hook\('(\w+)'\)", message):
        registry.remove_hook(name)
    assert torch.equal(velocity(model), before)
    assert live_model(pipeline).fingerprint == model.fingerprint


FASTER = FasterCacheConfig(
    spatial_attention_block_skip_range=2,
    tensor_format="BCHW",
    is_guidance_distilled=True,
    current_timestep_callback=lambda: 500,
)
PYRAMID = PyramidAttentionBroadcastConfig(
    spatial_attention_block_skip_range=2,
    current_timestep_callback=lambda: 500,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("apply", "config", "hook"),
    [
        (apply_first_block_cache, FirstBlockCacheConfig(0.1), "fbc_block_hook"),
        (apply_faster_cache, FASTER, "faster_cache_denoiser"),
        (apply_pyramid_attention_broadcast, PYRAMID, "pyramid_attention_broadcast"),
        (apply_taylorseer_cache, TaylorSeerCacheConfig(), "taylorseer_cache"),
        (None, SeaCacheConfig(), "sea_cache_block"),
    ],
    ids=["first block", "faster", "pyramid", "taylorseer", "sea"],
)
def test_caches_of_diffusers_are_refused_by_name(apply: Any, config: Any, hook: str) -> None:
    """The remedy follows from the way in which the cache was added; SeaCache has one way only."""
    enabled = flux()
    enabled.transformer.enable_cache(config)
    check_refused([], enabled, rf"{hook}.*transformer\.disable_cache\(\)")
    if apply is not None:
        applied = flux()
        apply(applied.transformer, config)
        check_refused([], applied, rf"{hook}.*remove_hook\('{hook}'\)")


def with_acting_lora(pipeline: Any) -> None:
    with seeded(0):
        config = LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"], init_lora_weights=False)
        own.denoiser(pipeline).add_adapter(config, adapter_name="x")


@pytest.mark.slow
@pytest.mark.parametrize(("build", "is_fused_first"), [(flux, True), (sd_pipeline, False)])
def test_a_lora_on_fused_projections_is_refused(build: Any, is_fused_first: bool) -> None:
    """It did not act there (in U-Nets it did in part), and the fingerprint was that of the model where it acts."""
    pipeline = build()
    plain, model = live_model(build()), live_model(pipeline)
    uses = uses_of(model)
    steps: list[Change] = [lambda one: own.denoiser(one).fuse_qkv_projections(), with_acting_lora]
    with seeded(0):
        for change in steps if is_fused_first else steps[::-1]:
            change(pipeline)
    message = check_refused(uses, pipeline, "fused projections")
    name = "transformer" if build is flux else "unet"
    assert message.endswith(f"Call pipeline.{name}.unfuse_qkv_projections()")
    pipeline.disable_lora()
    assert relative_error(velocity(model), velocity(plain)) < 1e-5
    assert model.fingerprint == plain.fingerprint
    pipeline.enable_lora()
    check_refused(uses, pipeline, "fused projections")
    own.denoiser(pipeline).unfuse_qkv_projections()
    acting = build()
    with_acting_lora(acting)
    true = live_model(acting)
    assert relative_error(velocity(model), velocity(true)) < 1e-5
    assert model.fingerprint == true.fingerprint != plain.fingerprint
