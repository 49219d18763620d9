"""Weights: files of safetensors only, complete; and digests of the weights in memory."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from latentedit.core import files as reading
from latentedit.core.errors import ModelError

INFIXES = ("", ".bf16", ".fp16")
"""In names of files: none, or the one of a half-precision copy, as ``save_pretrained(variant=...)`` writes it."""

AGAIN = "Download or copy the folder again"

# Numbers of each parameter that `weights_digest` hashes.
_SAMPLES = 64

# Prefix of names inside a module that `torch.compile` wraps.
_COMPILED = "_orig_mod."

# Projections that diffusers fuses, next to the parts, which stay.
_FUSED = {
    "to_qkv": ("to_q", "to_k", "to_v"),
    "to_kv": ("to_k", "to_v"),
    "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
}

_FREEU = ("b1", "b2", "s1", "s2")

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by their names."""

# Shape and some numbers of a tensor, see `_samples`.
_Sample = tuple[tuple[int, ...], bytes]


def weight_files(folder: Path, stem: str) -> tuple[Path, ...]:
    """The files of one network: plain ones, else a copy in half precision.

    They are ``STEM.safetensors``, or the shards that ``STEM.safetensors.index.json`` lists.
    """
    for infix in INFIXES:
        single, index = folder / f"{stem}{infix}.safetensors", folder / f"{stem}.safetensors.index{infix}.json"
        if single.exists():
            return (single,)
        if index.exists():
            weight_map = read_model_json(index).get("weight_map")
            names = sorted({*map(str, weight_map.values())}) if isinstance(weight_map, dict) else []
            if not names or any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
                raise ModelError(f"{index} does not map tensors to safetensors files of its folder. {AGAIN}")
            return tuple(folder / name for name in names)
    raise ModelError(
        f"there are no weights {folder / stem}.safetensors; pickles (such as .bin) could run code and are not loaded. "
        f"{AGAIN}, or convert it with save_pretrained(..., safe_serialization=True)"
    )


def tensor_shapes(*paths: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of safetensors files, from their headers, which are checked against the files' lengths."""
    found = dict[str, tuple[int, ...]]()
    for path in paths:
        try:
            with reading.open_file(path, limit=None, error=ModelError), safe_open(path, framework="numpy") as file:
                found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"the weights {path} are truncated, damaged or no safetensors: {reason}. Download or copy them again"
            ) from error
    return found


