"""Models from live pipelines: fingerprints, variants, schedulers, and pipelines that are rejected."""

import types
from typing import Any, ClassVar, cast

import accelerate
import diffusers
import pytest
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FluxControlNetPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    LCMScheduler,
    UNet2DModel,
    UniPCMultistepScheduler,
)

import latentedit as le
from latentedit.core.errors import ConfigError, ModelError
from latentedit.encoding.encode import fit_all
from latentedit.numerics.rng import seeded
from latentedit.testing.miniature import sd3_pipeline
from tests.miniatures.flow import auraflow, cogview4, flux, krea2, qwen_image, qwen_image21, sana
from tests.miniatures.noise import sd_pipeline
from tests.models.families.family import SETTINGS, noise_image


@pytest.mark.nightly
def test_an_offloaded_or_compiled_model_has_the_fingerprint_of_its_weights() -> None:
    """Accelerate stores offloaded weights between calls."""

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


def broken_pipeline(*, denoiser: dict[str, Any] | None = None, **parts: Any) -> Any:
    """A pipeline with replaced parts, or replaced modules in its denoiser."""
    pipeline = flux()
    for whole, changes in ((pipeline, parts), (pipeline.transformer, denoiser or {})):
        for name, value in changes.items():
            setattr(whole, name, value)
    return pipeline


def rebuilt(kind: Any, **parts: Any) -> Any:
    """A pipeline of another class on the parts of a miniature."""
    return kind(**{**flux().components, **parts})


def with_wide_input() -> Any:
    """FLUX.1 whose transformer takes twice as many channels, as in Fill and Depth."""
    pipeline = flux()
    with seeded(0):
        pipeline.transformer = FluxTransformer2DModel.from_config({**pipeline.transformer.config, "in_channels": 32})
    return pipeline


def seeded_network(kind: Any, **settings: Any) -> Any:
    """A network with seeded weights."""
    with seeded(0):
        return kind(**settings)


ONE_BLOCK: dict[str, Any] = {
    "down_block_types": ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",),
    "block_out_channels": (4,),
    "norm_num_groups": 4,
}


