"""Whether the velocity of a network depends on its earlier calls: what is known to do that, and what is seen to do it.

A cache returns what it kept of an earlier call. So `remembers` follows from which calls the memory of every tensor
descends. That finds caches of any name and any rhythm, also those that ignore small changes; copies outside of PyTorch
are found by comparing velocities, and so is what mixes the images of a batch.

Code that no library defines may do anything, also in its hundredth call. In place of a method or an attention processor
it is refused by its name. Own modules and hooks of the denoiser, which is tried, count in the fingerprint (`own_code`);
in parts that are not tried they are refused.
"""

import contextlib
import dataclasses
import functools
import gc
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from latentedit.core.condition import Condition
from latentedit.core.errors import ModelError
from latentedit.models.weights import acting_unfused

# Calls of a network that keeps nothing of them, and of one that does: caches begin after up to 8 steps (cache-dit).
_CALLS = 3
_CALLS_OF_KEEPERS = 12

# Which of two latents the first call has: the one that is called alone then is neither first nor last, and in no other
# place, so that what mixes it with another one, or turns their order, changes it.
_BATCH = (0, 0, 1, 0)

# Largest difference between velocities of one input, as a fraction of that between inputs that hardly differ.
_NOISE = 0.25

# Largest difference between velocities of a latent alone and beside others, as a fraction of that between it and them:
# above what rounding to half precision and to integers does, which depend on the size and the numbers of a batch.
_IN_BATCH = 0.05

# Packages whose code computes what configuration and weights say, besides the standard library and our own.
_LIBRARIES = frozenset((
    "accelerate", "bitsandbytes", "diffusers", "huggingface_hub", "optimum", "peft", "torch", "torchao", "transformers",
    "typing_extensions", "auto_gptq", "awq", "compressed_tensors", "gptqmodel", "hqq",
))  # fmt: skip

# Those that wrap methods of single modules, to move, cast or compile them.
_WRAPPING = _LIBRARIES - {"diffusers"}

# Modules of diffusers.hooks whose hooks move, cast or split weights; all others change what is computed.
_MOVING = ("group_offloading", "layerwise_casting", "context_parallel", "tensor_parallel", "tensor_parallel_neuron")

UNDO = "Undo the cache, hook or patch, or load the pipeline again without it"


def impure(network: str, what: str, remedy: str = UNDO) -> ModelError:
    """The error for a network whose velocity does not follow from its input and its weights."""
    return ModelError(f"the {network} {what}, so its velocity does not follow from latents and weights. {remedy}")


def glance(network: nn.Module) -> list[object]:
    """What decides how the modules of a network compute, besides numbers: it shows at a glance whether that changed."""
    found = list[object]()
    for module in network.modules():
        own, processor = vars(module), getattr(module, "processor", None)
        fused = own.get("fused_projections") and acting_unfused(module)
        found += (module, type(module).forward, own.get("forward"), own.get("decode"), own.get("encode"), fused)
        found += (processor, vars(type(processor)).get("__call__"))
        if own["_forward_hooks"] or own["_forward_pre_hooks"]:
            found += map(_code, _hooks(module))
    return found


def _code(hook: Any) -> list[object]:
    """What tells hooks apart: their code, or the type of an object, as a new closure is registered for each call."""
    return [getattr(function, "__code__", type(function)) for function in _functions(hook)]


def check_recognized(network: Any, part: str, kind: str, known: frozenset[str], *, is_tried: bool) -> None:
    """Refuse what is known to change what a network computes, the part of this name of a pipeline, by its name.

    ``known`` are packages whose classes belong there, besides the libraries. A part that `remembers` does not try has
    no other modules and hooks.
    """
    subject, hooks = f"{part} of this {kind}", dict[str, None]()
    known |= {_package(type(network).__module__)}
    things: list[Any] = [one for module in network.modules() for one in (module, getattr(module, "processor", None))]
    _check_classes(things, subject)
    of_kinds = {kind: _own_of_kind(kind, known) for kind in {type(module) for module in things[::2]}}
    for module, processor in zip(things[::2], things[1::2], strict=True):
        _check_own_methods(module, subject)
        if own := [] if processor is None else _own_functions(processor, known):
            stock = f"Give pipeline.{part}.set_attn_processor one of diffusers, or load the pipeline again"
            raise impure(subject, f"runs the attention processor {_named(own[0])}, which no library defines", stock)
        if not is_tried and (own := of_kinds[type(module)] + _own_hooks(module, known)):
            away = f"Take it out of pipeline.{part}, or load the pipeline again"
            raise ModelError(f"the {subject} runs {_named(own[0])}, which no library defines. {away}")
        if vars(module).get("fused_projections") and acting_unfused(module):
            unfuse = f"Call pipeline.{part}.unfuse_qkv_projections()"
            raise impure(subject, "has fused projections, which leave out its LoRA", unfuse)
        for name, hook in getattr(vars(module).get("_diffusers_hook"), "hooks", {}).items():
            package, _, own = type(hook).__module__.rpartition(".")
            if getattr(hook, "_is_stateful", False) or (package == "diffusers.hooks" and own not in _MOVING):
                hooks[name] = None
    if hooks:
        registry = f"diffusers.hooks.HookRegistry.check_if_exists_or_initialize(pipeline.{part})"
        remedy = f"Call {' and '.join(f'remove_hook({one!r})' for one in hooks)} of {registry}"
        if getattr(network, "is_cache_enabled", False):
            remedy = f"Call pipeline.{part}.disable_cache()"
        raise impure(subject, f"has hooks that reuse or skip layers ({', '.join(hooks)})", remedy)


