"""Whether the velocity of a network depends on its earlier calls: what is known to do that, and what is seen to do it.

A cache returns what it kept of an earlier call. So `depends_on_earlier_calls` follows from which calls the memory of
every tensor descends. That finds caches of any name and any rhythm, also those that ignore small changes; copies
outside of PyTorch are found by comparing velocities, and so is what mixes the images of a batch.

Code that no library defines may do anything, also in its hundredth call. In place of a method it is refused by its
name. Own modules, attention processors and hooks of the denoiser, which is tried, count in the fingerprint
(`own_code`); in parts that are not tried they are refused. Numbers in which they count calls are moved on in the trial.
"""

import contextlib
import dataclasses
import functools
import gc
import inspect
import operator
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

from latentedit.core.errors import ModelError
from latentedit.models.weights import acting_unfused
from latentedit.numerics.condition import Condition

# Calls of a network that keeps nothing of them, and of one that does: caches begin after up to 8 steps (cache-dit).
_CALLS = 3
_CALLS_OF_KEEPERS = 12

# How many times as many calls later own code that counts is tried once more: it may change its mind at a step.
_LATER = (0.5, 1, 2, 4, 8, 64)

# Which of two latents the first call has: the one that is called alone then is neither first nor last, and in no other
# place, so that what mixes it with another one, or turns their order, changes it.
_BATCH = (0, 0, 1, 0)

# Largest difference between velocities of one input, as a fraction of that between inputs that hardly differ.
_NOISE = 0.25

# Largest difference between velocities of a latent alone and beside others, as a fraction of that between it and them:
# above what rounding to half precision and to integers does, which depend on the size and the numbers of a batch; and
# the same in units of the root of the rounding error, which is less in float32.
_IN_BATCH, _IN_ROOTS = 0.05, 10

# Packages whose code computes what configuration and weights say, besides the standard library and our own.
_LIBRARIES = frozenset((
    "accelerate", "bitsandbytes", "diffusers", "huggingface_hub", "optimum", "peft", "torch", "torchao", "transformers",
    "typing_extensions", "auto_gptq", "awq", "compressed_tensors", "gptqmodel", "hqq",
))  # fmt: skip

# Packages that wrap methods of single modules, to move, cast or compile them.
_WRAPPING = _LIBRARIES - {"diffusers"}

# Modules of diffusers.hooks whose hooks move, cast or split weights; all others change what is computed.
_MOVING = ("group_offloading", "layerwise_casting", "context_parallel", "tensor_parallel", "tensor_parallel_neuron")

# Methods that hubs and backends replace: what they load, save or move is looked at itself.
_LOADING = frozenset(("from_pretrained", "from_single_file", "from_config", "save_pretrained", "save_config", "to"))

# Types that may keep a number, whoever defines it.
_HOLDERS = (dict, list, tuple, types.CellType, types.MethodType, functools.partial)

Numbers = dict[tuple[int, Any], tuple[Any, Any, float]]

UNDO = "Undo the cache, hook or patch, or load the pipeline again without it"


def impure(network: str, what: str, remedy: str = UNDO) -> ModelError:
    """The error for a network whose velocity does not follow from its input and its weights."""
    return ModelError(f"the {network} {what}, so its velocity does not follow from latents and weights. {remedy}")


def state_of(network: nn.Module) -> list[object]:
    """State of the modules of a network besides numbers; it decides how they compute."""
    found = list[object]()
    for module in network.modules():
        own = vars(module)
        fused = own.get("fused_projections") and acting_unfused(module)
        found += (module, type(module).forward, own.get("forward"), own.get("decode"), own.get("encode"), fused)
        if (processor := getattr(module, "processor", None)) is not None:
            found += (processor, getattr(type(processor), "__call__", None))  # noqa: B004 - the function
        if own["_forward_hooks"] or own["_forward_pre_hooks"]:
            found += map(_code, (hook for hook in _attached(module) if hook is not processor))
    return found


def _code(hook: Any) -> list[object]:
    """Identity of a hook: its code, or the type of an object, as a new closure is registered for each call."""
    return [getattr(function, "__code__", type(function)) for function in _functions(hook)]


