"""Live pipelines: Stable Diffusion as it is loaded by name, and those that are refused in one line."""

from pathlib import Path
from typing import Any, cast

import accelerate
import diffusers
import pytest
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FirstBlockCacheConfig,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FluxControlNetPipeline,
    FluxInpaintPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    UNet2DModel,
    UniPCMultistepScheduler,
)
from diffusers.modular_pipelines import FluxAutoBlocks
from peft import LoraConfig

import latentedit as le
from latentedit.core.errors import ConfigError, ModelError
from latentedit.core.rng import seeded
from latentedit.editors import FlowEdit
from latentedit.testing.miniature import sd3_pipeline
from tests.miniatures.flow import auraflow, cogview4, flux, flux2_klein, krea2, qwen_image, qwen_image21, sana
from tests.miniatures.noise import sd_pipeline
from tests.models.families.family import SETTINGS, noise_image

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
    files, single = {"config": str(tmp_path), "subfolder": "transformer", "torch_dtype": dtype}, changed[0]
    one = tmp_path / "transformer/diffusion_pytorch_model.safetensors"
    single.transformer = cast("Any", FluxTransformer2DModel).from_single_file(str(one), **files)
    assert le.from_pipeline(single).fingerprint == known
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


def rebuilt(kind: Any, **parts: Any) -> Any:
    """A pipeline of another class on the parts of a miniature."""
    return kind(**{**flux().components, **parts})


def wide() -> Any:
    """FLUX.1 whose transformer is shown twice as many channels, as in Fill and Depth."""
    pipeline = flux()
    with seeded(0):
        pipeline.transformer = FluxTransformer2DModel.from_config({**pipeline.transformer.config, "in_channels": 32})
    return pipeline


def small(kind: Any, **settings: Any) -> Any:
    """A network of seeded weights."""
    with seeded(0):
        return kind(**settings)


class Mine(FluxPipeline):
    """A user's class, which reads text in its own way."""

    def encode_prompt(self, *args: Any, **options: Any) -> Any:
        tokens, pooled, ids = super().encode_prompt(*args, **options)
        return 2 * tokens, pooled, ids


def modular() -> Any:
    pipeline = FluxAutoBlocks().init_pipeline()
    pipeline.update_components(**{name: part for name, part in flux().components.items() if part is not None})
    return pipeline


@pytest.mark.parametrize(
    "variant",
    [
        lambda: flux().components,
        modular,
        lambda: rebuilt(FluxInpaintPipeline),
        lambda: rebuilt(FluxControlNetPipeline, controlnet=small(torch.nn.Linear, in_features=1, out_features=1)),
        lambda: rebuilt(Mine),
    ],
    ids=["mapping", "modular", "inpainting", "controlnet", "subclass"],
)
def test_the_network_determines_for_any_holds_it(variant: Any, recwarn: pytest.WarningsRecorder) -> None:
    """The velocity is the stock pipeline's; what a variant adds is named once; a subclass reads text in its own way."""
    stock, pipeline = le.from_pipeline(flux(), settings=SETTINGS), variant()
    found = le.from_pipeline(pipeline, settings=SETTINGS)
    z, s = torch.ones(1, *stock.latent_shape(64, 64)), torch.tensor([0.5])
    texts = [model.embed(["a face"]) for model in (found, stock)]
    assert torch.equal(found.velocity(z, s, texts[1]), stock.velocity(z, s, texts[1]))
    own = isinstance(pipeline, Mine)
    assert torch.equal(texts[0].tokens, (2 if own else 1) * texts[1].tokens)
    added = [str(one.message) for one in recwarn if "edits do not use" in str(one.message)]
    extra = {"FluxControlNetPipeline": "controlnet"}
    kind = type(pipeline).__name__
    assert [kind in one and extra[kind] in one for one in added] == [True] * (kind in extra)


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("Krea2TurboModularPipeline", lambda: krea2(turbo=True)),
        ("Flux2KleinModularPipeline", lambda: flux2_klein(distilled=True)),
        ("QwenImageEditPlusModularPipeline", lambda: qwen_image("plus")),
        ("QwenImage21TurboModularPipeline", lambda: qwen_image21(turbo=True)),
    ],
)
def test_a_modular_pipeline_is_the_model_of_its_kind(kind: str, made: Any) -> None:
    """A distilled one without guidance, and an edit model that has a processor alone."""
    pipeline, stock = getattr(diffusers, kind)(), made()
    taken = set(pipeline.blocks.component_names)
    pipeline.update_components(**{name: part for name, part in stock.components.items() if name in taken and part})
    settings = ("text_encoder_select_layers", "sample_sigmas")
    pipeline.register_to_config(**{name: stock.config[name] for name in settings if name in stock.config})
    first, second = (le.from_pipeline(one, settings=SETTINGS) for one in (pipeline, stock))
    assert first.capabilities.guidance_kind == second.capabilities.guidance_kind
    z, s = torch.ones(1, *first.latent_shape(64, 64)), torch.tensor([0.5])
    assert torch.equal(*(model.velocity(z, s, model.embed(["a face"])) for model in (first, second)))


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (diffusers.Flux3ModularPipeline, "without any network. Load its parts"),
        (lambda: spoilt(denoiser={"encoder_hid_proj": torch.nn.Identity()}), r"pipeline\.unload_ip_adapter\(\)"),
        (wide, "channels of the denoiser is 8, of the other parts 4.*Fill.*Use the text-to-image model"),
        (lambda: {"transformer": torch.nn.Identity()}, r"not supported.*\(transformer Identity\).*CallableBackbone"),
        (lambda: "org/name", r"Call latentedit\.load\('org/name'\)"),
        (lambda: flux().transformer, "is one network of a pipeline. Give the pipeline"),
        (lambda: None, "NoneType is no pipeline"),
        (lambda: {"vqvae": flux().vae, "unet": small(UNet2DModel)}, "decodes by its vqvae"),
        (lambda: spoilt(vae=small(AutoencoderKL, in_channels=6)), "for images of 6 channels"),
        (lambda: spoilt(tokenizer_2=None), "the FluxPipeline has no tokenizer_2"),
        (lambda: spoilt(transformer=sd3_pipeline(t5=False).transformer), "parts of one model"),
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


