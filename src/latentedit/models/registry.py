"""From a name to a model: bundled, a folder, or an id of the Hugging Face hub."""

import contextlib
import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentedit.core.errors import ConfigError, ModelError, RegistryError
from latentedit.core.plugins import MODELS
from latentedit.models.base import Backbone
from latentedit.models.loading import (
    CONFIGURATIONS,
    TextEncoders,
    adapter_class,
    commit_of,
    download,
    download_model,
    explaining,
    lora_files,
    merge_loras,
    open_folder,
    read_index,
)
from latentedit.models.placement import (
    ModelNeeds,
    Placement,
    Policy,
    check_memory,
    existing_device,
    model_needs,
    parse_dtype,
    place,
    suited_dtype,
    warn_of_slow_dtype,
)
from latentedit.models.weights import fingerprint, holds, live_fingerprint
from latentedit_keep.files import user_path

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


def bundled_names() -> list[str]:
    """Names of the models that installed packages carry."""
    return MODELS.names()


def bundled_folder(name: str) -> Path:
    """The folder of a model that an installed package carries, as diffusers opens it."""
    return Path(MODELS.load(name))


def load(
    model: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str = "auto",
    placement: Policy = "resident",
    storage: torch.dtype | None = None,
    text_encoders: TextEncoders = "all",
    revision: str | None = None,
    lora: Sequence[str | Path | tuple[str | Path, float]] = (),
) -> Backbone:
    """Load a model.

    Args:
        model: a bundled name; or a diffusers folder (``./portraits`` where a bundled name is the same); or a hub id,
            ``org/name`` or ``org/name@revision``.
        device: None is CUDA where there is one, else the CPU.
        dtype: of the networks, or its name; "auto" is float32 on the CPU and for models of up to 2 GiB, else the half
            precision of the family (bfloat16; float16 for U-Nets). Coordinates are float32 or better in any case.
        placement: "resident": all networks are on the device. "model": only the network in use, the others in
            memory (needs accelerate). "groups": the same layer by layer: least memory, slowest.
        storage: dtype in which the denoiser's layers are kept between calls, such as ``torch.float8_e4m3fn``; None is
            ``dtype``.
        text_encoders: "required" leaves out those that the model can do without, such as SD3's T5, by far its largest
            part.
        revision: of a hub id, as ``@revision`` says it: a branch, tag or commit.
        lora: safetensors files of LoRAs, or pairs of file and scale, merged into the weights (needs peft).

    Raises:
        RegistryError: a name that is neither bundled nor a folder.
        ModelError: a folder that is incomplete, damaged, unsafe or of an unsupported kind; a failed download; too
            little free memory for the weights, with a placement that fits.
        ConfigError: a dtype that networks do not run in, an unknown placement, or a revision of what is no hub id.
        DeviceError: a device that this machine lacks.
    """
    name, path = locate(_pinned(model, revision), functools.partial(download_model, text_encoders=text_encoders))
    loras, chosen = lora_files(lora), existing_device(device)
    folder = open_folder(path, text_encoders=text_encoders)
    needs = model_needs(folder)
    if dtype == "auto":
        dtype = suited_dtype(chosen, bytes_float32=4 * needs.parameters, half=needs.half)
    put = Placement(device=chosen, dtype=parse_dtype(dtype), policy=placement, storage=storage)
    check_memory(needs, put, name=name)
    warn_of_slow_dtype(put)
    scaled = {f"lora {index} x {file.scale:g}": (file.path,) for index, file in enumerate(loras)}
    with explaining(path, f"a {folder.pipeline}"):
        pipeline = folder.load(put.dtype)
        merge_loras(pipeline, loras)
        place(pipeline.components, put, denoiser=folder.adapter.denoiser)
        _check_pipeline(pipeline, folder.adapter)
        backbone: Backbone = folder.adapter(
            pipeline,
            name=name,
            fingerprint=fingerprint({**folder.weights, **scaled}),
            settings=folder.settings,
            device=chosen,
        )
    backbone.revision = commit_of(path.resolve())
    return backbone


def look_up(model: str | Path, *, text_encoders: TextEncoders = "all", revision: str | None = None) -> ModelNeeds:
    """What a model needs, before any of it is loaded; of a hub id only the configurations are downloaded."""
    _, path = locate(_pinned(model, revision), functools.partial(download, allow_patterns=CONFIGURATIONS))
    return model_needs(read_index(path, text_encoders=text_encoders))


def weights_fingerprint(model: str | Path) -> str:
    """The fingerprint that a loaded model has, from its weight files, all of which are read."""
    _, path = locate(model)
    return fingerprint(open_folder(path).weights)


