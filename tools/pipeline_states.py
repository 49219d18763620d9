"""Writes results/pipeline-states.json: live pipelines in the states that people bring them into, before and after.

Caches, patches, offloading, casts, adapters, compilation, attention, quantized weights and variants of the class, on
miniatures of FLUX.1, SD3, Qwen-Image and SDXL with random weights. For each: is the velocity that of the stock pipeline
in that state, does it depend on earlier calls, is strength 0 exact, are products with the Jacobian adjoint and equal to
central differences, and is the fingerprint that of the plain pipeline; or the error. States that need a package which
is not installed are listed as not tried:

pip install accelerate peft torchao gguf bitsandbytes optimum-quanto cache-dit DeepCache tomesd

python -m tools.pipeline_states [PART OF A STATE'S NAME]   # only these states are tried again
"""

import contextlib
import functools
import importlib
import importlib.metadata
import inspect
import json
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import diffusers
import torch
from diffusers import hooks
from torch import Tensor, nn

import latentedit as le
from latentedit.core.condition import Condition
from latentedit.core.errors import LatentEditError, UnsupportedDerivativeError
from latentedit.core.rng import draw, seeded
from latentedit.editors import FlowEdit
from latentedit.models.derivatives import VelocityJacobian
from latentedit.testing.tolerances import relative_error
from latentedit_keep.base.files import write_text
from tests.miniatures.parts import autoencoder_tiny
from tests.models.families.family import CAPTION, SETTINGS, FamilyContract, noise_image
from tests.models.families.test_flux import TestDev
from tests.models.families.test_qwen_image import TestQwenImage
from tests.models.families.test_sd3 import TestTwoEncoders
from tests.models.families.test_sdxl import TestBase
from tools.quantized import bitsandbytes, gguf, replaced
from tools.running import ROOT

RESULTS = ROOT / "results" / "pipeline-states.json"
SIZE = (64, 64)
CPU = torch.device("cpu")

FAMILIES: dict[str, type[FamilyContract]] = {
    "FLUX": TestDev,
    "SD3": TestTwoEncoders,
    "Qwen-Image": TestQwenImage,
    "SDXL": TestBase,
}

Change = Callable[[Any], object]
"""Brings a pipeline into a state; what it returns, if it is a pipeline, takes its place."""


class NotApplicableError(Exception):
    """This pipeline cannot be brought into the state."""


def net(pipeline: Any) -> Any:
    return getattr(pipeline, "transformer", None) or pipeline.unet


def networks(pipeline: Any) -> list[Any]:
    return [one for one in pipeline.components.values() if isinstance(one, nn.Module)]


def has(owner: Any, name: str) -> Any:
    """A method of a pipeline or network, which those of some families lack."""
    if not hasattr(owner, name):
        raise NotApplicableError(f"{type(owner).__name__} has no {name}")
    return getattr(owner, name)


def package(name: str) -> Any:
    return importlib.import_module(name)


def mag() -> Any:
    return hooks.MagCacheConfig(threshold=0.5, max_skip_steps=3, num_inference_steps=8, mag_ratios=torch.ones(8))


def broadcast(pipeline: Any, *, callback: bool = False) -> None:
    config: Any = diffusers.PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(100, 800),
        current_timestep_callback=(lambda: pipeline.current_timestep) if callback else lambda: 500,
        spatial_attention_block_identifiers=("attn", "blocks"),
    )
    hooks.apply_pyramid_attention_broadcast(net(pipeline), config)


def faster(pipeline: Any) -> None:
    config: Any = diffusers.FasterCacheConfig(current_timestep_callback=lambda: 500, tensor_format="BCHW")
    config.is_guidance_distilled, config.attention_weight_callback = True, lambda _module: 0.5
    hooks.apply_faster_cache(net(pipeline), config)


def in_context(change: Change) -> Change:
    """Set the cache context, as the error of diffusers advises."""

    def changed(pipeline: Any) -> None:
        change(pipeline)
        module: Any = hooks.hooks
        module._set_cache_context(net(pipeline), module.CacheContext(name="all"))

    return changed


