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
from latentedit.core.rng import draw
from latentedit.testing.miniature import sd3_pipeline

pytestmark = pytest.mark.slow

Change = Callable[[Any], object]


def sd3() -> Any:
    return sd3_pipeline(t5=False)


class Weaker(JointAttnProcessor2_0):
    """A processor of the user's, by whatever name of a module."""

    def __call__(self, *args: Any, **given: Any) -> Any:
        out = super().__call__(*args, **given)
        return (0.5 * out[0], *out[1:]) if isinstance(out, tuple) else 0.5 * out


class Disguised(Weaker):
    pass


Disguised.__module__ = JointAttnProcessor2_0.__module__


class Larger(nn.Module):
    """A layer without weights."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.5 * x


def function(attn: Any, *args: Any, **given: Any) -> Any:
    return JointAttnProcessor2_0()(attn, *args, **given)


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
    "processor": (lambda one: one.transformer.set_attn_processor(Weaker()), "test_own_code.Weaker"),
    "one layer": (one_layer(Weaker()), "test_own_code.Weaker"),
    "by a name of diffusers": (one_layer(Disguised()), "Weaker"),
    "function": (one_layer(function), "test_own_code.function"),
    "partial": (one_layer(functools.partial(function, scale=1)), "test_own_code.function"),
    "lambda": (one_layer(lambda attn, x, *_args, **_given: x), "<lambda>"),
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
    "pre-hook": lambda one: one.transformer.proj_out.register_forward_pre_hook(lambda _one, x: (2 * x[0],)),
}  # fmt: skip


def test_own_modules_and_hooks_of_the_denoiser_count_in_the_fingerprint() -> None:
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
    """Also by a hook, which is no processor."""
    pipeline = sd3().to(dtype)
    pipeline.transformer.transformer_blocks[0].register_forward_hook(lambda _one, _in, out: tuple(map(mix, out)))
    with pytest.raises(ModelError, match="beside other images"):
        le.from_pipeline(pipeline)


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