def digest(content: object) -> str:
    """SHA-256 of plain data as JSON; 16 hexadecimal digits."""
    text = json.dumps(content, default=lambda array: array.tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def weights_digest(network: nn.Module, half: torch.dtype) -> str:
    """A digest of samples of all parameters of a network in memory, at most 64 numbers each.

    Samples are rounded to a half precision, so that a model has one digest in float32 and in that. What does not change
    the output does not count: wrappers of `torch.compile`, disabled adapters, fused projections. Adapters (LoRA) count
    with their weights and scales, and FreeU with its numbers.
    """
    total = hashlib.sha256()
    modules = dict(network.named_modules())
    layers = {name: _acting(module) for name, module in modules.items() if "base_layer" in vars(module)["_modules"]}
    others = {name: _acting(module) for name, module in modules.items() if "b1" in vars(module)}
    contents = _contents(network, layers, half)
    # The names of a CLIPTextModel, before transformers 5 left this out.
    common = "" if [name for name in contents if not name.startswith("text_model.")] else "text_model."
    for name in sorted(contents):
        shape, samples = contents[name]
        total.update(f"{name.removeprefix(common)} {shape}".encode() + samples)
    for name, own in (layers | others).items():
        if own:
            total.update(f"{name.replace(_COMPILED, '').removeprefix(common)} {own}".encode())
    return total.hexdigest()[:16]


def _contents(network: nn.Module, layers: Mapping[str, Mapping[str, Any]], half: torch.dtype) -> dict[str, _Sample]:
    """Samples of the tensors that a network computes with, by their names without wrappers and inactive adapters."""
    tensors, fused = dict[str, Tensor](), dict[str, Tensor]()
    for name, tensor in network.state_dict().items():
        # Layers of quanto list weights that they lack as None. The scales of a layer of bitsandbytes: its first call on
        # a processor writes them in another form.
        if tensor is None or ".weight." in name:
            continue
        words = name.split(".")
        at = _layer_at(words, layers) if layers else None
        if at is not None and words[at] == "base_layer":
            del words[at]
        elif at is not None and words[at + 1] not in layers[".".join(words[:at])]:
            continue
        plain, here = ".".join(words).replace(_COMPILED, ""), _at_hand(network, name) if tensor.is_meta else tensor
        tensors[plain] = here
        if len(words) > 2 and words[-2] in _FUSED:
            fused[plain] = here
    found = dict(zip(tensors, _samples(tensors.values(), half), strict=True))
    for name, tensor in fused.items():
        stem, kind, end = name.rsplit(".", 2)
        parts = [found.get(f"{stem}.{part}.{end}", ((0,), b"")) for part in _FUSED[kind]]
        sizes = [shape[0] for shape, _ in parts]
        if sum(sizes) == len(tensor) and _samples(tensor.split(sizes), half) == parts:
            del found[name]
    return found


def _layer_at(words: Sequence[str], layers: Mapping[str, object]) -> int | None:
    """Index at which the adapter layer's name ends within a tensor's name; None without one."""
    return next((end for end in range(len(words)) if ".".join(words[:end]) in layers), None)


def is_quantized(network: nn.Module) -> bool:
    """Whether layers or tensors hold weights of a network in another form than floating-point numbers."""
    return any(
        type(part) not in (Tensor, nn.Parameter) or not part.is_floating_point() for part in network.parameters()
    )


def acting_unfused(module: nn.Module) -> bool:
    """Whether an attention layer runs fused projections, and adapters on those that were fused are active."""
    own, parts = vars(module), vars(module)["_modules"]
    # Layers with a mixin run them while they have them, others with the processor that fusing gave them.
    runs = hasattr(type(module), "_supports_qkv_fusion") or "Fused" in type(own.get("processor")).__name__
    fused = [kind for kind in _FUSED if kind in parts] if runs and own.get("fused_projections") else []
    return any(_acting(parts[part]) for kind in fused for part in _FUSED[kind])


def _acting(module: Any) -> dict[str, Any]:
    """Numbers besides its tensors that change a layer's output: scales of adapters by name, or those of FreeU."""
    own = vars(module)
    if all(own.get(name) for name in _FREEU):
        return {name: own[name] for name in _FREEU}
    if not isinstance(own.get("scaling"), dict) or module.disable_adapters or module.merged:
        return {}
    dora = getattr(module, "use_dora", {})  # which also at scale 0 replaces norms
    scales = {name: module.scaling.get(name) for name in module.active_adapters}
    return {name: scale for name, scale in scales.items() if scale or (scale == 0 and dora.get(name))}


def _samples(tensors: Iterable[Tensor], half: torch.dtype) -> list[_Sample]:
    """Shape and at most 64 numbers of each tensor in half precision; no numbers of a meta tensor.

    A quantized tensor that is made of others (torchao) has the numbers of these.
    """
    samples = list[_Sample]()
    for tensor in tensors:
        inside: Any = getattr(tensor, "__tensor_flatten__", None)
        if inside is not None:
            parts = _samples([getattr(tensor, name) for name in inside()[0]], half)
            numbers = b"".join([content for _, content in parts])
        elif tensor.is_meta or not tensor.numel():
            numbers = b""
        else:
            flat = tensor.detach().reshape(-1)
            few = flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES].cpu()
            few = few.to(half) if few.is_floating_point() else few
            numbers = few.contiguous().view(torch.uint8).numpy().tobytes()
        samples.append((tuple(tensor.shape), numbers))
    return samples


def _at_hand(network: nn.Module, name: str) -> Tensor:
    """A parameter that accelerate keeps elsewhere between calls of its layer; else the one on the meta device."""
    layer, _, own = name.rpartition(".")
    module = network.get_submodule(layer)
    kept = getattr(getattr(module, "_hf_hook", None), "weights_map", None)
    return getattr(module, own) if kept is None else kept[own]


def read_model_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model's folder."""
    content = reading.read_json(path, error=ModelError, allow_nan=True)
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, and no JSON object. Download or copy it again")
    return cast("dict[str, Any]", content)