def from_pipeline(pipeline: Any, *, name: str | None = None, settings: Mapping[str, Any] | None = None) -> Backbone:
    """A live diffusers pipeline as a backbone: its parts as they are, and the pipeline goes on working.

    Nothing is copied, moved, cast or loaded: dtype, device, offloading hooks, adapters (LoRA) and quantised layers stay
    as they are. Later changes of the pipeline change the backbone too; call this again then, for a new fingerprint.

    Args:
        pipeline: of a class that `latentedit models families` lists.
        name: for messages and records; None is what the pipeline was loaded from.
        settings: what a model folder's ``latentedit.json`` would say, such as ``{"sizes": [256, 512, 768]}`` (smallest,
            preferred and largest side in pixels) or ``{"guidance": 4.0}``.

    Raises:
        ModelError: a pipeline of an unsupported class, or whose parts are missing, of two models or on two devices, or
            with a step cache or active dropout.

    Cost:
        Reads 64 numbers of each parameter, and where they are still those of the folder that the pipeline was loaded
        from, its weight files, as `load` does: both have one fingerprint then.

    Example:
        >>> import latentedit as le
        >>> from latentedit.testing.miniatures.flow import flux
        >>> pipeline = flux()  # or FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", ...)
        >>> model = le.from_pipeline(pipeline)
        >>> model.capabilities.guidance_kind
        'embedded'
    """
    kind = type(pipeline).__name__
    adapter = adapter_class(kind, "this is a")
    _check_pipeline(pipeline, adapter)
    networks = {part: network for part in adapter.parts if isinstance(network := getattr(pipeline, part), nn.Module)}
    return adapter(
        pipeline,
        name=name or str(pipeline.config.get("_name_or_path") or kind),
        fingerprint=_folder_fingerprint(networks, adapter.denoiser) or live_fingerprint(networks),
        settings=settings,
        device=pipeline._execution_device,
    )


def _folder_fingerprint(networks: Mapping[str, Any], denoiser: str) -> str | None:
    """The fingerprint of the folder that a pipeline was loaded from; None if its weights differ by now."""
    own = networks[denoiser].config.get("_name_or_path")
    with contextlib.suppress(ModelError):
        weights = open_folder(Path(own).parent).weights if own else {}
        if all(part in weights and holds(network, weights[part]) for part, network in networks.items()):
            return fingerprint({part: weights[part] for part in networks})
    return None


def _check_pipeline(pipeline: Any, adapter: Any) -> None:
    """Check that a pipeline computes a velocity: every part present, on one device or moved by hooks, and stateless."""
    kind = type(pipeline).__name__
    for part in adapter.parts:
        if getattr(pipeline, part, None) is None and part not in adapter.optional_parts:
            raise ModelError(f"the {kind} has no {part}. Give a pipeline with all of its parts")
    denoiser = getattr(pipeline, adapter.denoiser)
    expected = inspect.signature(type(pipeline).__init__).parameters[adapter.denoiser].annotation
    if isinstance(expected, type) and not isinstance(getattr(denoiser, "_orig_mod", denoiser), expected):
        raise ModelError(f"the {adapter.denoiser} of this {kind} is not a {expected.__name__}. Use parts of one model")
    if getattr(denoiser, "is_cache_enabled", False):
        raise ModelError(
            f"the {adapter.denoiser} of this {kind} reuses features of earlier steps, so its velocity depends on them "
            f"and its derivatives are wrong. Call pipeline.{adapter.denoiser}.disable_cache()"
        )
    if getattr(denoiser, "encoder_hid_proj", None) is not None:
        raise ModelError(
            f"the {adapter.denoiser} of this {kind} has an IP-Adapter, and no image is given to it here. "
            "Call pipeline.unload_ip_adapter()"
        )
    devices: dict[object, str] = {}
    for part in (adapter.denoiser, "vae", *adapter.parts):
        if not isinstance(network := getattr(pipeline, part, None), nn.Module):
            continue
        if any(isinstance(layer, nn.Dropout) and layer.training and layer.p > 0 for layer in network.modules()):
            raise ModelError(f"the {part} of this {kind} draws dropout (training mode). Call pipeline.{part}.eval()")
        if not _offloaded(network):
            devices.setdefault(network.device, part)
    if len(devices) > 1:
        where = ", ".join(f"{part} on {device}" for device, part in devices.items())
        raise ModelError(f"the networks of this {kind} are on two devices: {where}. Move them with pipeline.to(device)")


def _offloaded(network: nn.Module) -> bool:
    return any(hasattr(module, "_hf_hook") or hasattr(module, "_diffusers_hook") for module in network.modules())


def _pinned(model: str | Path, revision: str | None) -> str | Path:
    """A hub id at a revision; without one, the model as it is."""
    if revision is None:
        return model
    name = str(model)
    if name in bundled_names() or Path(name).exists() or not _HUB_ID.fullmatch(name) or "@" in name:
        raise ConfigError(f"a revision is of a hub id without one (org/name); got {name!r}. Leave revision out")
    return f"{name}@{revision}"


def locate(model: str | Path, fetch: Callable[[str], Path] = download_model) -> tuple[str, Path]:
    """Name and folder of a model: bundled names first, then folders, then hub ids, which ``fetch`` downloads."""
    if isinstance(model, str) and model in bundled_names():
        return model, bundled_folder(model)
    path = user_path(model, error=ModelError)
    if path.is_dir():
        return path.resolve().name, path
    if path.exists():
        raise ModelError(
            f"{path} is a file, and no model folder. Give the folder that holds model_index.json; a single-file "
            "checkpoint is loaded by from_single_file of its diffusers pipeline, which latentedit.from_pipeline takes"
        )
    if isinstance(model, str) and _HUB_ID.fullmatch(model):
        return model, fetch(model)
    if isinstance(model, str) and path.name == model:
        raise RegistryError(f"{MODELS.unknown(model)}. A folder or a hub id (org/name) is taken too")
    raise ModelError(f"there is no model folder at {path}. Check the path")
