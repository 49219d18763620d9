"""Networks whose velocity depends on earlier calls are rejected, by name or by what they do; others are not."""

import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.hooks import (
    FirstBlockCacheConfig,
    HookRegistry,
    LayerSkipConfig,
    MagCacheConfig,
    apply_layer_skip,
    apply_mag_cache,
)
from peft import LoraConfig
from torch import Tensor, nn

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.models.base import Backbone
from latentedit.models.network import NetworkBackbone
from latentedit.numerics.rng import draw, seeded
from latentedit.testing.miniature import sd3_pipeline
from latentedit.testing.tolerances import relative_error
from tests.miniatures.flow import flux
from tests.miniatures.noise import sd_pipeline, sdxl
from tests.models.families.family import SETTINGS

pytestmark = pytest.mark.slow

Change = Callable[[Any], object]
MAG = MagCacheConfig(threshold=0.5, max_skip_steps=3, num_inference_steps=8, mag_ratios=torch.ones(8))


def sd3() -> Any:
    return sd3_pipeline(t5=False)


def live_model(pipeline: Any) -> Any:
    return le.from_pipeline(pipeline, settings=SETTINGS)


def denoiser(pipeline: Any) -> Any:
    return getattr(pipeline, "transformer", None) or pipeline.unet


def velocity(model: Backbone, *, seed: int = 0) -> Tensor:
    z = draw((1, *model.latent_shape(64, 64)), seed=seed, purpose="purity")
    with torch.no_grad():
        return model.velocity(z, torch.tensor([0.5]), model.embed(["a face"]))


def check_rejected(model: Any, pipeline: Any, pattern: str) -> str:
    """By whatever is called first, and every time; gives the message of `from_pipeline`."""
    for call in (lambda: model.fingerprint, lambda: velocity(model), lambda: model.embed(["a"]), lambda: model.grid(3)):
        with pytest.raises(ModelError, match=pattern):
            call()
    with pytest.raises(ModelError, match=pattern) as caught:
        live_model(pipeline)
    return str(caught.value)


@pytest.mark.parametrize("build", [flux, sd3])
def test_a_cache_applied_by_a_function_is_rejected_by_name(build: Any) -> None:
    """Its third call reused the residual of its second, so that velocities were off by a quarter; the remedy helps."""
    pipeline = build()
    model = live_model(pipeline)
    before = velocity(model)
    apply_mag_cache(denoiser(pipeline), MAG)
    message = check_rejected(model, pipeline, "mag_cache_leader_block_hook, mag_cache_block_hook")
    registry = HookRegistry.check_if_exists_or_initialize(pipeline.transformer)
    for name in re.findall(r"remove_hook\('(\w+)'\)", message):
        registry.remove_hook(name)
    assert torch.equal(velocity(model), before)
    assert live_model(pipeline).fingerprint == model.fingerprint


def of_teacache(network: Any, *args: Any, **given: Any) -> Any:
    """A forward of others, which is refused before it runs."""
    raise NotImplementedError


