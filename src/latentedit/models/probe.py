"""Refusal of networks whose velocity does not follow from latent, noise level, text and weights.

An edit calls a network many times, at several noise levels and in batches. A cache that answers
with results of an earlier call then changes the edited image without any error. `check_network`
and `check_methods` refuse by name, without running the network:

*   Hooks of diffusers that reuse or skip layers: First Block Cache, FasterCache, MagCache, Pyramid
    Attention Broadcast, SeaCache, TaylorSeer, layer skip. Remedy: ``disable_cache``, or
    ``remove_hook`` if a function applied them. Hooks that move, cast or split weights are accepted.
*   A method that was replaced in an object (DeepCache, T-GATE, TeaCache), or in a class of a
    library (the scripts of TeaCache). Remedy: undo it, or load the pipeline again.
*   Fused projections that leave out an active LoRA. Remedy: ``unfuse_qkv_projections``.
*   User code in a text encoder or a VAE, which are not probed. Remedy: take it out.

User code in the denoiser is accepted if it passes a probe, and counts in the fingerprint.
`probe_velocity` asks for the velocity of the same latent in a batch and alone, and requires equal
answers. It finds code that mixes the images of a batch, and caches that act within its three
calls. It does not find code that answers differently after more calls, or that only ignores small
changes of its input.
"""

import types
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from latentedit.core.errors import ModelError
from latentedit.models.user_code import (
    LIBRARIES,
    defining_module,
    find_user_code,
    full_name,
    is_defined_by,
    package_of,
    unwrap_functions,
)
from latentedit.models.weights import acting_unfused
from latentedit.numerics.condition import Condition

# Packages that replace methods of single modules in order to move, cast or compile them.
_WRAPPING_LIBRARIES = LIBRARIES - {"diffusers"}

# Modules of diffusers.hooks whose hooks move, cast or split weights, which keeps the velocity.
_PLACING_HOOKS = frozenset((
    "group_offloading", "layerwise_casting", "context_parallel", "tensor_parallel",
    "tensor_parallel_neuron",
))  # fmt: skip

# Methods of classes that model hubs and backends replace. What they load, save or move is checked.
_LOADING_METHODS = frozenset((
    "from_pretrained", "from_single_file", "from_config", "save_pretrained", "save_config", "to",
))  # fmt: skip

_UNDO = "Undo the cache, hook or patch, or load the pipeline again without it"

# Which of two latents A and B the batch holds: A, A, B, A. The row of B changes if images are mixed
# with the first, the last or the mean image, or if their order is reversed.
_BATCH = (0, 0, 1, 0)
_ROW_OF_A = 0
_ROW_OF_B = 2

# Largest difference between two answers for one latent, as a fraction of the difference between the
# velocities of A and B. Half precision and int8 layers round differently in a batch, by less.
_MAXIMUM_DIFFERENCE = 0.05

# The same, as a multiple of the root of the rounding error: 0.0035 in float32.
_DIFFERENCE_IN_ROOTS = 10


def check_network(
    network: Any,
    part: str,
    pipeline_kind: str,
    packages: frozenset[str],
    *,
    is_probed: bool,
) -> None:
    """Refuse what is known to change the computation of a network; the module has the list.

    Args:
        network: without the wrappers of `torch.compile`.
        part: its name in the pipeline.
        pipeline_kind: the class of the pipeline, for messages.
        packages: define classes of their own for such networks, besides the libraries.
        is_probed: whether `probe_velocity` will try the network, so that user code may stay.

    Raises:
        ModelError: with the name of the cache, hook or method, and the remedy.
    """
    subject = f"{part} of this {pipeline_kind}"
    modules = list(network.modules())
    processors = [getattr(module, "processor", None) for module in modules]
    _check_class_methods([*modules, *processors], subject)
    if not is_probed:
        _check_user_code(network, part, subject, packages)
    for module in modules:
        _check_object_methods(module, subject)
        if vars(module).get("fused_projections") and acting_unfused(module):
            problem = "has fused projections, which leave out its LoRA"
            remedy = f"Call pipeline.{part}.unfuse_qkv_projections()"
            raise dependence_error(subject, problem, remedy)
    _check_diffusers_hooks(network, part, subject)


def check_methods(pipeline: Any, subject: str) -> None:
    """Refuse methods of a pipeline, or of its class, that someone replaced."""
    _check_object_methods(pipeline, subject)
    _check_class_methods([pipeline], subject)


def packages_of(adapter: type) -> frozenset[str]:
    """Return the package of an adapter. A plugin defines classes of its own for its networks."""
    return frozenset((package_of(adapter),))


def probe_velocity(
    velocity: Callable[[Tensor, Condition], Tensor],
    latents: Tensor,
    condition: Condition,
    *,
    rounding_error: float,
) -> str:
    """Return how a velocity depends on other calls or images; an empty string if it does not.

    The velocities of two latents are computed in a batch of four, then each alone. The order
    matters: a cache that keeps the batch cannot answer for one image.

    Args:
        velocity: maps latents and a condition with equally many rows to velocities.
        latents: two, independent of each other.
        condition: of one row.
        rounding_error: of the dtype in which the network runs, relative to 1.

    Raises:
        RuntimeError: the first call failed.

    Cost:
        Six evaluations in three calls.
    """
    batch = velocity(latents[list(_BATCH)], condition.expand(len(_BATCH)))
    if len(batch) != len(_BATCH):
        return "reuses results of an earlier call"
    tolerance = min(_MAXIMUM_DIFFERENCE, _DIFFERENCE_IN_ROOTS * rounding_error**0.5)
    difference = (batch[_ROW_OF_B] - batch[_ROW_OF_A]).norm()
    for row in (_ROW_OF_B, _ROW_OF_A):
        latent = latents[_BATCH[row]]
        try:
            alone = velocity(latent[None], condition)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            return "fails on one image after a batch of four"
        if len(alone) != 1:
            return "reuses results of an earlier call"
        if (alone[0] - batch[row]).norm() > tolerance * difference:
            return "gives an image different velocities alone and beside other images"
    return ""