def cache_dit(pipeline: Any) -> None:
    package("cache_dit").enable_cache(pipeline)


def deep_cache(pipeline: Any) -> None:
    helper = package("DeepCache").DeepCacheSDHelper(pipe=pipeline)
    helper.set_params(cache_interval=3, cache_branch_id=0)
    has(pipeline, "unet")
    helper.enable()


def cached_forward(own: Any) -> Any:
    """A forward that adds the residual of the call before, every second call, as TeaCache does."""
    state: dict[str, Any] = {"calls": 0}

    def forward(network: Any, *args: Any, **given: Any) -> Any:
        hidden = args[0] if args else given["hidden_states"]
        state["calls"] += 1
        if state["calls"] % 2 == 0:
            return (hidden + state["residual"],)
        output = own(network, *args, **given)[0]
        state["residual"] = output - hidden
        return (output,)

    return forward


def patched(pipeline: Any) -> None:
    network = net(pipeline)
    network.forward = types.MethodType(cached_forward(type(network).forward), network)


PATCHED_CLASSES: list[tuple[Any, Any]] = []


def patched_class(pipeline: Any) -> None:
    kind: Any = type(net(pipeline))
    PATCHED_CLASSES.append((kind, kind.forward))
    kind.forward = cached_forward(kind.forward)