def packages_of(adapter: type) -> frozenset[str]:
    """The package of an adapter: that of a plugin has classes of its own."""
    return frozenset((_package(adapter.__module__),))


def check_methods(thing: Any, subject: str) -> None:
    """Refuse methods that an object, or its class of a library, runs in place of those that it was defined with."""
    _check_own_methods(thing, subject)
    _check_classes([thing], subject)


def _check_own_methods(thing: Any, subject: str) -> None:
    for name, value in vars(thing).items():
        if callable(value) and isinstance(getattr(type(thing), name, None), types.FunctionType):
            owns = [one for kind in type(thing).__mro__ if name in vars(kind) for one in _functions(vars(kind)[name])]
            for function in _functions(value):
                is_moved = _home(function).startswith("diffusers.hooks.") or _is_known(function, _WRAPPING)
                if function not in owns and not is_moved:
                    raise _patched(function, name, thing, subject)


def _check_classes(things: Iterable[Any], subject: str) -> None:
    """Check every class of a library once; the modules of a network are of few classes."""
    by_type = {type(thing): thing for thing in things}
    users = {kind: thing for own, thing in by_type.items() for kind in own.__mro__}
    for kind, thing in users.items():
        if _package(kind.__module__) in _LIBRARIES:
            for name, value in vars(kind).items():
                for function in _functions(value) if isinstance(value, types.FunctionType) else ():
                    if not _is_known(function, _LIBRARIES):
                        raise _patched(function, name, thing, subject)


def _patched(function: Any, name: str, thing: object, subject: str) -> ModelError:
    where = f"in place of the {name} of its {type(thing).__name__}"
    return impure(subject, f"runs {function.__qualname__} of {_home(function)} {where}")


def own_code(network: nn.Module, known: frozenset[str]) -> list[str]:
    """Code of modules, processors and hooks of a network that neither a library nor a known package defines."""
    found = list[str]()
    of_kinds = {kind: _own_of_kind(kind, known) for kind in {type(module) for module in network.modules()}}
    for place, module in network.named_modules():
        processor = getattr(module, "processor", None)
        own = of_kinds[type(module)] + ([] if processor is None else _own_functions(processor, known))
        for function in own + _own_hooks(module, known):
            code = getattr(function, "__code__", None)
            plain = code and (code.co_code, code.co_names, [*filter(_is_plain, code.co_consts)])
            found.append(repr((place.replace("_orig_mod.", ""), _named(function), plain)))
    return found


def _own_hooks(module: nn.Module, known: frozenset[str]) -> list[Any]:
    return [function for hook in _hooks(module) for function in _own_functions(hook, known)]


def _own_functions(thing: Any, known: frozenset[str]) -> list[Any]:
    """The classes and functions of an object, or of a function, that neither libraries nor known packages define."""
    if isinstance(thing, types.FunctionType | types.MethodType | functools.partial):
        return [function for function in _functions(thing) if not _is_known(function, _LIBRARIES | known)]
    return _own_of_kind(type(thing), known)


def _own_of_kind(kind: type, known: frozenset[str]) -> list[Any]:
    kinds = [base for base in kind.__mro__ if not _is_known(base, _LIBRARIES | known)]
    return [*kinds, *(one for base in kinds for one in vars(base).values() if isinstance(one, types.FunctionType))]


def _functions(value: Any) -> Iterator[Any]:
    """The functions in a callable: that of a method, those inside of partial, compiled and wrapped ones."""
    value = getattr(value, "_torchdynamo_orig_callable", value)
    if isinstance(value, functools.partial):
        yield from _functions(value.func)
    else:
        yield getattr(value, "__func__", value)
    if (inside := getattr(value, "__wrapped__", None)) is not None:
        yield from _functions(inside)


def _hooks(module: nn.Module) -> list[Any]:
    """The hooks around a module's forward, besides our own."""
    own = vars(module)
    hooks = (*own["_forward_hooks"].values(), *own["_forward_pre_hooks"].values())
    # Those of transformers collect outputs, and are added by the first call.
    return [hook for hook in hooks if _package(_home(hook)) not in ("latentedit", "transformers")]


