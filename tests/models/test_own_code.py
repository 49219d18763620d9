"""Code of the user's own in a pipeline is refused or counts in the fingerprint; that of libraries is taken."""

import functools
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0, JointAttnProcessor2_0
from torch import Tensor, nn

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.numerics.rng import draw
from latentedit.testing.miniature import sd3_pipeline

pytestmark = pytest.mark.slow

Change = Callable[[Any], object]


def sd3() -> Any:
    return sd3_pipeline(t5=False)


def each(out: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Attention to images and text has two results, to images alone one."""
    return tuple(map(change, out)) if isinstance(out, tuple) else change(out)


class Weaker(JointAttnProcessor2_0):
    """A processor of the user's, by whatever name of a module."""

    def __call__(self, *args: Any, **given: Any) -> Any:
        return each(super().__call__(*args, **given), lambda out: 0.5 * out)


class Disguised(Weaker):
    def __call__(self, *args: Any, **given: Any) -> Any:
        return super().__call__(*args, **given)


Disguised.__module__ = JointAttnProcessor2_0.__module__


class Larger(nn.Module):
    """A layer without weights."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.5 * x


def function(attn: Any, *args: Any, **given: Any) -> Any:
    return JointAttnProcessor2_0()(attn, *args, **given)


def weaker(attn: Any, *args: Any, factor: float, **given: Any) -> Any:
    return each(function(attn, *args, **given), lambda out: factor * out)


def wrapped(method: Any) -> Any:
    """As decorators wrap: the wrapper goes by the name and the module of what it wraps."""

    @functools.wraps(method)
    def around(*args: Any, **given: Any) -> Any:
        return method(*args, **given)

    return around


def one_layer(processor: Any) -> Change:
    return lambda one: setattr(one.transformer.transformer_blocks[0].attn, "processor", processor)


def of_vae(one: Any) -> None:
    (layer,) = (module for module in one.vae.decoder.modules() if type(module).__name__ == "Attention")
    layer.processor = type("Own", (AttnProcessor2_0,), {"__module__": "__main__"})()


def patch(part: str, name: str) -> Change:
    def change(one: Any) -> None:
        thing = functools.reduce(getattr, filter(None, part.split(".")), one)
        setattr(thing, name, wrapped(getattr(thing, name)))

    return change


def partial_patch(one: Any) -> None:
    """As accelerate wraps a forward, but around code of the user's."""
    block = one.transformer.transformer_blocks[0].ff
    own = block.forward
    block.forward = functools.update_wrapper(functools.partial(function, block), own)


def compiled_patch(one: Any) -> None:
    one.transformer.forward = torch.compile(types.MethodType(function, one.transformer), backend="eager")


def hook(_module: Any, _inputs: Any, output: Any) -> Any:
    return output


REFUSED: dict[str, tuple[Change, str]] = {
    "by a name of diffusers": (one_layer(Disguised()), "Disguised"),
    "in the VAE": (of_vae, "__main__.Own"),
    "decode": (patch("vae", "decode"), r"wrapped.<locals>.around|AutoencoderKL.decode"),
    "encode": (patch("vae", "encode"), "encode of its AutoencoderKL"),
    "inside the VAE": (patch("vae.decoder.conv_in", "forward"), "forward of its Conv2d"),
    "text encoder": (patch("text_encoder", "forward"), "text_encoder"),
    "prompts": (patch("", "encode_prompt"), "encode_prompt of its StableDiffusion3Pipeline"),
    "another method": (patch("transformer.transformer_blocks.0.attn", "prepare_attention_mask"), "prepare_attention"),
    "partial forward": (partial_patch, "test_own_code"),
    "compiled": (compiled_patch, "test_own_code"),
    "hook of a text encoder": (lambda one: one.text_encoder.register_forward_hook(hook), "test_own_code.hook"),
    "pre-hook of the VAE": (lambda one: one.vae.decoder.register_forward_pre_hook(lambda *_: None), "<lambda>"),
    "module of the VAE": (lambda one: setattr(one.vae.decoder, "conv_act", Larger()), "test_own_code.Larger"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_code_in_the_place_of_a_librarys_is_refused_by_its_name(name: str) -> None:
    """At once, and from the next call on where the pipeline was a model already."""
    change, pattern = REFUSED[name]
    pipeline = sd3()
    model = le.from_pipeline(pipeline)
    change(pipeline)
    with pytest.raises(ModelError, match=pattern):
        le.from_pipeline(pipeline)
    if name != "another method":  # which is looked at in a new model only
        with pytest.raises(ModelError, match=pattern):
            _ = model.fingerprint


@pytest.mark.parametrize("kind", [JointAttnProcessor2_0, AttnProcessor2_0])
def test_a_patched_class_is_refused(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = kind.__call__
    with monkeypatch.context() as patched:
        patched.setattr(kind, "__call__", torch.no_grad()(wrapped(own)))
        with pytest.raises(ModelError, match="test_own_code"):
            le.from_pipeline(sd3())
    le.from_pipeline(sd3())


COUNTED: dict[str, Change] = {
    "module": lambda one: setattr(one.transformer.transformer_blocks[0], "ff", nn.Sequential(
        one.transformer.transformer_blocks[0].ff, Larger())),
    "layer without weights": lambda one: setattr(one.transformer.transformer_blocks[0].ff.net, "1", Larger()),
    "class": lambda one: setattr(one.transformer.proj_out, "__class__", type("Own", (nn.Linear,), {
        "__module__": "__main__", "forward": lambda self, x: 2 * nn.Linear.forward(self, x)})),
    "hook": lambda one: one.transformer.proj_out.register_forward_hook(lambda _one, _inputs, output: 2 * output),
    "other hook": lambda one: one.transformer.proj_out.register_forward_hook(lambda _one, _inputs, output: 3 * output),
    "processor": lambda one: one.transformer.set_attn_processor(Weaker()),
    "one layer": one_layer(Weaker()),
    "function": one_layer(function),
    "partial": one_layer(functools.partial(weaker, factor=1)),
    "lambda": one_layer(lambda attn, *args, **given: weaker(attn, *args, factor=2, **given)),
    "pre-hook": lambda one: one.transformer.proj_out.register_forward_pre_hook(lambda _one, x: (2 * x[0],)),
}  # fmt: skip


def test_own_modules_processors_and_hooks_of_the_denoiser_count_in_the_fingerprint() -> None:
    fingerprints = {"": le.from_pipeline(sd3()).fingerprint}
    for name, change in COUNTED.items():
        pipeline = sd3()
        change(pipeline)
        fingerprints[name] = le.from_pipeline(pipeline).fingerprint
    assert len(set(fingerprints.values())) == len(fingerprints), fingerprints


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: 0.8 * x + 0.2 * x[:1],
        lambda x: 0.8 * x + 0.2 * x[-1:],
        lambda x: 0.8 * x + 0.2 * x.mean(0, keepdim=True),
        lambda x: 0.8 * x + 0.2 * x.flip(0),
        lambda x: 0.8 * x + 0.2 * x.roll(1, 0),
        lambda x: x if len(x) < 2 else 0.5 * x,
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_mixes_a_batch_is_refused(mix: Any, dtype: torch.dtype) -> None:
    """A hook and a processor are tried."""
    pipeline = sd3().to(dtype)
    pipeline.transformer.transformer_blocks[0].register_forward_hook(lambda _one, _in, out: tuple(map(mix, out)))
    with pytest.raises(ModelError, match="beside other images"):
        le.from_pipeline(pipeline)
    other = sd3().to(dtype)
    other.transformer.set_attn_processor(lambda *args, **given: each(function(*args, **given), mix))
    if dtype == torch.float32:  # what attention adds here is less than what half precision rounds
        with pytest.raises(ModelError, match="beside other images"):
            le.from_pipeline(other)


class Recorder(JointAttnProcessor2_0):
    """Keeps what attention gives, and counts; answers by a rule."""

    drawn = 0

    def __init__(self, rule: Any = None) -> None:
        super().__init__()
        self.maps, self.rule, self.numbers = list[Any](), rule, {"calls": 0}

    def __call__(self, *args: Any, **given: Any) -> Any:
        out = super().__call__(*args, **given)
        self.numbers["calls"] += 1
        Recorder.drawn += 1
        self.maps.append(out)
        return out if self.rule is None else self.rule(self, out)


class Counter:
    """Counts alone."""

    def __init__(self, rule: Any) -> None:
        self.calls, self.rule = 0, rule

    def __call__(self, *args: Any, **given: Any) -> Any:
        self.calls += 1
        out = function(*args, **given)
        return each(out, lambda one: 0.5 * one) if self.rule(self.calls) else out


def closure(rule: Any) -> Any:
    calls = 0

    def processor(*args: Any, **given: Any) -> Any:
        nonlocal calls
        calls += 1
        out = function(*args, **given)
        return each(out, lambda one: 0.5 * one) if rule(calls) else out

    return processor


def global_count(*args: Any, **given: Any) -> Any:
    NUMBERS["calls"] += 1
    out = function(*args, **given)
    return each(out, lambda one: 0.5 * one) if NUMBERS["calls"] > 90 else out


NUMBERS = {"calls": 0}


@pytest.mark.parametrize("build", [Recorder, lambda: Counter(lambda _: False), lambda: closure(lambda _: False)])
def test_a_processor_that_only_counts_or_records_is_taken(build: Any) -> None:
    """What was tried before stays as it was, and so does what it counts of the calls of a trial."""
    pipeline, plain = sd3(), le.from_pipeline(sd3())
    pipeline.transformer.set_attn_processor(processor := build())
    model = le.from_pipeline(pipeline)
    z = draw((1, *model.latent_shape(64, 64)), seed=0, purpose="own code")
    velocities = [one.velocity(z, torch.tensor([0.5]), one.embed(["a face"])) for one in (model, plain)]
    assert torch.equal(*velocities)
    if isinstance(processor, Recorder):
        assert processor.numbers["calls"] == len(processor.maps)


RULES: dict[str, Any] = {
    "keeps": Recorder(lambda self, out: next(one for one in self.maps if type(one) is type(out))),
    "later": Recorder(lambda self, out: each(out, lambda one: one if self.numbers["calls"] < 60 else 2 * one)),
    "of its class": Recorder(lambda self, out: each(out, lambda one: one if self.drawn < 500 else 2 * one)),
    "every fifth": Counter(lambda calls: calls % 5 == 0),
    "the first": Counter(lambda calls: calls < 60),
    "closure": closure(lambda calls: calls > 40),
    "global": global_count,
}


@pytest.mark.parametrize("rule", RULES)
def test_a_processor_whose_answer_depends_on_earlier_calls_is_refused(rule: str) -> None:
    pipeline, Recorder.drawn = sd3(), 0
    pipeline.transformer.set_attn_processor(RULES[rule])
    with pytest.raises(ModelError, match=r"reuses|two velocities|fails on one") as caught:
        le.from_pipeline(pipeline)
    assert "phrase_attention" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.transformer.set_attn_processor(JointAttnProcessor2_0()),
        lambda one: one.vae.set_attn_processor(AttnProcessor()),
        lambda one: one.vae.enable_tiling(),
        lambda one: setattr(one.transformer.transformer_blocks[0].attn.processor, "__call__", function),  # of no effect
        lambda one: setattr(one.scheduler, "step", function),  # which is never called
        lambda one: one.transformer.compile(backend="eager"),
        lambda one: setattr(one.vae, "decode", one.vae.decode),  # a patch that was undone
    ],
)
def test_what_changes_nothing_is_the_plain_pipeline(change: Change) -> None:
    pipeline, plain = sd3(), le.from_pipeline(sd3())
    change(pipeline)
    model = le.from_pipeline(pipeline)
    z = draw((1, *model.latent_shape(64, 64)), seed=0, purpose="own code")
    with torch.no_grad():
        velocities = [one.velocity(z, torch.tensor([0.5]), one.embed(["a face"])) for one in (model, plain)]
    assert torch.allclose(*velocities, rtol=1e-5, atol=1e-5)
    assert model.fingerprint == plain.fingerprint
