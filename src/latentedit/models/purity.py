"""Whether a network gives one velocity for one input: caches, patches and hooks that change it are recognized or found.

A cache returns what it kept of an earlier call. `remembers` follows through three calls which memory descends from the
latents and the text of which call, so it finds a cache whatever it is called, however small the changes are that it
ignores, and whether it is reused in every call or every tenth; only data that leave PyTorch are lost from sight. The
velocities of two equal calls are compared as well.
"""

import contextlib
import dataclasses
import functools
import gc
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from latentedit.core.condition import Condition
from latentedit.core.errors import ModelError
from latentedit.models.weights import acting_unfused

# Evaluations of a network that keeps nothing, and of one that does: caches begin after up to 10 steps (cache-dit: 8).
_CALLS, _CALLS_OF_KEEPERS = 3, 12

# Two velocities of one input differ by less than this fraction of what the change of the input does to the velocity.
_NOISE = 0.25

# Modules of diffusers.hooks whose hooks move, cast or split weights; those of all others change what is computed.
_MOVING = ("group_offloading", "layerwise_casting", "context_parallel", "tensor_parallel", "tensor_parallel_neuron")

_REMEDIES = {"cache_dit": "Call cache_dit.disable_cache(pipeline)", "DeepCache": "Call disable() of its helper"}


# Networks that were found out.
_FOUND: "weakref.WeakKeyDictionary[nn.Module, _Memory]" = weakref.WeakKeyDictionary()


def impure(network: str, what: str, remedy: str) -> ModelError:
    """The error for a network whose velocity does not follow from what it is given."""
    return ModelError(f"the {network} {what}, so its velocity does not follow from latents and weights. {remedy}")


def glance(network: nn.Module) -> list[object]:
    """What decides how the modules of a network compute, besides numbers: to see at a glance whether it changed."""
    found, left = list[object](), [network]
    while left:
        module = left.pop()
        own = vars(module)
        left += [part for part in own["_modules"].values() if part is not None]
        found += (module, type(module).forward, own.get("forward"), own.get("processor"))
        for hooks in (own["_forward_hooks"], own["_forward_pre_hooks"]):
            found += [hook for hook in hooks.values() if not getattr(hook, "__module__", "").startswith("latentedit.")]
        if own.get("fused_projections"):
            found.append(acting_unfused(module))
    return found


def recognized(network: Any, part: str) -> tuple[str, str] | None:
    """What is known to change a network's velocity, and the remedy; None if there is nothing of the kind.

    ``part`` is the network's name in its pipeline. Hooks that move or cast weights are none of the kind.
    """
    hooks = dict[str, None]()
    for name, module in network.named_modules():
        for key, hook in getattr(vars(module).get("_diffusers_hook"), "hooks", {}).items():
            package, _, module_name = type(hook).__module__.rpartition(".")
            if getattr(hook, "_is_stateful", False) or (package == "diffusers.hooks" and module_name not in _MOVING):
                hooks[key] = None
        if (forward := _foreign_forward(module)) is not None:
            package = str(getattr(forward, "__module__", None) or type(forward).__module__)
            own = f"{part}.get_submodule({name!r})" if name else part
            undo = f"Call del pipeline.{own}.forward" if "forward" in vars(module) else "Start again without the patch"
            called = getattr(forward, "__qualname__", type(forward).__qualname__)
            return (
                f"runs {called} of {package} in place of the forward of its {type(module).__name__}",
                _REMEDIES.get(package.partition(".")[0], undo),
            )
        if acting_unfused(module):
            return "has fused projections, which leave out its LoRA", f"Call pipeline.{part}.unfuse_qkv_projections()"
    if not hooks:
        return None
    registry = f"diffusers.hooks.HookRegistry.check_if_exists_or_initialize(pipeline.{part})"
    calls = " and ".join(f"remove_hook({key!r})" for key in hooks)
    cached = getattr(network, "is_cache_enabled", False)
    return (
        f"has hooks that reuse or skip layers ({', '.join(hooks)})",
        f"Call pipeline.{part}.disable_cache()" if cached else f"Call {calls} of {registry}",
    )


