"""From a name to a model: bundled, a folder, or an id of the Hugging Face hub."""

import functools
import mimetypes
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn

from latentedit.core import errors
from latentedit.core.errors import ConfigError, ModelError
from latentedit.core.files import user_path
from latentedit.core.plugins import HUB_ID, MODELS, unknown_model
from latentedit.models.base import Backbone, check_model, is_pipeline
from latentedit.models.loading import (
    GGUF,
    INDICES,
    TextEncoders,
    commit_of,
    download_model,
    explaining,
    lora_files,
    merge_loras,
    open_folder,
    weight_file,
)
from latentedit.models.network import NetworkBackbone
from latentedit.models.pipelines import adapted, config_of, fitting, pipeline_kind
from latentedit.models.placement import (
    Placement,
    Policy,
    check_memory,
    numbers_of,
    parse_storage,
    place,
    suited_dtype,
    warn_of_slow_dtype,
)
from latentedit.models.weights import digest, weights_digest
from latentedit.numerics.device import existing_device, parse_dtype


class Pipeline(Protocol):
    """A live pipeline of diffusers."""

    @property
    def components(self) -> Mapping[str, Any]:
        """Its parts by name."""
        ...


ModelLike = Backbone | Pipeline | str | Path  # a model, a live pipeline, or what `load` takes

_LOADED: weakref.WeakValueDictionary[str, Backbone] = weakref.WeakValueDictionary()
"""Models that `as_backbone` loaded by their names, while a result or a variable holds them."""


def bundled_names() -> list[str]:
    """Names of the models that installed packages carry."""
    return MODELS.names()


def bundled_folder(name: str) -> Path:
    """The folder of a model that an installed package carries, as diffusers opens it."""
    return Path(MODELS.load(name))


