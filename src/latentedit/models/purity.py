"""Whether the velocity of a network depends on its earlier calls: what is known to do that, and what is seen to do it.

A cache returns what it kept of an earlier call. So `remembers` follows from which calls the memory of every tensor
descends. That finds caches of any name and any rhythm, also those that ignore small changes; copies outside of PyTorch
are found by comparing velocities.
"""

import contextlib
import dataclasses
import functools
import gc
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
_CALLS, _CALLS_OF_KEEPERS = 3, 12

# Largest difference between velocities of one input, as a fraction of that between the two inputs.
_NOISE = 0.25

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
        own = vars(module)
        fused = own.get("fused_projections") and acting_unfused(module)
        found += (module, type(module).forward, own.get("forward"), own.get("processor"), fused)
        for hook in (*own["_forward_hooks"].values(), *own["_forward_pre_hooks"].values()):
            if not str(getattr(hook, "__module__", None)).startswith("latentedit."):
                found.append(hook)
    return found


def check_recognized(network: Any, part: str, kind: str) -> None:
    """Refuse what is known to change the velocity of a network, the part of this name of a pipeline, by its name."""
    subject, hooks = f"{part} of this {kind}", dict[str, None]()
    for module in network.modules():
        if (patch := _patch(module)) is not None:
            where = f"of {patch.__module__} in place of the forward of its {type(module).__name__}"
            raise impure(subject, f"runs {patch.__qualname__} {where}")
        if acting_unfused(module):
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


def _patch(module: nn.Module) -> Any:
    """The function that a module runs if it is not the forward that its class was defined with; else None."""
    kinds = [kind for kind in type(module).__mro__ if "forward" in vars(kind)]
    owns = [vars(kind)["forward"] for kind in kinds]
    forward = vars(module).get("forward", owns[0])
    while isinstance(forward, functools.partial):  # of hooks that move or cast weights, around the module's own
        forward = getattr(forward, "__wrapped__", forward.func)
    forward = getattr(forward, "__func__", forward)
    library, _, _ = kinds[0].__module__.partition(".")
    is_own = forward in owns and (library != "diffusers" or str(forward.__module__).startswith("diffusers."))
    return None if is_own or hasattr(forward, "_torchdynamo_orig_callable") else forward


def remembers(
    network: nn.Module, velocity: Callable[[Tensor, Condition], Tensor], latents: Tensor, condition: Condition
) -> str:
    """How the velocity of a network was seen to depend on earlier calls; empty if it was not.

    The two latents differ by more than rounding, and by less than what caches ignore.
    """
    # What it kept of the calls in which it was found out may be all that it returns from then on.
    memory, first, how = _FOUND.get(network) or _Memory(), dict[int, Tensor](), ""
    for call in range(_CALLS_OF_KEEPERS):
        which = call.bit_count() % 2  # A, B, B, A, B, A, A, B: without a period, which a cache might have as well
        z, tokens, pooled = (part.clone() for part in (latents[which], condition.tokens, condition.pooled))
        with memory.following((z, tokens, pooled)):
            v = velocity(z, dataclasses.replace(condition, tokens=tokens, pooled=pooled))
        if not memory.calls([v]) <= {memory.call}:
            how = "reuses what it computed in earlier calls"
        elif (v - first.setdefault(which, v.clone())).norm() > _NOISE * (first[0] - first.get(1, v)).norm():
            how = "gives two velocities for one input"
        del z, tokens, pooled, v
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