class CustomPipeline(FluxPipeline):
    """A user's subclass, which encodes text differently."""

    def encode_prompt(self, *args: Any, **options: Any) -> Any:
        tokens, pooled, ids = super().encode_prompt(*args, **options)
        return 2 * tokens, pooled, ids


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    [
        lambda: flux().components,
        lambda: rebuilt(
            FluxControlNetPipeline, controlnet=seeded_network(torch.nn.Linear, in_features=1, out_features=1)
        ),
        lambda: rebuilt(CustomPipeline),
    ],
    ids=["mapping", "controlnet", "subclass"],
)
def test_variants_of_a_pipeline_have_the_same_velocity(variant: Any, recwarn: pytest.WarningsRecorder) -> None:
    """A warning names a component that edits do not use; a subclass may encode text differently."""
    stock, pipeline = le.from_pipeline(flux(), settings=SETTINGS), variant()
    found = le.from_pipeline(pipeline, settings=SETTINGS)
    z, s = torch.ones(1, *stock.latent_shape(64, 64)), torch.tensor([0.5])
    texts = [model.embed(["a face"]) for model in (found, stock)]
    assert torch.equal(found.velocity(z, s, texts[1]), stock.velocity(z, s, texts[1]))
    custom = isinstance(pipeline, CustomPipeline)
    assert torch.equal(texts[0].tokens, (2 if custom else 1) * texts[1].tokens)
    added = [str(one.message) for one in recwarn if "edits do not use" in str(one.message)]
    extra = {"FluxControlNetPipeline": "controlnet"}
    kind = type(pipeline).__name__
    assert [kind in one and extra[kind] in one for one in added] == [True] * (kind in extra)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "build"),
    [
        ("Krea2TurboModularPipeline", lambda: krea2(turbo=True)),
        ("QwenImageEditPlusModularPipeline", lambda: qwen_image("plus")),
        ("QwenImage21TurboModularPipeline", lambda: qwen_image21(turbo=True)),
    ],
)
def test_modular_pipelines_give_the_models_of_stock_pipelines(kind: str, build: Any) -> None:
    """Including a distilled model without guidance, and an edit model with a processor only."""
    pipeline, stock = getattr(diffusers, kind)(), build()
    accepted = set(pipeline.blocks.component_names)
    pipeline.update_components(**{name: part for name, part in stock.components.items() if name in accepted and part})
    settings = ("text_encoder_select_layers", "sample_sigmas")
    pipeline.register_to_config(**{name: stock.config[name] for name in settings if name in stock.config})
    first, second = (le.from_pipeline(one, settings=SETTINGS) for one in (pipeline, stock))
    assert first.capabilities.guidance_kind == second.capabilities.guidance_kind
    z, s = torch.ones(1, *first.latent_shape(64, 64)), torch.tensor([0.5])
    assert torch.equal(*(model.velocity(z, s, model.embed(["a face"])) for model in (first, second)))


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (diffusers.Flux3ModularPipeline, "Flux3ModularPipeline"),
        (
            lambda: broken_pipeline(denoiser={"encoder_hid_proj": torch.nn.Identity()}),
            "encoder_hid_proj|unload_ip_adapter",
        ),
        (with_wide_input, "8.*4.*Fill"),
        (lambda: {"transformer": torch.nn.Identity()}, "transformer Identity"),
        (lambda: "org/name", "'org/name'"),
        (lambda: flux().transformer, "FluxTransformer2DModel"),
        (lambda: None, "NoneType"),
        (lambda: {"vqvae": flux().vae, "unet": seeded_network(UNet2DModel, **ONE_BLOCK)}, "vqvae"),
        (lambda: broken_pipeline(vae=seeded_network(AutoencoderKL, in_channels=6)), "6"),
        (lambda: broken_pipeline(tokenizer_2=None), "tokenizer_2"),
        (lambda: broken_pipeline(transformer=sd3_pipeline(t5=False).transformer), "."),
        (lambda: broken_pipeline(vae=flux().vae.to("meta")), "transformer.*cpu.*vae.*meta"),
    ],
)
def test_unsupported_pipelines_are_rejected_in_one_line(pipeline: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        le.from_pipeline(pipeline())
    assert "\n" not in str(caught.value)


@pytest.mark.slow_except("False")
@pytest.mark.parametrize("from_stock_config", [True, False])
def test_flow_levels_use_the_shift_of_the_pipelines_scheduler(from_stock_config: bool) -> None:
    """Another solver's is ``flow_shift``; its nodes end at 1 / 1000, so they are near ours but not equal."""
    pipeline, solver = flux(guidance_embeds=False), cast("Any", UniPCMultistepScheduler)
    config: Any = pipeline.scheduler.config if from_stock_config else {}
    settings: Any = {"use_flow_sigmas": True, "flow_shift": 5.0, "prediction_type": "flow_prediction"}
    pipeline.scheduler = solver.from_config(config, **settings)
    pipeline.scheduler.set_timesteps(7)
    assert le.from_pipeline(pipeline).grid(7).levels == pytest.approx(pipeline.scheduler.sigmas.tolist(), abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("build", [sd3_pipeline, flux])
def test_set_shift_changes_the_levels(build: Any) -> None:
    """SD3's nodes still end at the smallest level of its configured shift."""
    pipeline = build(t5=False) if build is sd3_pipeline else build(guidance_embeds=False)
    before = le.from_pipeline(pipeline).grid(7)
    pipeline.scheduler.set_shift(6.0)
    sigmas = None if build is sd3_pipeline else torch.linspace(1, 1 / 7, 7).tolist()
    pipeline.scheduler.set_timesteps(None if sigmas else 7, sigmas=sigmas)
    levels = le.from_pipeline(pipeline).grid(7).levels
    assert levels == pytest.approx(pipeline.scheduler.sigmas.tolist(), abs=1e-6)
    assert levels != before.levels


def gemma_causal() -> Any:
    """Sana with the class whose first output is logits."""
    pipeline = sana()
    pipeline.text_encoder = seeded_network(transformers.Gemma2ForCausalLM, config=pipeline.text_encoder.config)
    return pipeline


def with_small_embedding() -> Any:
    """A tokenizer with more ids than the text encoder has rows."""
    pipeline = flux()
    pipeline.text_encoder_2.shared.weight.data = pipeline.text_encoder_2.shared.weight.data[:3]
    return pipeline


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [(gemma_causal, "16"), (with_small_embedding, "3.*text_encoder_2")],
)
def test_text_encoders_that_do_not_fit_are_rejected(pipeline: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        le.from_pipeline(pipeline(), settings=SETTINGS).embed(["a face"])


def test_text_encoders_that_fail_are_not_reported_as_of_another_class() -> None:
    """They fail under sequential offloading where accelerate cannot rebuild the parameters of the right class."""

    def fails(*_: Any) -> None:
        raise TypeError("new() received an invalid combination of arguments")

    pipeline = flux()
    of_accelerate = types.FunctionType(fails.__code__, {"__name__": "accelerate.hooks", "TypeError": TypeError})
    pipeline.text_encoder_2.encoder.register_forward_hook(of_accelerate)
    with pytest.raises(ModelError, match=r"T5EncoderModel\): new\(\) received.*without sequential"):
        le.from_pipeline(pipeline, settings=SETTINGS)


@pytest.mark.slow
def test_encoders_of_another_class_give_the_same_tokens() -> None:
    """CogView4 uses hidden states, which a causal model also returns."""
    plain, causal = cogview4(), cogview4()
    causal.text_encoder = seeded_network(transformers.GlmForCausalLM, config=plain.text_encoder.config)
    causal.text_encoder.model.load_state_dict(plain.text_encoder.state_dict())
    tokens = [le.from_pipeline(one, settings=SETTINGS).embed(["a face"]).tokens for one in (plain, causal)]
    assert torch.equal(*tokens)


def test_preferred_sizes_are_within_the_learned_positions() -> None:
    """AuraFlow's default configuration has them for 512 px, although the family was trained at 1024."""
    assert le.from_pipeline(auraflow()).capabilities.sizes == (32, 128, 128)


@pytest.mark.slow_except("sana-FlowMatchEulerDiscreteScheduler")
@pytest.mark.parametrize(
    ("build", "scheduler"),
    [(sana, FlowMatchEulerDiscreteScheduler), (flux, FlowMatchHeunDiscreteScheduler)],
)
def test_flow_families_accept_any_flow_scheduler(build: Any, scheduler: Any) -> None:
    """Its own levels are used; a scheduler with betas only is rejected."""
    pipeline = build()
    pipeline.scheduler = scheduler(shift=3.0)
    levels = le.from_pipeline(pipeline, settings=SETTINGS).grid(4).levels
    assert levels[0] == 1
    if build is sana:
        pipeline.scheduler.set_timesteps(4)
        assert levels == pytest.approx(pipeline.scheduler.sigmas.tolist(), abs=1e-6)
    solver: Any = DPMSolverMultistepScheduler(use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction")
    ddim: Any = DDIMScheduler
    for other in (EulerDiscreteScheduler(), ddim.from_config(solver.config)):
        pipeline.scheduler = other  # DDIM keeps the setting, and does not heed it
        with pytest.raises(ModelError, match="not those of a flow"):
            le.from_pipeline(pipeline)


class Stepping(FlowMatchEulerDiscreteScheduler):
    """Steps in its own way, at the levels of its class."""

    def step(self, *args: Any, **given: Any) -> Any:
        return super().step(*args, **given)


class Squared(FlowMatchEulerDiscreteScheduler):
    """Has other levels than its configuration says."""

    def set_timesteps(self, *args: Any, **given: Any) -> None:
        super().set_timesteps(*args, **given)
        self.sigmas = self.sigmas**2


class FlowMatchOfNobody:
    """A scheduler of no class of diffusers."""

    config: ClassVar[dict[str, Any]] = {"shift": 3.0}


class Doubled(DDIMScheduler):
    """Has other betas than its configuration says."""

    def __init__(self, beta_end: float = 0.02) -> None:
        super().__init__(beta_end=beta_end)
        self.alphas_cumprod = self.alphas_cumprod**2


def patched(config: Any) -> Any:
    scheduler = cast("Any", FlowMatchEulerDiscreteScheduler).from_config(config)
    scheduler.set_timesteps = types.MethodType(Squared.set_timesteps, Squared.from_config(config))
    return scheduler


@pytest.mark.slow
def test_classes_of_ones_own_are_schedulers_where_their_levels_are_those_of_their_configuration() -> None:
    pipelines = flux(), sd_pipeline(), sd_pipeline()
    levels = [le.from_pipeline(one).grid(3) for one in pipelines[:2]]
    for one, kind in zip(pipelines, (Stepping, DDIMScheduler, LCMScheduler), strict=True):
        one.scheduler = cast("Any", type("Mine", (kind,), {"__module__": "mine"})).from_config(one.scheduler.config)
    models: list[Any] = list(map(le.from_pipeline, pipelines))
    assert [one.grid(3) for one in models[:2]] == levels
    assert models[2].schedule.few_step


@pytest.mark.slow_except(
    "flux-<lambda>-FlowMatchOfNobody, a class of your own, whose levels are not known",
    "flux-from_config-Squared, derived from FlowMatchEuler.*not those of its configuration",
)
@pytest.mark.parametrize(
    ("build", "make", "message"),
    [
        (flux, Squared.from_config, "Squared, derived from FlowMatchEuler.*not those of its configuration"),
        (flux, patched, "not those of its configuration"),
        (flux, lambda _: FlowMatchOfNobody(), "FlowMatchOfNobody, a class of your own, whose levels are not known"),
        (flux, type("Mine", (DDIMScheduler,), {}).from_config, "derived from DDIMScheduler, .*not those of a flow"),
        (sd_pipeline, Doubled.from_config, "derived from DDIMScheduler, which has betas other"),
        (sd_pipeline, lambda _: FlowMatchOfNobody(), "a class of your own, which has no betas"),
    ],
)
def test_other_levels_are_refused_for_the_true_reason(build: Any, make: Any, message: str) -> None:
    pipeline = build()
    pipeline.scheduler = make(pipeline.scheduler.config)
    with pytest.raises(ModelError, match=message):
        le.from_pipeline(pipeline)


def test_networks_trained_with_betas_reject_flow_levels() -> None:
    """Although the scheduler has the betas of the configuration that it was made from."""
    pipeline = sd_pipeline()
    solver: Any = cast("Any", UniPCMultistepScheduler)
    pipeline.scheduler = solver.from_config(pipeline.scheduler.config, use_flow_sigmas=True)
    with pytest.raises(ModelError):
        le.from_pipeline(pipeline)


def test_a_name_stands_for_its_model_which_is_loaded_once_while_it_is_in_use() -> None:
    image = noise_image(64, 64)
    first, second = (le.encode("portraits", image, source_prompt="a person").backbone for _ in range(2))
    assert first is second
    with pytest.raises(ConfigError, match=r"load\('portraits'\)"):
        fit_all("portraits", [image])  # type: ignore[arg-type]