@errors.explaining
def load(
    model: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str = "auto",
    placement: Policy = "resident",
    storage: torch.dtype | str | None = None,
    text_encoders: TextEncoders = "all",
    revision: str | None = None,
    lora: Sequence[str | Path | tuple[str | Path, float]] = (),
    denoiser: str | Path | None = None,
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
        storage: dtype in which the denoiser's layers are kept between calls: "fp8", which is ``torch.float8_e4m3fn``,
            or another; None is ``dtype``.
        text_encoders: "required" leaves out those that the model can do without, such as SD3's T5, by far its largest
            part.
        revision: of a hub id, as ``@revision`` says it: a branch, tag or commit.
        lora: safetensors files of LoRAs, or pairs of file and scale, merged into the weights (needs peft).
        denoiser: a single file (.safetensors, or .gguf, which needs gguf and accelerate) with other weights of the
            denoiser, in any format that diffusers converts; from a whole checkpoint, the denoiser alone is taken.

    Raises:
        RegistryError: a name that is neither bundled nor a folder.
        ModelError: a folder that is incomplete, damaged, unsafe or of an unsupported kind; a failed download; too
            little free memory for the weights.
        ConfigError: a dtype that networks do not run in, an unknown placement, or a revision of what is no hub id.
        DeviceError: a device that this machine lacks.
    """
    if not isinstance(cast("object", model), str | Path):
        remedy = "Call from_pipeline with it" if is_pipeline(model) else "Give its name or folder"
        raise ConfigError(f"a model is loaded by its name; got a {type(model).__name__}. {remedy}")
    single = None if denoiser is None else weight_file(denoiser, ".safetensors", GGUF)
    fetch = functools.partial(download_model, text_encoders=text_encoders, denoiser=single is None)
    name, path = locate(_pinned(model, revision), fetch)
    loras, chosen = lora_files(lora), existing_device(device)
    folder = open_folder(path, text_encoders=text_encoders, denoiser=single)
    if dtype == "auto":
        dtype = suited_dtype(chosen, bytes_float32=4 * numbers_of(folder.shapes.values()), half=folder.adapter.half)
    put = Placement(device=chosen, dtype=parse_dtype(dtype), policy=placement, storage=parse_storage(storage))
    check_memory(folder.shapes.values(), put, name=name)
    warn_of_slow_dtype(put)
    with explaining(path, f"a {folder.pipeline}"):
        pipeline = folder.load(put.dtype, denoiser=single)
        merge_loras(pipeline, loras)
        place(pipeline.components, put, denoiser=folder.adapter.denoiser)
        backbone = _adapter_of(pipeline, name=name, settings=folder.settings, stored_as=folder.pipeline)
    backbone.revision = commit_of(path.resolve())
    return backbone


@errors.explaining
def from_pipeline(pipeline: Any, *, name: str | None = None, settings: Mapping[str, Any] | None = None) -> Backbone:
    """A live diffusers pipeline as a model: its parts as they are, and the pipeline goes on working.

    Nothing is copied, moved, cast or loaded: dtype, device, offloading hooks, adapters (LoRA) and quantized layers stay
    as they are; networks in training mode are evaluated in evaluation mode, and put back after each call. Later changes
    count from the next edit on as in a new model, also in the fingerprint. A pipeline that is changed during an edit
    may mix both.

    Args:
        pipeline: any object with ``components`` (pipelines of diffusers of any class, modular ones, your own), or a
            mapping of parts by name. The family follows from the denoiser, see `latentedit models families`; what a
            variant adds, such as a ControlNet, is not used, and a warning says so.
        name: for messages and records; None is what the pipeline was loaded from.
        settings: what a model folder's ``latentedit.json`` would say, such as ``{"sizes": [256, 512, 768]}`` (smallest,
            preferred and largest side in pixels) or ``{"guidance": 4.0}``.

    Raises:
        ModelError: a pipeline without a supported denoiser, whose denoiser takes more than latents (Fill, Control,
            Depth), whose parts are missing, of two models or on two devices, or whose velocity depends on earlier calls
            (step caches, by name or as seen), on the images beside, or not on its weights alone (patches, skipped
            layers, attention processors of your own). Own modules and hooks of the denoiser count in the fingerprint.

    Cost:
        Three calls at about the smallest size, the first with four images, and again after a change of the denoiser's
        modules or of the code of its hooks, when they count as evaluations; twelve where it keeps tensors of its calls.
        The fingerprint reads 64 numbers of each parameter, once an edit.

    Example:
        >>> import latentedit as le
        >>> from latentedit.testing.miniature import sd3_pipeline
        >>> pipeline = sd3_pipeline(t5=False)  # or StableDiffusion3Pipeline.from_pretrained(...)
        >>> model = le.from_pipeline(pipeline)
        >>> model.capabilities.guidance_kind
        'cfg'
    """
    if isinstance(pipeline, Backbone):
        raise ModelError(f"this {type(pipeline).__name__} is a model already. Pass it where the model stands")
    origin = None if isinstance(pipeline, Mapping) else config_of(pipeline).get("_name_or_path")
    backbone = _adapter_of(pipeline, name=name or str(origin or pipeline_kind(pipeline)), settings=settings)
    if isinstance(backbone, NetworkBackbone):
        backbone.check_purity()
    return backbone


def _adapter_of(pipeline: Any, *, name: str, settings: Mapping[str, Any] | None, stored_as: str = "") -> Backbone:
    """The adapter of a pipeline, which heeds its later changes."""
    adapter, stock = adapted(pipeline, stored_as)
    with fitting(stock):
        backbone = adapter(stock, name=name, settings=settings)
    if isinstance(backbone, NetworkBackbone):
        backbone.stored_as = stored_as
        backbone.follow(pipeline)
    elif not backbone.fingerprint:
        parts = {part: getattr(stock, part, None) for part in adapter.parts}
        networks = {part: network for part, network in parts.items() if isinstance(network, nn.Module)}
        backbone.fingerprint = digest({part: weights_digest(one, adapter.half) for part, one in networks.items()})
    return backbone


def as_backbone(model: ModelLike) -> Backbone:
    """A backbone as it is, a live pipeline as one, or the model that `load` finds; anything else is a `ConfigError`.

    A model of that name that is still in use is taken again, except from a folder, whose files may have changed.
    """
    if not isinstance(model, str | Path):
        return from_pipeline(model) if is_pipeline(model) else check_model(model)
    name = str(model)
    backbone = None if Path(name).exists() and name not in bundled_names() else _LOADED.get(name)
    if backbone is None:
        backbone = _LOADED[name] = load(model)
    return backbone


def _pinned(model: str | Path, revision: str | None) -> str | Path:
    """A hub id at a revision; without one, the model as it is."""
    if revision is None:
        return model
    name = str(model)
    if name in bundled_names() or Path(name).exists() or not HUB_ID.fullmatch(name) or "@" in name:
        raise ConfigError(f"a revision is of a hub id without one (org/name); got {name!r}. Leave revision out")
    return f"{name}@{revision}"


def locate(model: str | Path, fetch: Callable[[str], Path] = download_model) -> tuple[str, Path]:
    """Name and folder of a model: bundled names first, then folders, then hub ids, which ``fetch`` downloads.

    A folder of something else, called like a bundled model that is not installed, does not stand for it.
    """
    if isinstance(model, str) and model in bundled_names():
        return model, bundled_folder(model)
    path = user_path(model, error=ModelError)
    is_model = any((path / index).is_file() for index in INDICES)
    if path.is_dir() and (is_model or model not in MODELS.missing()):
        return path.resolve().name, path
    if not path.is_dir() and (mimetypes.guess_type(path)[0] or "").startswith("image/"):
        raise ModelError(f"{path} is an image. Give a name or a folder as the model first, such as 'portraits'")
    if path.is_file():
        raise ModelError(
            f"{path} is a file, and no model folder. Give the folder that holds model_index.json, or a hub id; the "
            "weights of a single file replace those of its denoiser: latentedit.load(folder, denoiser=file)"
        )
    if isinstance(model, str) and HUB_ID.fullmatch(model):
        return model, fetch(model)
    raise unknown_model(model)