def check_recognized(network: Any, part: str, kind: str, known: frozenset[str], *, is_tried: bool) -> None:
    """Refuse what is known to change what a network computes, the part of this name of a pipeline, by its name.

    ``known`` are packages whose classes belong there, besides the libraries. A part that is not tried by
    `depends_on_earlier_calls` has no other modules and hooks.
    """
    subject, hooks = f"{part} of this {kind}", dict[str, None]()
    modules = [*network.modules()]
    _check_classes([*modules, *(getattr(module, "processor", None) for module in modules)], subject)
    if not is_tried and (own := next(_own(network, known | {_package(type(network).__module__)}), None)):
        away = f"Take it out of pipeline.{part}, or load the pipeline again"
        raise ModelError(f"the {subject} runs {_named(own[1])}, which no library defines. {away}")
    for module in modules:
        _check_own_methods(module, subject)
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
                counts = isinstance(value, types.FunctionType) and name not in _LOADING
                for function in _functions(value) if counts else ():
                    if not _is_known(function, _LIBRARIES):
                        raise _patched(function, name, thing, subject)


def _patched(function: Any, name: str, thing: object, subject: str) -> ModelError:
    where = f"in place of the {name} of its {type(thing).__name__}"
    return impure(subject, f"runs {function.__qualname__} of {_home(function)} {where}")


def own_code(network: nn.Module, known: frozenset[str]) -> list[str]:
    """Code of modules, processors and hooks of a network that neither a library nor a known package defines."""
    found = list[str]()
    for place, function in _own(network, known):
        code = getattr(function, "__code__", None)
        plain = code and (code.co_code, code.co_names, [*filter(_is_plain, code.co_consts)])
        found.append(repr((place.replace("_orig_mod.", ""), _named(function), plain)))
    return found


def to_undo(network: nn.Module, known: frozenset[str]) -> str:
    """The remedy for a network that was found out, with the name of the first code of the user's own."""
    own = next(_own(network, known), None)
    recorded = "to record attention there is latentedit_bench.experiments.phrase_attention"
    return UNDO if own is None else f"Take out {_named(own[1])}, which no library defines; {recorded}"


