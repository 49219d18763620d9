"""The check of a network for caches: what it costs, when it is made, and that it leaves no trace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import Tensor, nn

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.numerics.rng import seeded
from tests.miniatures.flow import flux
from tests.miniatures.noise import sd_pipeline
from tests.models import own_code as own
from tests.models.own_code import Change, live_model, velocity


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "evaluations"),
    [
        (own.hook_on("proj_out", lambda: lambda _one, _inputs, output: 2 * output), 3),
        (lambda one: one.transformer.set_attention_backend("_native_math"), 0),
    ],
    ids=["hook", "attention backend"],
)
def test_pure_networks_are_taken_and_cost_few_evaluations(
    change: Change, evaluations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three at the smallest size after a change of what is computed."""
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
    sizes, uncounted = list[tuple[int, ...]](), type(model)._velocity

    def counted(self: Any, z: Tensor, *more: Any) -> Tensor:
        sizes.append(tuple(z.shape[-2:]))
        return uncounted(self, z, *more)

    monkeypatch.setattr(type(model), "_velocity", counted)
    return sizes


@pytest.mark.slow
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
    own.input_before(model.pipeline)
    with pytest.raises(ModelError, match="fails on one image after"):
        velocity(model)


def with_a_fresh_hook(pipeline: Any, call: Callable[[], Any], kept: Any) -> Any:
    """The result of a call with a new closure of one code around a block, which gives what is kept, if anything is."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if kept is not None:
            kept.append(output)
            return kept[0]
        return None

    handle = pipeline.transformer.transformer_blocks[0].register_forward_hook(hook)
    try:
        return call()
    finally:
        handle.remove()


@pytest.mark.slow
def test_hooks_of_one_code_are_tried_once_and_a_cache_among_them_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that reads features registers such hooks around each call; an edit tries a change of hooks once."""
    pipeline = flux()
    model = live_model(pipeline)
    sizes = evaluated(model, monkeypatch)
    for _ in range(3):
        with_a_fresh_hook(pipeline, lambda: velocity(model), None)
    assert len(sizes) <= 3 + 3
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