def _is_known(thing: Any, packages: frozenset[str]) -> bool:
    package = _package(_home(thing))
    return package in packages or package in sys.stdlib_module_names or package.startswith("latentedit")


def _home(thing: Any) -> str:
    """The module in which a class or a function is defined, whatever name it goes by."""
    return str(getattr(thing, "__globals__", {}).get("__name__") or getattr(thing, "__module__", None))


def _package(module: str) -> str:
    return module.partition(".")[0]


def _named(thing: Any) -> str:
    return f"{_home(thing)}.{getattr(thing, '__qualname__', type(thing).__name__)}"


def _is_plain(value: object) -> bool:
    return not isinstance(value, types.CodeType)


def remembers(
    network: nn.Module,
    velocity: Callable[[Tensor, Condition], Tensor],
    latents: Tensor,
    condition: Condition,
    *,
    rounding: float,
) -> str:
    """How the velocity of a network was seen to depend on earlier calls or on a batch; empty if it was not.

    Of two latents, with the rounding error of the network's dtype.
    """
    # What it kept of the calls in which it was found out may be all that it returns from then on.
    memory, first, how, nearby = _FOUND.get(network) or _Memory(), dict[tuple[int, ...], Tensor](), "", 0.0
    for call in range(_CALLS_OF_KEEPERS):
        # AABA, B, B, A, B, A, A, B: without a period, which a cache might have as well.
        rows = (call.bit_count() % 2,) if call else _BATCH
        z, text = latents[list(rows)], condition.expand(len(rows))
        z, tokens, pooled = (part.clone() for part in (z, text.tokens, text.pooled))
        try:
            with memory.following((z, tokens, pooled)):
                v = velocity(z, dataclasses.replace(text, tokens=tokens, pooled=pooled))
        except RuntimeError as error:
            if not call or isinstance(error, torch.OutOfMemoryError):
                raise
            v, how = z, "fails on one image after it was called with four"
        if len(v) != len(rows):
            v, how = z, "reuses what it computed in earlier calls"
        if not call:
            # What latents would change that differ by more than rounding, and by less than caches ignore.
            nearby = rounding**0.5 * float((v[2] - v[0]).norm())
        if not memory.calls([v]) <= {memory.call}:
            how = "reuses what it computed in earlier calls"
        elif not how and (v - first.setdefault(rows, v.clone())).norm() > _NOISE * nearby:
            how = "gives two velocities for one input"
        del z, tokens, pooled, v
        if how:
            _FOUND[network] = memory
            return how
        if call >= _CALLS - 1 and network not in _FOUND and not memory.is_kept():
            break
    _FOUND.pop(network, None)
    batch, alone = first[_BATCH], first[(1,)][0]
    if (batch[2] - alone).norm() > _IN_BATCH * (batch[2] - batch[0]).norm():
        return "gives an image another velocity beside other images"
    return ""


class _Memory(TorchDispatchMode):
    """Notes from which calls the memory of every tensor descends; in one thread."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.call = 0
        # A weak reference keeps the address, which is the key, from being used again.
        self._calls = dict[int, tuple[StorageWeakRef, frozenset[int]]]()

    def following(self, given: Iterable[Tensor]) -> "_Memory":
        """The context of the next call, and what is given to it."""
        self.call += 1
        self._note(given, frozenset({self.call}))
        return self

    def calls(self, tensors: Iterable[Any]) -> frozenset[int]:
        """The calls from which tensors descend."""
        known = (self._calls.get(memory.cdata) for memory in _memories(tensors))
        return frozenset[int]().union(*(one[1] for one in known if one is not None))

    def is_kept(self) -> bool:
        """Whether anything of a call is still in memory, other than in cycles."""
        alive = [memory for memory, calls in self._calls.values() if calls and not memory.expired()]
        return bool(alive) and (gc.collect() < 0 or any(not memory.expired() for memory in alive))

    def _note(self, tensors: Iterable[Any], calls: frozenset[int]) -> None:
        for memory in _memories(tensors):
            if calls or memory.cdata in self._calls:
                self._calls[memory.cdata] = memory, calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # What is overwritten as a whole is not read.
        is_copy = getattr(func, "overloadpacket", None) is torch.ops.aten.copy_
        replaced = is_copy and args[0].numel() * args[0].itemsize == args[0].untyped_storage().nbytes()
        read = tree_leaves((args[1:] if replaced else args, {key: kwargs[key] for key in kwargs if key != "out"}))
        result = func(*args, **kwargs)
        self._note(tree_leaves(result), self.calls(read))
        return result


def _memories(tensors: Iterable[Any]) -> Iterator[StorageWeakRef]:
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            with contextlib.suppress(NotImplementedError):  # sparse tensors and others whose memory is not one block
                yield StorageWeakRef(tensor.untyped_storage())


# Networks that were found out.
_FOUND: weakref.WeakKeyDictionary[nn.Module, _Memory] = weakref.WeakKeyDictionary()