class Reused(nn.Module):
    """A cache that no list knows: in place of a module, it returns its last output in every second call."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.calls, self.output = module, 0, torch.zeros(())

    def forward(self, *args: Any, **given: Any) -> Any:
        self.calls += 1
        if self.calls % 2:
            self.output = self.module(*args, **given)
        return self.output


def wrapped(pipeline: Any) -> None:
    parts = dict(net(pipeline).named_children())
    name = next(name for name in ("x_embedder", "img_in", "conv_in", "pos_embed") if name in parts)
    setattr(net(pipeline), name, Reused(parts[name]))


def offloaded_model(pipeline: Any) -> None:
    hooked: Any = package("accelerate")
    before = None
    for network in networks(pipeline):
        _, before = hooked.cpu_offload_with_hook(network, CPU, prev_module_hook=before)


def group_offload(pipeline: Any, **options: Any) -> None:
    for network in networks(pipeline):
        hooks.apply_group_offloading(network, onload_device=CPU, offload_device=CPU, **options)


def casting(dtype: torch.dtype) -> Change:
    def cast(pipeline: Any) -> None:
        if dtype != torch.float32:
            pipeline.to(dtype)
        net(pipeline).enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)

    return cast


def lora(pipeline: Any, *names: str, targets: tuple[str, ...] = ("to_q", "to_v"), network: Any = None) -> None:
    peft = package("peft")
    network = net(pipeline) if network is None else network
    for index, name in enumerate(names or ("one",)):
        with seeded(index):
            config = peft.LoraConfig(r=2, target_modules=list(targets), init_lora_weights=False)
            network.add_adapter(config, adapter_name=name)
        generator = torch.Generator().manual_seed(index)
        for label, parameter in network.named_parameters():
            if f"lora_A.{name}." in label or f"lora_B.{name}." in label:
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.data = (0.1 * drawn).to(parameter.dtype)


def two_loras(pipeline: Any) -> None:
    lora(pipeline, "one", "two")
    pipeline.set_adapters(["one", "two"], [0.7, -0.4])


def switched(pipeline: Any, *, backend: str = "") -> None:
    """Computes with one adapter first, then chooses the other."""
    if backend:
        net(pipeline).compile(backend=backend)
    lora(pipeline, "one", "two")
    pipeline.set_adapters("one")
    model = le.from_pipeline(pipeline, settings=SETTINGS)
    model.velocity(torch.zeros(1, *model.latent_shape(*SIZE)), torch.tensor([0.5]), model.embed([CAPTION]))
    pipeline.set_adapters("two")


def scaled_blocks(pipeline: Any) -> None:
    lora(pipeline)
    has(pipeline, "unet")
    pipeline.set_adapters("one", {"unet": {"down": 0.5, "mid": 0.2, "up": 1.0}})


def hot_swapped(pipeline: Any) -> None:
    peft: Any = package("peft.utils.hotswap")
    lora(pipeline)
    network = net(pipeline)
    others = {name: 2 * one.data for name, one in network.named_parameters() if "lora_" in name}
    peft.hotswap_adapter_from_state_dict(network, others, adapter_name="one", config=network.peft_config["one"])


def inverted_text(pipeline: Any) -> None:
    tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
    has(pipeline, "load_textual_inversion")
    width = encoder.get_input_embeddings().weight.shape[1]
    pipeline.load_textual_inversion({"<mine>": torch.ones(1, width)}, token="<mine>", tokenizer=tokenizer)


def fused(pipeline: Any) -> None:
    has(net(pipeline), "fuse_qkv_projections")
    with seeded(0):
        net(pipeline).fuse_qkv_projections()


def compiled(pipeline: Any) -> None:
    name = "transformer" if getattr(pipeline, "transformer", None) is not None else "unet"
    setattr(pipeline, name, torch.compile(net(pipeline), backend="aot_eager"))


def quantized(way: Callable[[nn.Linear], nn.Module | None]) -> Change:
    return lambda pipeline: replaced(net(pipeline), way)


def torchao(kind: str) -> Change:
    def change(pipeline: Any) -> None:
        made = package("torchao.quantization")
        made.quantize_(net(pipeline), getattr(made, kind)())

    return change


def quanto(**kinds: str) -> Change:
    def change(pipeline: Any) -> None:
        made = package("optimum.quanto")
        made.quantize(net(pipeline), **{name: getattr(made, kind) for name, kind in kinds.items()})
        made.freeze(net(pipeline))

    return change


def of_class(name: str, **parts: Any) -> Change:
    """The parts of a pipeline in one of another class of its family."""

    def change(pipeline: Any) -> Any:
        stem = type(pipeline).__name__.removesuffix("Pipeline")
        kind: Any = getattr(diffusers, name.format(stem), None)
        if kind is None:
            raise NotApplicableError(f"there is no {name.format(stem)}")
        if issubclass(kind, diffusers.ModularPipeline):
            made: Any = kind()
            made.update_components(**{part: one for part, one in pipeline.components.items() if one is not None})
            return made
        taken = inspect.signature(kind.__init__).parameters
        given = {name: part for name, part in {**pipeline.components, **parts}.items() if name in taken}
        try:
            return kind(**given)
        except Exception:  # noqa: BLE001 - constructors that check what is not edited with, such as a ControlNet
            made = object.__new__(kind)
            made.register_modules(**given)
            return made

    return change


def tiny_vae(pipeline: Any) -> None:
    if pipeline.vae.config.get("latent_channels") is None:
        raise NotApplicableError("its latents are those of films")
    with seeded(0):
        pipeline.vae = autoencoder_tiny(int(pipeline.vae.config.latent_channels)).eval()


def ip_adapter(pipeline: Any) -> None:
    """Imitated by the projection of its images."""
    if not isinstance(pipeline, (diffusers.FluxPipeline, diffusers.StableDiffusionXLPipeline)):
        raise NotApplicableError("its adapters have no projection of images in the denoiser")
    net(pipeline).encoder_hid_proj = nn.Identity()


STATES: dict[str, Change] = {
    "plain": lambda _pipeline: None,
    # steps that are reused or left out
    "MagCache by function": lambda one: hooks.apply_mag_cache(net(one), mag()),
    "pyramid attention broadcast, constant callback": broadcast,
    "pyramid attention broadcast, as documented": functools.partial(broadcast, callback=True),
    "layer skip": lambda one: hooks.apply_layer_skip(
        net(one), hooks.LayerSkipConfig(indices=[0], fqn="transformer_blocks")
    ),
    "First Block Cache by function": lambda one: hooks.apply_first_block_cache(
        net(one), hooks.FirstBlockCacheConfig(0.1)
    ),
    "First Block Cache in a context": in_context(
        lambda one: hooks.apply_first_block_cache(net(one), hooks.FirstBlockCacheConfig(0.1))
    ),
    "TaylorSeer by function": lambda one: hooks.apply_taylorseer_cache(net(one), diffusers.TaylorSeerCacheConfig()),
    "TaylorSeer in a context": in_context(
        lambda one: hooks.apply_taylorseer_cache(net(one), diffusers.TaylorSeerCacheConfig())
    ),
    "FasterCache by function": faster,
    "First Block Cache by enable_cache": lambda one: has(net(one), "enable_cache")(hooks.FirstBlockCacheConfig(0.1)),
    "MagCache by enable_cache": lambda one: has(net(one), "enable_cache")(mag()),
    "cache-dit": cache_dit,
    "DeepCache": deep_cache,
    "forward patched, as TeaCache does": patched,
    "forward of the class patched": patched_class,
    "a module that returns its last output": wrapped,
    "tomesd": lambda one: (has(one, "unet"), package("tomesd").apply_patch(one, ratio=0.5, max_downsample=8)),
    # where and as what weights are kept
    "fp8 layerwise, float32": casting(torch.float32),
    "fp8 layerwise, bfloat16": casting(torch.bfloat16),
    "fp8 layerwise, LoRA after": lambda one: (casting(torch.float32)(one), lora(one)),
    "group offload, leaf": functools.partial(group_offload, offload_type="leaf_level"),
    "group offload, block": functools.partial(group_offload, offload_type="block_level", num_blocks_per_group=1),
    "model offload": offloaded_model,
    "sequential offload": lambda one: one.enable_sequential_cpu_offload(device="cpu"),
    "attention slicing": lambda one: has(net(one), "set_attention_slice")("max"),
    "forward chunking": lambda one: has(net(one), "enable_forward_chunking")(1, 1),
    "channels last": lambda one: net(one).to(memory_format=torch.channels_last),
    "VAE tiling and slicing": lambda one: (has(one.vae, "enable_tiling")(), has(one.vae, "enable_slicing")()),
    "checkpointing, training mode": lambda one: net(one).train().enable_gradient_checkpointing(),
    # weights that are added or joined
    "fused projections": fused,
    "fused projections, LoRA": lambda one: (fused(one), lora(one)),
    "LoRA": lora,
    "LoRA, fused": lambda one: (lora(one), one.fuse_lora()),
    "LoRA, disabled": lambda one: (lora(one), net(one).disable_adapters()),
    "two LoRAs with scales": two_loras,
    "LoRA, switched": switched,
    "LoRA, switched while compiled": functools.partial(switched, backend="aot_eager"),
    "LoRA, scales by block": scaled_blocks,
    "LoRA, hot-swapped": hot_swapped,
    "LoRA of a text encoder": lambda one: lora(one, targets=("q_proj",), network=one.text_encoder),
    "textual inversion": inverted_text,
    "FreeU": lambda one: has(one, "enable_freeu")(s1=0.9, s2=0.2, b1=1.2, b2=1.4),
    # compiled
    "compiled in place": lambda one: net(one).compile(backend="aot_eager"),
    "torch.compile": compiled,
    "compiled blocks": lambda one: net(one).compile_repeated_blocks(backend="aot_eager"),
    # quantized
    "torchao int8 weights": torchao("Int8WeightOnlyConfig"),
    "torchao fp8 weights": torchao("Float8WeightOnlyConfig"),
    "torchao intx weights": torchao("IntxWeightOnlyConfig"),
    "torchao int8 dynamic": torchao("Int8DynamicActivationInt8WeightConfig"),
    "GGUF Q8_0": quantized(lambda one: gguf(one, kind="Q8_0")),
    "GGUF Q4_0": quantized(lambda one: gguf(one, kind="Q4_0")),
    "bitsandbytes 8": quantized(lambda one: bitsandbytes(one, bits=8)),
    "bitsandbytes 4": quantized(lambda one: bitsandbytes(one, bits=4)),
    "quanto int8 weights": quanto(weights="qint8"),
    "quanto fp8 weights": quanto(weights="qfloat8"),
    "quanto int8 weights and activations": quanto(weights="qint8", activations="qint8"),
    # other classes and parts
    "image to image": of_class("{}Img2ImgPipeline"),
    "inpainting": of_class("{}InpaintPipeline"),
    "perturbed attention": of_class("{}PAGPipeline"),
    "ControlNet": of_class("{}ControlNetPipeline", controlnet=nn.Linear(1, 1)),
    "T2I adapter": of_class("{}AdapterPipeline", adapter=nn.Linear(1, 1)),
    "IP-Adapter": ip_adapter,
    "AutoencoderTiny": tiny_vae,
    "modular": of_class("{}ModularPipeline"),
    # attention, whose choice holds for the process
    "attention _native_math": lambda one: has(net(one), "set_attention_backend")("_native_math"),
    "attention _native_flash": lambda one: has(net(one), "set_attention_backend")("_native_flash"),
    "attention _native_efficient": lambda one: has(net(one), "set_attention_backend")("_native_efficient"),
    "attention flex": lambda one: has(net(one), "set_attention_backend")("flex"),
}


PACKAGES = (
    *("torch", "diffusers", "transformers", "peft", "accelerate", "torchao", "gguf", "bitsandbytes", "optimum-quanto"),
    *("cache-dit", "DeepCache", "tomesd"),
)


class Plain:
    """What the states of a family are compared with."""

    def __init__(self, family: FamilyContract) -> None:
        self.model: Any = le.from_pipeline(family.build(), settings=SETTINGS)
        self.text = self.model.embed([CAPTION])
        latents = draw((3, 1, *self.model.latent_shape(*SIZE)), seed=0, purpose="states")
        self.z, self.u, self.w = latents
        self.s = torch.tensor([(self.model.capabilities.s_min + self.model.capabilities.s_max) / 2])
        self.v = self.velocity(self.model)

    def velocity(self, model: Any, *, scale: float = 1.0, text: Condition | None = None) -> Tensor:
        with torch.no_grad():
            return model.velocity(scale * self.z, self.s, self.text if text is None else text)


def stock_error(family: FamilyContract, pipeline: Any, model: Any) -> str:
    """Relative error of our sample against the pipeline's own, after the change."""
    weight, z = family.weights[0], family.start(model, SIZE)
    try:
        stock = family.canonical_latents(family.stock_image(pipeline, weight, SIZE, z.to(model.network_dtype)), z)
    except Exception as error:  # noqa: BLE001 - of any library
        return f"stock fails: {first_line(error)}"
    with torch.no_grad():
        return f"{relative_error(family.our_sample(model, weight, SIZE, z), stock.float()):.1e}"


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:240]