NAMED: dict[str, tuple[Change, str]] = {
    "layer skip": (
        lambda one: apply_layer_skip(denoiser(one), LayerSkipConfig(indices=[0], fqn="transformer_blocks")),
        "layer_skip_hook",
    ),
    "enabled": (lambda one: one.transformer.enable_cache(FirstBlockCacheConfig(0.1)), r"transformer.disable_cache\(\)"),
    "patch": (
        lambda one: setattr(one.transformer, "forward", types.MethodType(of_teacache, one.transformer)),
        "runs of_teacache of tests.models.test_purity in place of the forward of its FluxTransformer2DModel",
    ),
    "patched block": (
        lambda one: setattr(one.transformer.transformer_blocks[0].ff, "forward", lambda x: x),
        r"runs <lambda>.* of tests.models.test_purity in place of the forward of its FeedForward",
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_recognized_caches_and_patches_are_rejected_by_name(name: str) -> None:
    change, pattern = NAMED[name]
    pipeline = flux()
    model = live_model(pipeline)
    change(pipeline)
    check_rejected(model, pipeline, pattern)


def test_a_patched_class_is_rejected_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the scripts of TeaCache patch it, which also changes models that are loaded here."""
    pipeline = flux()
    pipeline.save_pretrained(tmp_path / "model")
    model = live_model(pipeline)
    with monkeypatch.context() as patch:
        patch.setattr(FluxTransformer2DModel, "forward", of_teacache)
        check_rejected(model, pipeline, "runs of_teacache of tests.models.test_purity")
        with pytest.raises(ModelError, match="of_teacache"):
            le.load(tmp_path / "model", device="cpu")
    assert bool(velocity(model).isfinite().all())


class Wrapper(nn.Module):
    """A module in place of another one, which decides from the number of the call and the output before."""

    def __init__(self, module: nn.Module, decide: Callable[[int, Tensor, dict[str, Any]], Tensor | None]) -> None:
        super().__init__()
        self.module, self.decide, self.calls, self.kept = module, decide, 0, dict[str, Any]()

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        output = self.decide(self.calls, x, self.kept)
        if output is None:
            output = self.kept["output"] = self.module(x)
            self.kept["input"] = x
        return output


def in_place_of(name: str, decide: Any) -> Change:
    """Wrap a submodule of a denoiser."""

    def change(pipeline: Any) -> None:
        network = denoiser(pipeline)
        above, _, own = name.rpartition(".")
        setattr(network.get_submodule(above), own, Wrapper(network.get_submodule(name), decide))

    return change


def every_second(calls: int, _x: Tensor, kept: dict[str, Any]) -> Any:
    return kept["output"] if calls % 2 == 0 else None


def below_a_threshold(_calls: int, x: Tensor, kept: dict[str, Any]) -> Any:
    """As First Block Cache decides: what changed by less than 1 % counts as equal."""
    last = kept.get("input")
    is_near = last is not None and last.shape == x.shape and relative_error(x, last) < 0.01
    return kept["output"] if is_near else None


def after_six_calls(calls: int, _x: Tensor, kept: dict[str, Any]) -> Any:
    return kept["output"] if calls > 6 and calls % 2 == 0 else None


def hooked(pipeline: Any) -> None:
    """A forward pre-hook that gives what it saw in the call before, every second call."""
    kept = list[Any]()

    def hook(_module: nn.Module, inputs: Any) -> Any:
        kept.append(inputs)
        return kept[-2] if len(kept) % 2 == 0 else None

    denoiser(pipeline).transformer_blocks[0].ff.register_forward_pre_hook(hook)


def outside_of_torch(pipeline: Any) -> None:
    """A cache that keeps copies in NumPy, where memory is not followed."""
    kept = list[Any]()

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Any:
        kept.append(np.array(output))
        return torch.from_numpy(kept[-2]) if len(kept) % 2 == 0 else None

    denoiser(pipeline).proj_out.register_forward_hook(hook)


def written_in_place(pipeline: Any) -> None:
    """A buffer that a hook fills in its first call."""
    network = denoiser(pipeline)
    buffer: dict[str, Tensor] = {}

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        if not buffer:
            buffer["text"] = torch.empty(2, *output.shape, dtype=output.dtype)
            buffer["text"][1].copy_(output)
        return buffer["text"][1]

    network.context_embedder.register_forward_hook(hook)


@pytest.mark.parametrize(
    "change",
    [
        in_place_of("x_embedder", every_second),
        in_place_of("transformer_blocks.0.ff", below_a_threshold),
        in_place_of("transformer_blocks.0.ff", after_six_calls),
        hooked,
        outside_of_torch,
        written_in_place,
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_caches_that_no_list_knows_are_rejected(change: Change, dtype: torch.dtype) -> None:
    if change is outside_of_torch and dtype != torch.float32:
        pytest.skip("NumPy has no bfloat16")
    pipeline = flux().to(dtype)
    model = live_model(pipeline)
    change(pipeline)
    check_rejected(
        model, pipeline, "reuses what it computed|gives two velocities for one input|fails on one image after"
    )


class Shifted(nn.Linear):
    """A subclass with a forward of its own, as tomesd makes them."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return super().forward(input) + 1


def summed(pipeline: Any) -> None:
    """A hook that adds up what it sees, as tools for attention maps do, and changes nothing."""
    total = torch.zeros(())

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        total.add_(output.abs().mean())

    denoiser(pipeline).proj_out.register_forward_hook(hook)


def workspace(pipeline: Any) -> None:
    """A hook that passes outputs through memory of its own, which it overwrites."""
    memory: dict[Any, Tensor] = {}

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return memory.setdefault(output.shape, torch.empty_like(output)).copy_(output).clone()

    denoiser(pipeline).proj_out.register_forward_hook(hook)


def compiled_forward(pipeline: Any) -> None:
    network = denoiser(pipeline)
    network.forward = torch.compile(network.forward, backend="eager")


def put_back(pipeline: Any) -> None:
    """A patch that was undone leaves the class's own function on the instance, as DeepCache does."""
    network = denoiser(pipeline)
    network.forward = network.forward


@pytest.mark.parametrize(
    ("change", "evaluations"),
    [
        (lambda one: setattr(denoiser(one).proj_out, "__class__", Shifted), 3),
        (lambda one: denoiser(one).proj_out.register_forward_hook(lambda _one, _inputs, output: 2 * output), 3),
        (summed, 12),
        (workspace, 12),
        (compiled_forward, 3),
        (put_back, 3),
        (lambda one: [block.compile(backend="eager") for block in denoiser(one).transformer_blocks], 0),
        (lambda one: denoiser(one).set_attention_backend("_native_math"), 0),
    ],
)
def test_pure_networks_are_taken_and_cost_few_evaluations(
    change: Change, evaluations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three at the smallest size after a change; twelve where something is kept, which a cache might use later."""
    pipeline = flux()
    model = live_model(pipeline)
    change(pipeline)
    sizes = evaluated(model, monkeypatch)
    first = velocity(model)
    assert sizes == [(8, 10)] * evaluations + [(8, 8)]
    assert torch.equal(velocity(model), first)
    assert len(sizes) == evaluations + 2
    live_model(pipeline)


def evaluated(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Sides of the latents of all evaluations from now on."""
    sizes, own = list[tuple[int, ...]](), type(model)._velocity

    def counted(self: Any, z: Tensor, *more: Any) -> Tensor:
        sizes.append(tuple(z.shape[-2:]))
        return own(self, z, *more)

    monkeypatch.setattr(type(model), "_velocity", counted)
    return sizes


def test_the_check_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modes and random numbers stay; after a change it counts in the cost, with four images in its first call."""
    pipeline = sd_pipeline()
    pipeline.unet.train()
    training = [module.training for module in pipeline.unet.modules()]
    sizes, state = evaluated(live_model(pipeline), monkeypatch), torch.get_rng_state()
    model = live_model(pipeline)
    assert sizes == [(8, 10)] * 3
    with seeded(0):
        pipeline.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False))
    with model.count() as cost:
        velocity(model)
    assert (cost.evaluations, len(sizes)) == (1 + 4 + 1 + 1, 7)
    pipeline.disable_lora()
    pipeline.enable_lora()
    velocity(model)
    assert len(sizes) == 8
    pipeline.unload_lora_weights()
    assert [module.training for module in pipeline.unet.modules()] == training
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loaded_model_is_checked_once_it_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flux().save_pretrained(tmp_path / "model")
    model: Any = le.load(tmp_path / "model", device="cpu")
    sizes = evaluated(model, monkeypatch)
    velocity(model)
    assert len(sizes) == 1
    hooked(model.pipeline)
    with pytest.raises(ModelError, match="fails on one image after"):
        velocity(model)


def with_a_fresh_hook(pipeline: Any, call: Callable[[], Any], kept: Any) -> Any:
    """The result of a call with a new closure of one code around a block, which gives what is kept, if anything is."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if kept is not None:
            kept.append(output)
            return kept[0]
        return None

    handle = denoiser(pipeline).transformer_blocks[0].register_forward_hook(hook)
    try:
        return call()
    finally:
        handle.remove()


def test_hooks_of_one_code_are_tried_once_and_a_cache_among_them_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As code that reads features registers them, around each call; an edit tries a change of hooks once."""
    pipeline = flux()
    model = live_model(pipeline)
    sizes = evaluated(model, monkeypatch)
    for _ in range(5):
        with_a_fresh_hook(pipeline, lambda: velocity(model), None)
    assert len(sizes) <= 5 + 3
    model, kept = live_model(pipeline), list[Any]()
    for _ in range(2):
        with pytest.raises(ModelError, match="reuses"):
            with_a_fresh_hook(pipeline, lambda: velocity(model), kept)


def test_hooks_of_our_own_are_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    model = live_model(flux())
    z, s, text = torch.ones(1, *model.latent_shape(64, 64)), torch.tensor([0.5]), model.embed(["a face"])
    sizes = evaluated(model, monkeypatch)
    _, kept = model.velocity_keeping(z, s, text, [f"{model.attention_layers[0]}.key"])
    model.velocity_given(z, s, text, kept)
    model.features(z, s, text, model.default_site)
    assert sizes == [(8, 8)] * 3


def test_a_network_that_fails_at_its_smallest_size_is_rejected() -> None:
    """As a cache does that was filled at another size."""
    pipeline = flux()
    model = live_model(pipeline)
    pipeline.transformer.proj_out.register_forward_hook(lambda _one, _inputs, output: output + torch.zeros(1, 7, 1))
    check_rejected(model, pipeline, r"transformer of this FluxPipeline fails at its smallest size, 64 x 80 px.*\(7\)")


def with_lora(pipeline: Any) -> None:
    with seeded(0):
        config = LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"], init_lora_weights=False)
        denoiser(pipeline).add_adapter(config, adapter_name="x")


@pytest.mark.parametrize("build", [flux, sdxl])
@pytest.mark.parametrize("is_fused_first", [True, False])
def test_a_lora_on_fused_projections_is_rejected(build: Any, is_fused_first: bool) -> None:
    """It did not act there (in SDXL it did in part), and the fingerprint was that of the model where it acts."""
    pipeline = build()
    plain, model = live_model(build()), live_model(pipeline)
    steps: list[Change] = [lambda one: denoiser(one).fuse_qkv_projections(), with_lora]
    with seeded(0):
        for change in steps if is_fused_first else steps[::-1]:
            change(pipeline)
    message = check_rejected(model, pipeline, "fused projections")
    name = "transformer" if build is flux else "unet"
    assert message.endswith(f"Call pipeline.{name}.unfuse_qkv_projections()")
    pipeline.disable_lora()
    assert relative_error(velocity(model), velocity(plain)) < 1e-5
    assert model.fingerprint == plain.fingerprint
    pipeline.enable_lora()
    check_rejected(model, pipeline, "fused projections")
    denoiser(pipeline).unfuse_qkv_projections()
    acting = build()
    with_lora(acting)
    true = live_model(acting)
    assert relative_error(velocity(model), velocity(true)) < 1e-5
    assert model.fingerprint == true.fingerprint != plain.fingerprint
    assert isinstance(model, NetworkBackbone)
