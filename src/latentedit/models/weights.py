"""Weight files: safetensors only, complete, and identified by the hash of their contents."""

import contextlib
import functools
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import constants
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from latentedit.core.errors import LatentEditError, ModelError
from latentedit.core.files import user_folder
from latentedit_keep.base import files as reading

PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
VARIANTS = ("bf16", "fp16")
"""Names of half-precision copies, as ``save_pretrained(variant=...)`` writes them, the better one first."""

# Numbers of each parameter that `live_fingerprint` hashes.
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

# Digests of the configurations of bundled models, SD 1, SDXL, SD3 and FLUX.1 dev: they keep the fingerprints that they
# had before configurations counted.
_BUNDLED = {"39ac4e6e837a510d", "68258609c394ef0b", "b000c186e55e3398", "afdc362a095cd8b5", "64b956bdfba89f3f"}
_PUBLISHED = {"64e43ba9a66d7cad", "7da738156cd5af61", "03137e41a2804971", "725518cba9b78198"}

# Shape and some numbers of a tensor, see `_sampled`.
_Sample = tuple[tuple[int, ...], bytes]

_CONTENT_HASH = re.compile(r"[0-9a-f]{64}")
_HASHES = "weights"  # folder of the user's cache with a file for each hash: it takes a second per GB to compute
_RESOLUTION_NS = 2_000_000_000  # of time stamps on FAT, the coarsest file system


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder in which any weight file could run code when it is loaded."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICKLE_SUFFIXES and not path.is_dir():
            raise ModelError(
                f"the pickle {path} could run code and was not loaded; only safetensors weights are. "
                "Convert it with save_pretrained(..., safe_serialization=True), then delete it"
            )


def pipeline_variant(networks: Sequence[tuple[Path, str]]) -> str | None:
    """The half-precision copy to load: None if every network has plain weights, else the first that completes them."""
    for variant in (None, *VARIANTS):
        if all(stored_as(folder, stem, None) or stored_as(folder, stem, variant) for folder, stem in networks):
            return variant
    return None


def stored_as(folder: Path, stem: str, variant: str | None) -> bool:
    """Whether a folder holds this copy of a network's weights."""
    infix = "" if variant is None else f".{variant}"
    names = (f"{stem}{infix}.safetensors", f"{stem}.safetensors.index{infix}.json")
    return any((folder / name).exists() for name in names)


def weight_files(folder: Path, stem: str, variant: str | None = None) -> tuple[Path, ...]:
    """The files of one network: ``STEM.safetensors``, or the shards that ``STEM.safetensors.index.json`` lists.

    With a variant, the copy in half precision is preferred; see `pipeline_variant`.
    """
    infix = f".{variant}" if variant is not None and stored_as(folder, stem, variant) else ""
    single = folder / f"{stem}{infix}.safetensors"
    if single.exists():
        return (single,)
    index = folder / f"{stem}.safetensors.index{infix}.json"
    if not index.exists():
        refuse_pickles(folder)
        raise ModelError(f"there are no weights {single}. Download or copy the folder again")
    weight_map = read_model_json(index).get("weight_map")
    listed = cast("dict[str, object]", weight_map).values() if isinstance(weight_map, dict) else ()
    names = sorted({*map(str, listed)})
    if not names or any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise ModelError(f"{index} does not map tensors to safetensors files of its folder. Download or copy it again")
    return tuple(folder / name for name in names)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file, from its header, which is checked against the file's length."""
    try:
        with reading.open_file(path, limit=None, error=ModelError), safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"the weights {path} are truncated, damaged or no safetensors: {reason}. Download or copy them again"
        ) from error


def fingerprint(weights: Mapping[str, Sequence[Path]], *, reread: bool = False) -> str:
    """SHA-256 over the contents of all weight files, each under its part's name; 16 hexadecimal digits.

    Contents are read once as long as a file's path, size and time stay, unless ``reread``. A file of the hub's cache is
    stored under its own SHA-256, which is taken instead of reading it.
    """
    total = hashlib.sha256()
    for part in sorted(weights):
        for path in weights[part]:
            total.update(f"{part} {_read_hash(path) if reread else _content_hash(path)}\n".encode())
    return total.hexdigest()[:16]