def products(plain: Plain, model: Any, text: Condition) -> dict[str, str]:
    """How far two products are from adjoint, and J u from central differences."""
    step = torch.finfo(model.compute_dtype).eps ** (1 / 3) * plain.z.norm() / plain.u.norm()
    with torch.no_grad():
        sides = [model.velocity(plain.z + sign * step * plain.u, plain.s, text) for sign in (1, -1)]
    difference = (sides[0] - sides[1]) / (2 * step)
    cells: dict[str, str] = {}
    jacobian = VelocityJacobian(model, plain.z, plain.s, text)
    try:
        forward = jacobian.matvec(plain.u)
        cells["J u against differences"] = f"{relative_error(forward, difference):.1e} ({jacobian.mode})"
        backward = jacobian.rmatvec(plain.w)
        gap = float((plain.w * forward).sum() - (backward * plain.u).sum())
        cells["adjoint"] = f"{abs(gap) / float(plain.w.norm() * forward.norm()):.1e}"
    except UnsupportedDerivativeError as error:
        cells["J' w"] = f"refused: {first_line(error)}"
    except Exception as error:  # noqa: BLE001 - of any library
        cells["J' w"] = f"FAILS: {first_line(error)}"
    return cells


def tried(family: FamilyContract, plain: Plain, change: Change, *, after: bool) -> dict[str, str]:
    """A row: the pipeline is changed before or after it is taken."""
    pipeline: Any = family.build()
    model: Any = le.from_pipeline(pipeline, settings=SETTINGS) if after else None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            changed = change(pipeline)
    except ModuleNotFoundError as error:
        return {"not tried": f"{error.name} is not installed"}
    except NotApplicableError as error:
        return {"not applicable": str(error)}
    except Exception as error:  # noqa: BLE001 - of any library
        return {"not applicable": first_line(error)}
    if isinstance(changed, (diffusers.DiffusionPipeline, diffusers.ModularPipeline)):
        pipeline = changed
        if after:
            return {}  # a pipeline of its own, not a change of one
    cells: dict[str, str] = {}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = model or le.from_pipeline(pipeline, settings=SETTINGS)
            text = model.embed([CAPTION])
            v = plain.velocity(model, text=text)
        if unused := [str(one.message) for one in caught if "edits do not use" in str(one.message)]:
            cells["warning"] = unused[0]
        for scale in (0.5, 0.2, 0.9):
            plain.velocity(model, scale=scale, text=text)
        cells["pure"] = f"{relative_error(plain.velocity(model, text=text), v):.1e}"
        cells["velocity against plain"] = f"{relative_error(v, plain.v):.1e}"
        cells["fingerprint"] = "of the plain one" if model.fingerprint == plain.model.fingerprint else "another"
        if type(pipeline).__name__ == type(family.build()).__name__:
            cells["sample against stock"] = stock_error(family, pipeline, model)
        image = noise_image(*SIZE)
        method = FlowEdit(level=0.6, steps=2, source_guidance=1.0, target_guidance=1.0)
        edit = functools.partial(
            le.edit, model, image, source_prompt=CAPTION, prompt="a face", method=method, force=True
        )
        cells["strength 0"] = "exact" if edit(strength=0.0).image.tobytes() == image.tobytes() else "WRONG"
    except LatentEditError as error:
        cells["refused"] = first_line(error)
        if " fails at " in str(error) or " cannot embed " in str(error):
            cells["sample of stock"] = stock_error(family, pipeline, plain.model)
        return cells
    except Exception as error:  # noqa: BLE001 - what a user would see
        return {**cells, "FAILS": first_line(error)}
    return {**cells, **products(plain, model, text)}