def _foreign_forward(module: nn.Module) -> Any:
    """The function in place of the forward that a module's class was defined with; None without one."""
    kinds = type(module).__mro__
    forward = vars(module).get("forward")
    # Hooks that move or cast weights (accelerate, diffusers) wrap the module's own, and so does `torch.compile`.
    while isinstance(forward, functools.partial) or hasattr(forward, "_torchdynamo_orig_callable"):
        wrapped: Any = forward
        forward = getattr(wrapped, "__wrapped__", None) or getattr(wrapped, "_torchdynamo_orig_callable", None)
    if "_orig_mod" in vars(module)["_modules"]:
        return None
    if forward is not None:
        own = getattr(forward, "__func__", forward)
        return None if any(vars(kind).get("forward") is own for kind in kinds) else forward
    definer = next(kind for kind in kinds if "forward" in vars(kind))
    function = vars(definer)["forward"]
    package = definer.__module__.partition(".")[0]
    patched = package == "diffusers" and str(getattr(function, "__module__", package)).partition(".")[0] != package
    return function if patched else None


def remembers(
    network: nn.Module, velocity: Callable[[Tensor, Condition], Tensor], latents: Sequence[Tensor], condition: Condition
) -> str:
    """How the velocity of a network was seen to depend on earlier calls; empty if it was not.

    The two latents differ by less than what caches ignore, and by more than rounding.
    """
    # What it kept of the calls in which it was found out may be all that it returns from then on.
    memory, first, how = _FOUND.get(network) or _Memory(), dict[int, Tensor](), ""
    for call in range(_CALLS_OF_KEEPERS):
        which = call.bit_count() % 2  # A, B, B, A, B, A, A, B: without a period, which a cache might have as well
        z = latents[which].clone()
        text = dataclasses.replace(condition, tokens=condition.tokens.clone(), pooled=condition.pooled.clone())
        memory.begin_call((z, text.tokens, text.pooled))
        with memory:
            v = velocity(z, text)
        if memory.is_stale(v):
            how = "reuses what it computed in earlier calls"
        elif which not in first:
            first[which] = v.clone()
        elif (v - first[which]).norm() > _NOISE * (first[1] - first[0]).norm():
            how = "gives two velocities for one input"
        del z, text, v
        if how:
            _FOUND[network] = memory
            return how
        if call >= _CALLS - 1 and network not in _FOUND and not memory.is_kept():
            break
    _FOUND.pop(network, None)
    return ""


class _Memory(TorchDispatchMode):
    """Notes from which calls the memory of every tensor descends; in one thread."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self._call = 0
        # A weak reference keeps the address, which is the key, from being used again.
        self._calls = dict[int, tuple[StorageWeakRef, frozenset[int]]]()

    def begin_call(self, given: Iterable[Tensor]) -> None:
        """Note what is given to the next call."""
        self._call += 1
        self._note(given, frozenset({self._call}))

    def is_stale(self, output: Tensor) -> bool:
        """Whether an output of this call descends from another one."""
        return not self._of([output]) <= {self._call}

    def _note(self, tensors: Iterable[Any], calls: frozenset[int]) -> None:
        for memory in _memories(tensors):
            if calls or memory.cdata in self._calls:
                self._calls[memory.cdata] = memory, calls

    def _of(self, tensors: Iterable[Any]) -> frozenset[int]:
        known = (self._calls.get(memory.cdata) for memory in _memories(tensors))
        return frozenset[int]().union(*(one[1] for one in known if one is not None))

    def is_kept(self) -> bool:
        """Whether anything of a call is still in memory."""
        kept = any(calls and not memory.expired() for memory, calls in self._calls.values())
        if kept:
            gc.collect()  # cycles are not kept for use
        return kept and any(calls and not memory.expired() for memory, calls in self._calls.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # What is overwritten as a whole is not read.
        replaced = getattr(func, "overloadpacket", None) is torch.ops.aten.copy_ and _is_whole(args[0])
        read = tree_leaves((args[1:] if replaced else args, {key: kwargs[key] for key in kwargs if key != "out"}))
        result = func(*args, **kwargs)
        written = tree_leaves(result)
        schema = getattr(func, "_schema", None)
        if schema is not None and schema.is_mutable:  # outputs that are arguments, and of custom operators
            given = {one.name: value for one, value in zip(schema.arguments, args, strict=False)} | kwargs
            written += tree_leaves([given.get(one.name) for one in schema.arguments if one.is_write])
        self._note(written, self._of(read))
        return result


def _is_whole(tensor: Tensor) -> bool:
    return tensor.numel() * tensor.itemsize == tensor.untyped_storage().nbytes()


def _memories(tensors: Iterable[Any]) -> Iterator[StorageWeakRef]:
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            with contextlib.suppress(NotImplementedError):  # sparse tensors and others whose memory is not one block
                yield StorageWeakRef(tensor.untyped_storage())