def configured(weights: str, configuration: Mapping[str, Any]) -> str:
    """The fingerprint of weights under a configuration; of the weights alone where it is from before they counted."""
    text = json.dumps(configuration, sort_keys=True, default=lambda array: array.tolist())
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    if not configuration or digest in _BUNDLED | _PUBLISHED:
        return weights
    return hashlib.sha256(f"{weights} {digest}".encode()).hexdigest()[:16]


def holds(network: nn.Module, files: Sequence[Path]) -> bool:
    """Whether a network in memory, without adapters, has exactly the weights of files, by samples.

    Names are not compared: loaders rename. Tensors loaded in float16 match what float16 keeps of them.
    """
    loaded, stored = set(_contents(network, bare=True, floating=True).values()), _samples_in_files(files)
    return all(samples & loaded for samples in stored) and loaded <= set().union(*stored)


def unstored(network: nn.Module, files: Sequence[Path]) -> list[str]:
    """Names of the network's tensors that come from none of the files, because the files lack them."""
    stored = set[_Sample]().union(*_samples_in_files(files))
    samples = _contents(network, bare=True, floating=True)
    return [name for name in samples if samples[name] not in stored]


def _samples_in_files(files: Sequence[Path]) -> list[set[_Sample]]:
    stored: list[set[_Sample]] = []
    for path in files:
        with safe_open(path, framework="pt") as file:
            tensors = (file.get_tensor(name) for name in file.keys())  # noqa: SIM118 (no mapping)
            stored += [{_sampled(part), _sampled(part, torch.float16)} for part in tensors if part.is_floating_point()]
    return stored


def live_fingerprint(networks: Mapping[str, nn.Module], *, bare: bool = False) -> str:
    """SHA-256 over samples of all parameters of networks in memory, at most 64 numbers each; 16 hexadecimal digits.

    Samples are rounded to bfloat16, so that a model has one fingerprint in float32 and in bfloat16. What does not
    change the output does not count: wrappers of `torch.compile`, disabled adapters, fused projections. Adapters (LoRA)
    count with their weights and scales, and FreeU with its numbers, unless ``bare``.
    """
    total = hashlib.sha256()
    for part in sorted(networks):
        contents = _contents(networks[part], bare=bare)
        # The names of a CLIPTextModel, before transformers 5 left this out.
        common = "text_model." if all(name.startswith("text_model.") for name in contents) else ""
        for name, (shape, samples) in sorted(contents.items()):
            total.update(f"{part} {name.removeprefix(common)} {shape}".encode() + samples)
        for name, module in () if bare else networks[part].named_modules():
            if acting := _acting(module):
                total.update(f"{part} {name.replace(_COMPILED, '').removeprefix(common)} {acting}".encode())
    return total.hexdigest()[:16]


def _contents(network: nn.Module, *, bare: bool, floating: bool = False) -> dict[str, _Sample]:
    """Samples of the tensors that a network computes with, by their names without wrappers and adapters."""
    acting = {name: _acting(layer) for name, layer in network.named_modules() if hasattr(layer, "base_layer")}
    found = dict[str, _Sample]()
    fused = dict[str, Tensor]()
    for name, tensor in network.state_dict().items():
        # Layers of quanto list weights that they lack as None. The scales of a layer of bitsandbytes: its first call on
        # a processor writes them in another form.
        if tensor is None or ".weight." in name or (floating and not tensor.is_floating_point()):
            continue
        words = name.split(".")
        at = next((end for end in range(len(words)) if acting and ".".join(words[:end]) in acting), None)
        if at is not None and words[at] == "base_layer":
            del words[at]
        elif at is not None and (bare or words[at + 1] not in acting[".".join(words[:at])]):
            continue
        plain, here = ".".join(words).replace(_COMPILED, ""), _at_hand(network, name, tensor)
        found[plain] = _sampled(here)
        if len(words) > 2 and words[-2] in _FUSED:
            fused[plain] = here
    for name, tensor in fused.items():
        stem, kind, end = name.rsplit(".", 2)
        parts = [found.get(f"{stem}.{part}.{end}", ((0,), b"")) for part in _FUSED[kind]]
        sizes = [shape[0] for shape, _ in parts]
        if sum(sizes) == len(tensor) and [*map(_sampled, tensor.split(sizes))] == parts:
            del found[name]
    return found


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
    """What changes a layer's output besides its tensors: scales of adapters by name, or the numbers of FreeU."""
    own = vars(module)
    if all(own.get(name) for name in _FREEU):
        return {name: own[name] for name in _FREEU}
    if not isinstance(own.get("scaling"), dict) or module.disable_adapters or module.merged:
        return {}
    dora = getattr(module, "use_dora", {})  # which also at scale 0 replaces norms
    scales = {name: module.scaling.get(name) for name in module.active_adapters}
    return {name: scale for name, scale in scales.items() if scale or (scale == 0 and dora.get(name))}