def main() -> None:
    """Try all states, or those whose names contain a word, and write their rows."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    known: list[dict[str, str]] = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    for name, change in STATES.items():
        if word not in name:
            continue
        rows: list[dict[str, str]] = []
        for label in FAMILIES:
            found = {when: tested(label, change, after=when == "after") for when in ("before", "after")}
            if found["before"] == found["after"]:
                found = {"before and after": found["before"]}
            rows += [{"state": name, "family": label, "when": when, **cells} for when, cells in found.items() if cells]
        print(*(" | ".join(row.values()) for row in rows), sep="\n", flush=True)
        known = [row for row in known if row["state"] != name] + rows
        known.sort(key=lambda row: list(STATES).index(row["state"]))
        lines = ",\n".join(json.dumps(row) for row in known)
        versions = json.dumps({package: version(package) for package in PACKAGES})
        write_text(RESULTS, f'{{"versions": {versions},\n"rows": [\n{lines}\n]}}\n')


def tested(label: str, change: Change, *, after: bool) -> dict[str, str]:
    """A row, and the process as it was."""
    family = FAMILIES[label]()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tried(family, plain_of(label), change, after=after)
    finally:
        for kind, own in PATCHED_CLASSES:
            kind.forward = own
        PATCHED_CLASSES.clear()
        torch.compiler.reset()
        dispatch: Any = importlib.import_module("diffusers.models.attention_dispatch")
        dispatch._AttentionBackendRegistry.set_active_backend(dispatch.AttentionBackendName.NATIVE)


@functools.cache
def plain_of(label: str) -> Plain:
    return Plain(FAMILIES[label]())


def version(name: str) -> str:
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
