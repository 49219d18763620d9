"""Code that a user adds to a network: which modules run it, and who defines it.

Users add layers, attention processors and hooks to the networks of a pipeline, or replace methods
of these. Code counts as the user's unless a library below, the standard library, this library or
the package of a plugin defines it. The place of definition decides, because a wrapper may carry the
name and the module of what it wraps.
"""

import functools
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from torch import nn

from latentedit.models.weights import acting_unfused

LIBRARIES = frozenset((
    "accelerate", "bitsandbytes", "diffusers", "huggingface_hub", "optimum", "peft", "torch",
    "torchao", "transformers", "typing_extensions", "auto_gptq", "awq", "compressed_tensors",
    "gptqmodel", "hqq",
))  # fmt: skip
"""Packages whose layers and hooks compute what configuration and weights say."""

# The types of hooks and processors that are functions, not objects with methods.
_FUNCTION_TYPES = (types.FunctionType, types.MethodType, functools.partial)


class UserCode(NamedTuple):
    """A class or a function of the user's that a network runs."""

    module_name: str
    """Name of the module that runs it, as in ``network.named_modules()``."""

    definition: Any


def package_of(kind: type) -> str:
    """Return the name of the package that defines a class."""
    return _first_name(kind.__module__)


def defining_module(definition: Any) -> str:
    """Return the name of the module in which a class or a function stands, whatever it claims."""
    if not isinstance(definition, type):
        module_globals = getattr(definition, "__globals__", {})
        if module_globals.get("__name__"):
            return str(module_globals["__name__"])
    return str(getattr(definition, "__module__", None))


def full_name(definition: Any) -> str:
    """Return the module and the name of a class or a function, for messages."""
    name = getattr(definition, "__qualname__", type(definition).__name__)
    return f"{defining_module(definition)}.{name}"


def is_defined_by(definition: Any, packages: frozenset[str]) -> bool:
    """Return whether some packages, the standard library or this library define a function."""
    package = _first_name(defining_module(definition))
    if package in packages or package in sys.stdlib_module_names:
        return True
    return package.startswith("latentedit")


def unwrap_functions(value: Any) -> Iterator[Any]:
    """Yield the functions in a method, and inside partial, compiled and wrapped functions."""
    value = getattr(value, "_torchdynamo_orig_callable", value)
    if isinstance(value, functools.partial):
        yield from unwrap_functions(value.func)
    else:
        yield getattr(value, "__func__", value)
    wrapped = getattr(value, "__wrapped__", None)
    if wrapped is not None:
        yield from unwrap_functions(wrapped)


def find_user_code(network: nn.Module, packages: frozenset[str]) -> Iterator[UserCode]:
    """Yield the user's classes, with their methods, and functions among modules, processors, hooks.

    ``packages`` define classes of their own for such networks, besides `LIBRARIES`.
    """
    known_packages = LIBRARIES | packages
    for module_name, module in network.named_modules():
        attributes = vars(module)
        callable_parts: list[Any] = [module]
        processor = getattr(module, "processor", None)
        if processor is not None:
            callable_parts.append(processor)
        if attributes["_forward_hooks"] or attributes["_forward_pre_hooks"]:
            callable_parts += _hooks(module)
        for callable_part in callable_parts:
            if isinstance(callable_part, _FUNCTION_TYPES):
                definitions = _user_functions(callable_part, known_packages)
            else:
                classes = _user_classes(type(callable_part), known_packages)
                definitions = [*classes, *_methods(classes)] if classes else []
            for definition in definitions:
                yield UserCode(module_name, definition)


def describe_user_code(network: nn.Module, packages: frozenset[str]) -> list[str]:
    """Return a text for each class and function of the user's, with its code, for fingerprints."""
    descriptions = list[str]()
    for module_name, definition in find_user_code(network, packages):
        code = getattr(definition, "__code__", None)
        content = None
        if code is not None:
            # Nested functions are left out, because their texts contain addresses.
            constants = [value for value in code.co_consts if not isinstance(value, types.CodeType)]
            content = (code.co_code, code.co_names, constants)
        # A compiled network has the fingerprint of the plain one.
        plain_name = module_name.replace("_orig_mod.", "")
        descriptions.append(repr((plain_name, full_name(definition), content)))
    return descriptions


def module_state(network: nn.Module) -> list[object]:
    """Return what decides how the modules compute besides numbers. Two equal lists mean no change.

    Hooks count by their code, because some methods register a new closure for each call.
    """
    state = list[object]()
    for module in network.modules():
        attributes = vars(module)
        state += [module, type(module).forward]
        state += [attributes.get("forward"), attributes.get("decode"), attributes.get("encode")]
        state.append(attributes.get("fused_projections") and acting_unfused(module))
        processor = getattr(module, "processor", None)
        if processor is not None:
            call = getattr(type(processor), "__call__", None)  # noqa: B004 - the function
            state += [processor, call]
        if attributes["_forward_hooks"] or attributes["_forward_pre_hooks"]:
            state += [_hook_state(hook) for hook in _hooks(module)]
    return state


def _hook_state(hook: Any) -> list[object]:
    """Return the code of a hook, or its type if it is an object."""
    return [getattr(function, "__code__", type(function)) for function in unwrap_functions(hook)]


def _hooks(module: nn.Module) -> list[Any]:
    """Return the hooks around the forward of a module, without our own and those of transformers.

    transformers adds hooks that collect outputs during the first call.
    """
    attributes = vars(module)
    hooks = [*attributes["_forward_hooks"].values(), *attributes["_forward_pre_hooks"].values()]
    packages = ("latentedit", "transformers")
    return [hook for hook in hooks if _first_name(defining_module(hook)) not in packages]


def _user_functions(function: Any, known_packages: frozenset[str]) -> list[Any]:
    """Return the user's functions in a function."""
    functions = unwrap_functions(function)
    return [inner for inner in functions if not is_defined_by(inner, known_packages)]


def _methods(classes: Iterable[type]) -> list[Any]:
    """Return the functions that classes define, without their bases."""
    methods = list[Any]()
    for kind in classes:
        attributes = vars(kind).values()
        methods += [value for value in attributes if isinstance(value, types.FunctionType)]
    return methods


@functools.lru_cache(maxsize=1024)
def _user_classes(kind: type, known_packages: frozenset[str]) -> tuple[type, ...]:
    """Return the user's classes among the bases of a class; networks are of few classes."""
    return tuple(base for base in kind.__mro__ if not is_defined_by(base, known_packages))


def _first_name(module_name: str) -> str:
    return module_name.partition(".")[0]