def _sampled(tensor: Tensor, dtype: torch.dtype = torch.float32) -> _Sample:
    """Shape and at most 64 numbers, as loading in a dtype leaves them, rounded to bfloat16; none of a meta tensor.

    Of a quantized tensor that is made of others (torchao), the numbers of these.
    """
    inside: Any = getattr(tensor, "__tensor_flatten__", None)
    if inside is not None:
        return tuple(tensor.shape), b"".join(_sampled(getattr(tensor, name), dtype)[1] for name in inside()[0])
    if tensor.is_meta or not tensor.numel():
        return tuple(tensor.shape), b""
    flat = tensor.detach().reshape(-1)
    few = flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES].cpu().to(dtype).to(torch.float32).to(torch.bfloat16)
    return tuple(tensor.shape), few.view(torch.int16).numpy().tobytes()


def _at_hand(network: nn.Module, name: str, tensor: Tensor) -> Tensor:
    """A parameter itself, where accelerate keeps it elsewhere between calls of its layer."""
    layer, _, own = name.rpartition(".")
    hook = getattr(network.get_submodule(layer), "_hf_hook", None) if tensor.is_meta else None
    kept = getattr(hook, "weights_map", None)
    return tensor if kept is None else kept[own]


def read_model_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model's folder."""
    content = reading.read_json(path, error=ModelError, allow_nan=True)
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, and no JSON object. Download or copy it again")
    return cast("dict[str, Any]", content)


def _content_hash(path: Path) -> str:
    target = path.resolve()
    cached = target.parent.name == "blobs" and target.is_relative_to(Path(constants.HF_HUB_CACHE).resolve())
    if path.is_symlink() and cached and _CONTENT_HASH.fullmatch(target.name):
        return target.name
    status = target.stat()
    return _known_hash(target, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)
def _known_hash(path: Path, modified_ns: int, size_bytes: int) -> str:
    """The hash of a file's content, from the user's cache if it was computed before.

    The cache protects nobody from a person who can write to the user's folder.
    """
    name = hashlib.sha256(f"{path} {size_bytes} {modified_ns}".encode(errors="surrogateescape")).hexdigest()
    # A cache that is damaged, unwritable or has no home folder (RuntimeError) costs the time of hashing, and no more.
    unusable = contextlib.suppress(LatentEditError, OSError, RuntimeError, ValueError)
    with unusable:
        kept = reading.read_bytes(user_folder("cache") / _HASHES / name, limit=64).decode("ascii")
        if _CONTENT_HASH.fullmatch(kept):
            return kept
    digest = _read_hash(path)
    # A file that changes again within the resolution of its time stamp would keep its name.
    if time.time_ns() - modified_ns > _RESOLUTION_NS:
        with unusable:
            reading.make_folder(user_folder("cache") / _HASHES)
            reading.write_text(user_folder("cache") / _HASHES / name, digest)
    return digest


def _read_hash(path: Path) -> str:
    with reading.open_file(path, limit=None, error=ModelError) as file:
        stream: Any = file
        return hashlib.file_digest(stream, "sha256").hexdigest()
