"""Live models, and code of users in their pipelines: caches, hooks, modules, attention processors and patches."""

import functools
import types
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import JointAttnProcessor2_0
from torch import Tensor, nn

import latentedit as le
from latentedit.models.base import Backbone
from latentedit.numerics.rng import draw
from latentedit.testing.miniature import sd3_pipeline
from tests.models.families.family import SETTINGS

Change = Callable[[Any], object]


def sd3() -> Any:
    return sd3_pipeline(t5=False)


def live_model(pipeline: Any) -> Any:
    return le.from_pipeline(pipeline, settings=SETTINGS)


def velocity(model: Backbone) -> Tensor:
    z = draw((1, *model.latent_shape(64, 64)), seed=0, purpose="own code")
    with torch.no_grad():
        return model.velocity(z, torch.tensor([0.5]), model.embed(["a face"]))


def denoiser(pipeline: Any) -> Any:
    return getattr(pipeline, "transformer", None) or pipeline.unet


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


def hook_on(name: str, make: Callable[[], Any]) -> Change:
    """Register a forward hook, made anew for each pipeline, on a submodule of the denoiser."""
    return lambda pipeline: denoiser(pipeline).get_submodule(name).register_forward_hook(make())


def input_before(pipeline: Any) -> None:
    """A forward pre-hook that gives what it saw in the call before, every second call."""
    kept = list[Any]()

    def hook(_module: nn.Module, inputs: Any) -> Any:
        kept.append(inputs)
        return kept[-2] if len(kept) % 2 == 0 else None

    denoiser(pipeline).transformer_blocks[0].ff.register_forward_pre_hook(hook)


def written_in_place() -> Any:
    """A buffer that a hook fills in its first call."""
    buffer: dict[str, Tensor] = {}

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        if not buffer:
            buffer["text"] = torch.empty(2, *output.shape, dtype=output.dtype)
            buffer["text"][1].copy_(output)
        return buffer["text"][1]

    return hook


def each(out: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Attention to images and text has two results, to images alone one."""
    return tuple(map(change, out)) if isinstance(out, tuple) else change(out)


def times(out: Any, factor: float) -> Any:
    return each(out, lambda one: factor * one)


class Weaker(JointAttnProcessor2_0):
    """A processor of the user's, by whatever name of a module."""

    def __call__(self, *args: Any, **given: Any) -> Any:
        return times(super().__call__(*args, **given), 0.5)


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
    return times(function(attn, *args, **given), factor)


def wrapped(method: Any) -> Any:
    """A decorator whose wrapper goes by the name and the module of what it wraps."""

    @functools.wraps(method)
    def around(*args: Any, **given: Any) -> Any:
        return method(*args, **given)

    return around


def of_teacache(network: Any, *args: Any, **given: Any) -> Any:
    """A forward of others, which is refused before it runs."""
    raise NotImplementedError


def one_layer(processor: Any) -> Change:
    return lambda one: setattr(one.transformer.transformer_blocks[0].attn, "processor", processor)


def all_layers(make: Callable[[], Any]) -> Change:
    """Set attention processors, made anew for each pipeline, since they may count."""
    return lambda one: one.transformer.set_attn_processor(make())


def class_of_main(one: Any) -> None:
    own = {"__module__": "__main__", "forward": lambda self, x: 2 * nn.Linear.forward(self, x)}
    one.transformer.proj_out.__class__ = type("Own", (nn.Linear,), own)


def longer_block(one: Any) -> None:
    block = one.transformer.transformer_blocks[0]
    block.ff = nn.Sequential(block.ff, Larger())


def patch(part: str, name: str) -> Change:
    def change(one: Any) -> None:
        thing = functools.reduce(getattr, filter(None, part.split(".")), one)
        setattr(thing, name, wrapped(getattr(thing, name)))

    return change


def partial_patch(one: Any) -> None:
    """A forward that is wrapped as accelerate does it, but around code of the user's."""
    block = one.transformer.transformer_blocks[0].ff
    own = block.forward
    block.forward = functools.update_wrapper(functools.partial(function, block), own)


def compiled_patch(one: Any) -> None:
    one.transformer.forward = torch.compile(types.MethodType(function, one.transformer), backend="eager")


def hook(_module: Any, _inputs: Any, output: Any) -> Any:
    return output


class Recorder(JointAttnProcessor2_0):
    """Keeps what attention gives; answers by a rule."""

    def __init__(self, rule: Any = None) -> None:
        super().__init__()
        self.maps, self.rule = list[Any](), rule

    def __call__(self, *args: Any, **given: Any) -> Any:
        out = super().__call__(*args, **given)
        self.maps.append(out)
        return out if self.rule is None else self.rule(self, out)


class Counter:
    """Counts alone, and halves the calls that a rule selects."""

    def __init__(self, rule: Callable[[int], bool]) -> None:
        self.calls, self.rule = 0, rule

    def __call__(self, *args: Any, **given: Any) -> Any:
        self.calls += 1
        return weaker(*args, factor=0.5 if self.rule(self.calls) else 1.0, **given)