def _own(network: nn.Module, known: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """The classes and functions of the user's own that a network runs, with the places of their modules."""
    for place, module in network.named_modules():
        parts, things = vars(module), [module]
        if parts["_forward_hooks"] or parts["_forward_pre_hooks"] or getattr(module, "processor", None) is not None:
            things += _attached(module)
        for thing in things:
            if isinstance(thing, (types.FunctionType, types.MethodType, functools.partial)):
                own = [function for function in _functions(thing) if not _is_known(function, _LIBRARIES | known)]
                yield from ((place, one) for one in own)
            elif kinds := _own_kinds(type(thing), known):
                yield from ((place, kind) for kind in kinds)
                methods = [one for kind in kinds for one in vars(kind).values() if isinstance(one, types.FunctionType)]
                yield from ((place, one) for one in methods)


@functools.lru_cache(maxsize=1024)
def _own_kinds(kind: type, known: frozenset[str]) -> tuple[type, ...]:
    """The classes among the bases of a class that neither a library nor a known package defines."""
    return tuple(base for base in kind.__mro__ if not _is_known(base, _LIBRARIES | known))


def _functions(value: Any) -> Iterator[Any]:
    """The functions in a callable: that of a method, those inside of partial, compiled and wrapped ones."""
    value = getattr(value, "_torchdynamo_orig_callable", value)
    if isinstance(value, functools.partial):
        yield from _functions(value.func)
    else:
        yield getattr(value, "__func__", value)
    if (inside := getattr(value, "__wrapped__", None)) is not None:
        yield from _functions(inside)


def _attached(module: nn.Module) -> list[Any]:
    """The processor of a module, and the hooks around its forward, besides our own."""
    own, processor = vars(module), getattr(module, "processor", None)
    found = [] if processor is None else [processor]
    if hooks := (*own["_forward_hooks"].values(), *own["_forward_pre_hooks"].values()):
        # Hooks of transformers collect outputs, and are added by the first call.
        found += [hook for hook in hooks if _package(_home(hook)) not in ("latentedit", "transformers")]
    return found


def _is_known(thing: Any, packages: frozenset[str]) -> bool:
    package = _package(_home(thing))
    return package in packages or package in sys.stdlib_module_names or package.startswith("latentedit")


def _home(thing: Any) -> str:
    """The module in which a class or a function is defined, whatever name it goes by."""
    own = {} if isinstance(thing, type) else getattr(thing, "__globals__", {})
    return str(own.get("__name__") or getattr(thing, "__module__", None))


def _package(module: str) -> str:
    return module.partition(".")[0]


def _named(thing: Any) -> str:
    return f"{_home(thing)}.{getattr(thing, '__qualname__', type(thing).__name__)}"


def _is_plain(value: object) -> bool:
    return not isinstance(value, types.CodeType)


def depends_on_earlier_calls(
    network: nn.Module,
    velocity: Callable[[Tensor, Condition], Tensor],
    latents: Tensor,
    condition: Condition,
    *,
    rounding: float,
    known: frozenset[str],
) -> str:
    """How the velocity of a network was seen to depend on earlier calls or on a batch; empty if it was not.

    Of two latents, with the rounding error of the network's dtype; see `check_recognized` for ``known``.
    """
    # The values kept in the calls in which it was found out may be all that it returns from then on.
    memory, first, how, nearby = _FOUND.get(network) or _Memory(), dict[tuple[int, ...], Tensor](), "", 0.0
    counts, counted = Numbers(), list[Any]()
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
            # The change by latents that differ by more than rounding, and by less than caches ignore.
            nearby, counts = rounding**0.5 * float((v[2] - v[0]).norm()), _numbers(network, known)
        if not memory.calls([v]) <= {memory.call}:
            how = "reuses what it computed in earlier calls"
        elif not how and (v - first.setdefault(rows, v.clone())).norm() > _NOISE * nearby:
            how = "gives two velocities for one input"
        del z, tokens, pooled, v
        if how:
            _FOUND[network] = memory
            return how
        counted = _counted(counts, _numbers(network, known)) if call >= _CALLS - 1 else []
        if call >= _CALLS - 1 and network not in _FOUND and not memory.is_kept() and not counted:
            break
    _FOUND.pop(network, None)
    batch, alone = first[_BATCH], first[(1,)][0]
    for times in _LATER if counted else ():
        with contextlib.ExitStack() as undone, contextlib.suppress(LookupError):  # a list ends before that
            for holder, key, before, now in counted:
                by = type(now)(times * (now - before))
                undone.callback(_move, holder, key, -by, least=now)
                _move(holder, key, by)
            if (velocity(latents[1:], condition)[0] - alone).norm() > _NOISE * nearby:
                return "gives two velocities for one input"
    if (batch[2] - alone).norm() > min(_IN_BATCH, _IN_ROOTS * rounding**0.5) * (batch[2] - batch[0]).norm():
        return "gives an image another velocity beside other images"
    return ""


def _numbers(network: nn.Module, known: frozenset[str]) -> Numbers:
    """The numbers that the user's own modules, processors and hooks keep: what has each, its key there, and itself."""
    todo: list[Any] = [one for module in network.modules() for one in (module, *_attached(module))]
    found, seen = Numbers(), dict[int, Any]()
    while todo:
        thing = todo.pop()
        what = thing if isinstance(thing, type | types.FunctionType) else type(thing)
        if id(thing) not in seen and (isinstance(thing, _HOLDERS) or not _is_known(what, _LIBRARIES | known)):
            seen[id(thing)] = thing
            for holder, key, value in _kept(thing):
                if isinstance(value, int | float) and not isinstance(value, bool):
                    found[id(holder), key] = holder, key, value
                todo.append(value)
    return found


def _kept(thing: Any) -> Iterator[tuple[Any, Any, Any]]:
    """The values that an object keeps, each with its holder and its key there."""
    if isinstance(thing, types.FunctionType):
        read = [name for name in thing.__code__.co_names if name in thing.__globals__]
        yield from ((thing.__globals__, name, thing.__globals__[name]) for name in read)
        yield from ((thing, "", cell) for cell in thing.__closure__ or ())
    elif isinstance(thing, types.CellType):
        with contextlib.suppress(ValueError):  # an empty one
            yield thing, "cell_contents", thing.cell_contents
    elif isinstance(thing, (functools.partial, types.MethodType)):
        inside = (getattr(thing, name, None) for name in ("args", "keywords", "func", "__self__", "__func__"))
        yield from ((thing, "", one) for one in inside)
    elif isinstance(thing, (list, tuple)):
        yield from ((thing, index, one) for index, one in enumerate(thing))
    own = thing if isinstance(thing, dict) else getattr(thing, "__dict__", {})
    yield from ((thing if isinstance(thing, type) else own, key, value) for key, value in [*own.items()])
    yield from ((thing, "", kind) for kind in inspect.getmro(type(thing)))


def _counted(before: Numbers, now: Numbers) -> list[tuple[Any, Any, float, float]]:
    """The numbers that are others than before."""
    both = [(*now[place][:2], before[place][2], now[place][2]) for place in before.keys() & now.keys()]
    return [one for one in both if one[2] != one[3]]


def _move(holder: Any, key: Any, by: float, *, least: float | None = None) -> None:
    """Add to a number; ``least`` is where it was, for one that its code has set back meanwhile."""
    ways: Any = (operator.getitem, operator.setitem)
    get, put = (getattr, setattr) if isinstance(holder, type | types.CellType) else ways
    moved = get(holder, key) + by
    put(holder, key, moved if least is None or (moved - least) * by <= 0 else least)


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
        # Memory that is overwritten as a whole is not read.
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
