"""The probe of a network: what it finds and costs, when it is made, and that it leaves no trace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import Tensor, nn

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.models.probe import probe_velocity
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import seeded
from tests.miniatures.flow import flux
from tests.miniatures.noise import sd_pipeline
from tests.models import own_code as own
from tests.models.own_code import Change, live_model, velocity

FLOAT32, BFLOAT16 = torch.finfo(torch.float32).eps, torch.finfo(torch.bfloat16).eps


def probe(velocity_of: Callable[[Tensor], Tensor], *, rounding_error: float = FLOAT32) -> str:
    """Probe a velocity that does not depend on text, with two latents that are 10 apart."""
    latents = torch.tensor([[[[0.0, 6.0]]], [[[8.0, 0.0]]]])
    condition = Condition(tokens=torch.zeros(1, 1, 2), pooled=torch.zeros(1, 2))

    def velocity(z: Tensor, _: Condition) -> Tensor:
        return velocity_of(z)

    return probe_velocity(velocity, latents, condition, rounding_error=rounding_error)


def first_answer_for_each_size() -> Callable[[Tensor], Tensor]:
    answers = dict[int, Tensor]()
    return lambda z: answers.setdefault(len(z), 2 * z)


def first_answer_for_all() -> Callable[[Tensor], Tensor]:
    answers = list[Tensor]()

    def answer(z: Tensor) -> Tensor:
        answers.append(2 * z)
        return answers[0]

    return answer


def answer_for_batches_only(z: Tensor) -> Tensor:
    if len(z) == 1:
        raise RuntimeError("The size of tensor a (4) must match the size of tensor b (1)")
    return 2 * z


@pytest.mark.parametrize(
    ("velocity_of", "message"),
    [
        (lambda z: 2 * z, ""),
        (lambda z: z + 0.1 * z[:1], "different velocities alone"),
        (lambda z: z + 0.1 * z[-1:], "different velocities alone"),
        (lambda z: z + 0.1 * z.mean(0, keepdim=True), "different velocities alone"),
        (lambda z: z + 0.1 * z.flip(0), "different velocities alone"),
        (lambda z: z if len(z) == 1 else 0.9 * z, "different velocities alone"),
        (first_answer_for_each_size(), "different velocities alone"),
        (first_answer_for_all(), "reuses results of an earlier call"),
        (lambda z: 2 * z[:1], "reuses results of an earlier call"),
        (answer_for_batches_only, "fails on one image after a batch of four"),
    ],
    ids=[
        *("no mixing", "first image", "last image", "mean", "order", "number of images"),
        *("cache for each size", "cache", "cache from before", "cache of the batch"),
    ],
)
def test_a_velocity_of_a_latent_is_the_same_in_a_batch_and_alone(
    velocity_of: Callable[[Tensor], Tensor], message: str
) -> None:
    if message:
        assert message in probe(velocity_of)
    else:
        assert probe(velocity_of) == ""


@pytest.mark.parametrize(("rounding_error", "limit"), [(FLOAT32, 0.00345), (BFLOAT16, 0.05)])
def test_answers_may_differ_by_the_rounding_error(rounding_error: float, limit: float) -> None:
    """The limit is a fraction of the difference between two latents, which is 10 here."""

    def rounding_by(difference: float) -> Callable[[Tensor], Tensor]:
        offset = torch.tensor([10 * difference, 0.0])
        return lambda z: z if len(z) > 1 else z + offset

    assert probe(rounding_by(0.98 * limit), rounding_error=rounding_error) == ""
    assert probe(rounding_by(1.02 * limit), rounding_error=rounding_error) != ""


def test_the_probe_asks_for_a_batch_of_four_and_each_latent_alone() -> None:
    asked = list[list[float]]()

    def answer(z: Tensor) -> Tensor:
        asked.append(z[:, 0, 0, 0].tolist())
        return z

    probe(answer)
    assert asked == [[0.0, 0.0, 8.0, 0.0], [8.0], [0.0]]


@pytest.mark.parametrize("size", [1, 4])
def test_a_lack_of_memory_is_not_taken_for_a_cache(size: int) -> None:
    def answer(z: Tensor) -> Tensor:
        if len(z) == size:
            raise torch.OutOfMemoryError
        return z

    with pytest.raises(torch.OutOfMemoryError):
        probe(answer)


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
def test_the_probe_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
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
        with pytest.raises(ModelError, match="reuses results"):
            with_a_fresh_hook(pipeline, lambda: velocity(model), kept)


def test_hooks_of_our_own_are_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    model = live_model(flux())
    z, s, text = torch.ones(1, *model.latent_shape(64, 64)), torch.tensor([0.5]), model.embed(["a face"])
    sizes = evaluated(model, monkeypatch)
    _, kept = model.velocity_keeping(z, s, text, [f"{model.attention_layers[0]}.key"])
    model.velocity_given(z, s, text, kept)
    model.features(z, s, text, model.default_site)
    assert sizes == [(8, 8)] * 3