def dependence_error(subject: str, problem: str, remedy: str) -> ModelError:
    """Return the error for a network whose velocity depends on more than it should."""
    reason = "so its velocity does not follow from latents and weights"
    return ModelError(f"the {subject} {problem}, {reason}. {remedy}")


def find_remedy(network: nn.Module, packages: frozenset[str]) -> str:
    """Return the remedy for a network that failed the probe; it names the first user code."""
    user_code = next(find_user_code(network, packages), None)
    if user_code is None:
        return _UNDO
    return f"Take out {full_name(user_code.definition)}, which no library defines"


def _check_class_methods(objects: Iterable[Any], subject: str) -> None:
    """Refuse methods of a library's class that no library defines."""
    # A network has many modules of few classes, so each class is checked once.
    objects_by_class = {type(instance): instance for instance in objects}
    objects_by_base = dict[type, Any]()
    for kind, instance in objects_by_class.items():
        objects_by_base |= dict.fromkeys(kind.__mro__, instance)
    for base, instance in objects_by_base.items():
        if package_of(base) not in LIBRARIES:
            continue
        for name, method in vars(base).items():
            if isinstance(method, types.FunctionType) and name not in _LOADING_METHODS:
                for function in unwrap_functions(method):
                    if not is_defined_by(function, LIBRARIES):
                        raise _replaced_method_error(function, name, instance, subject)


def _check_object_methods(instance: Any, subject: str) -> None:
    """Refuse functions that an object runs in place of the methods of its class."""
    for name, value in vars(instance).items():
        method = getattr(type(instance), name, None)
        if not callable(value) or not isinstance(method, types.FunctionType):
            continue
        originals = _functions_of_class(type(instance), name)
        for function in unwrap_functions(value):
            if function not in originals and not _only_moves_weights(function):
                raise _replaced_method_error(function, name, instance, subject)


def _functions_of_class(kind: type, name: str) -> list[Any]:
    """Return the functions that a class and its bases define by a name."""
    functions = list[Any]()
    for base in kind.__mro__:
        if name in vars(base):
            functions += unwrap_functions(vars(base)[name])
    return functions


def _only_moves_weights(function: Any) -> bool:
    """Return whether a function moves, casts or compiles the module whose method it replaces.

    The hooks of diffusers replace methods, too; `_check_diffusers_hooks` decides on them.
    """
    is_diffusers_hook = defining_module(function).startswith("diffusers.hooks.")
    return is_diffusers_hook or is_defined_by(function, _WRAPPING_LIBRARIES)


def _replaced_method_error(function: Any, name: str, instance: object, subject: str) -> ModelError:
    """Return the error for a function that runs in place of a method of an object."""
    replacement = f"{function.__qualname__} of {defining_module(function)}"
    problem = f"runs {replacement} in place of the {name} of its {type(instance).__name__}"
    return dependence_error(subject, problem, _UNDO)


def _check_user_code(network: nn.Module, part: str, subject: str, packages: frozenset[str]) -> None:
    """Refuse user code in a network that is not probed."""
    known_packages = packages | {package_of(type(network))}
    user_code = next(find_user_code(network, known_packages), None)
    if user_code is not None:
        name = full_name(user_code.definition)
        remedy = f"Take it out of pipeline.{part}, or load the pipeline again"
        raise ModelError(f"the {subject} runs {name}, which no library defines. {remedy}")


def _check_diffusers_hooks(network: Any, part: str, subject: str) -> None:
    """Refuse hooks of diffusers, unless they move, cast or split weights."""
    names = dict[str, None]()
    for module in network.modules():
        registry = vars(module).get("_diffusers_hook")
        for name, hook in getattr(registry, "hooks", {}).items():
            if _changes_computation(hook):
                names[name] = None
    if not names:
        return
    if getattr(network, "is_cache_enabled", False):
        remedy = f"Call pipeline.{part}.disable_cache()"
    else:
        calls = " and ".join(f"remove_hook({name!r})" for name in names)
        registry_class = "diffusers.hooks.HookRegistry"
        remedy = f"Call {calls} of {registry_class}.check_if_exists_or_initialize(pipeline.{part})"
    problem = f"has hooks that reuse or skip layers ({', '.join(names)})"
    raise dependence_error(subject, problem, remedy)


def _changes_computation(hook: Any) -> bool:
    """Return whether a hook keeps state, or does more than move, cast or split weights."""
    package, _, module_name = type(hook).__module__.rpartition(".")
    is_stateful = getattr(hook, "_is_stateful", False)
    return is_stateful or (package == "diffusers.hooks" and module_name not in _PLACING_HOOKS)