def gemma_causal() -> Any:
    """Sana with the class whose first output is logits."""
    pipeline = sana()
    pipeline.text_encoder = small(transformers.Gemma2ForCausalLM, config=pipeline.text_encoder.config)
    return pipeline


def few_rows() -> Any:
    """A tokenizer with more ids than the text encoder has rows."""
    pipeline = flux()
    pipeline.text_encoder_2.shared.weight.data = pipeline.text_encoder_2.shared.weight.data[:3]
    return pipeline


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [(gemma_causal, "features, and the denoiser takes 16"), (few_rows, "beyond the 3 rows of its text_encoder_2")],
)
def test_text_that_does_not_reach_the_network_is_refused(pipeline: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        le.from_pipeline(pipeline(), settings=SETTINGS).embed(["a face"])


def test_an_encoder_of_another_class_is_read_like_the_stock_one() -> None:
    """CogView4 reads hidden states, which a causal model gives too."""
    plain, causal = cogview4(), cogview4()
    causal.text_encoder = small(transformers.GlmForCausalLM, config=plain.text_encoder.config)
    causal.text_encoder.model.load_state_dict(plain.text_encoder.state_dict())
    tokens = [le.from_pipeline(one, settings=SETTINGS).embed(["a face"]).tokens for one in (plain, causal)]
    assert torch.equal(*tokens)


def test_a_preferred_size_is_one_that_the_network_has_positions_for() -> None:
    """AuraFlow's default configuration has them for 512 px, and the family was trained on 1024."""
    assert le.from_pipeline(auraflow()).capabilities.sizes == (32, 128, 128)


@pytest.mark.parametrize("scheduler", [FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler])
@pytest.mark.parametrize("build", [sana, flux])
def test_a_flow_family_takes_any_scheduler_of_flows(build: Any, scheduler: Any) -> None:
    """With its own levels, and none that knows betas only."""
    pipeline = build()
    pipeline.scheduler = scheduler(shift=3.0)
    levels = le.from_pipeline(pipeline, settings=SETTINGS).grid(4).levels
    assert levels[0] == 1
    if build is sana and scheduler is FlowMatchEulerDiscreteScheduler:
        pipeline.scheduler.set_timesteps(4)
        assert levels == pytest.approx(pipeline.scheduler.sigmas.tolist(), abs=1e-6)
    pipeline.scheduler = EulerDiscreteScheduler()
    with pytest.raises(
        ModelError, match=r"EulerDiscreteScheduler, whose levels are not those of a flow\. Use FlowMatch"
    ):
        le.from_pipeline(pipeline)


def test_a_network_of_trained_betas_takes_no_levels_of_a_flow() -> None:
    """Though the scheduler has the betas of the configuration that it was made from."""
    pipeline = sd_pipeline()
    solver: Any = cast("Any", UniPCMultistepScheduler)
    pipeline.scheduler = solver.from_config(pipeline.scheduler.config, use_flow_sigmas=True)
    with pytest.raises(ModelError, match=r"Scheduler, which has no betas.*DDIMScheduler"):
        le.from_pipeline(pipeline)


def test_changes_of_a_live_pipeline_count_or_are_reported() -> None:
    """Scales of LoRAs and weights count, in the image and in the record; other parts are refused."""
    pipeline, image = sd_pipeline(), noise_image(64, 64)
    with seeded(0):
        config = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
        pipeline.unet.add_adapter(config, adapter_name="x")
    model = le.from_pipeline(pipeline, settings=SETTINGS)

    def edit() -> le.EditResult:
        method = FlowEdit(level=0.6, steps=2, source_guidance=1.0, target_guidance=2.0)
        return le.edit(model, image, source_prompt="a", prompt="b", method=method, force=True)

    first = edit()
    pipeline.set_adapters("x", 0.0)
    second = edit()
    assert first.image.tobytes() != second.image.tobytes()
    with pytest.raises(ConfigError, match="is not the model of the record"):
        le.replay(first.record, model, image)
    pipeline.set_adapters("x", 1.0)
    assert le.replay(first.record, model, image)[0].image.tobytes() == first.image.tobytes()
    names = {first.record.model.fingerprint, second.record.model.fingerprint}
    pipeline.vae.decoder.conv_in.bias.data[0] += 1
    assert len({*names, model.fingerprint, edit().record.model.fingerprint}) == 3
    pipeline.vae = sd_pipeline(seed=9).vae
    with pytest.raises(ModelError, match=r"the vae of the pipeline was exchanged\. Call latentedit\.from_pipeline"):
        edit()


@pytest.mark.parametrize(
    ("given", "call"), [(flux, r"from_pipeline\(pipeline\)"), (lambda: "portraits", r"load\('portraits'\)")]
)
def test_what_is_no_model_gets_the_call_that_makes_one(given: Any, call: str) -> None:
    image = noise_image(64, 64)
    for use in (lambda model: le.edit(model, image, prompt="b", source_prompt="a"), lambda m: le.encode(m, image)):
        with pytest.raises(ConfigError, match=call):
            use(given())
