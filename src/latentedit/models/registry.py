"""From a name to a model: bundled, a folder, or an id of the Hugging Face hub."""

import mimetypes
import weakref
from collections.abc import Mapping
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
    INDICES,
    commit_of,
    download_model,
    explaining,
    open_folder,
    warn_of_slow_dtype,
)
from latentedit.models.network import NetworkBackbone
from latentedit.models.pipelines import adapted, config_of, fitting, pipeline_kind
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
) -> Backbone:
    """Load a model.

    For offloading, quantized weights, LoRAs, a single file or other text encoders, load a pipeline with
    diffusers, and pass it to `latentedit.from_pipeline`, or to any function that takes a model.

    Args:
        model: a bundled name; or a diffusers folder (``./portraits`` where a bundled name is the same); or a hub id,
            ``org/name`` or ``org/name@revision``.
        device: None is CUDA where there is one, else the CPU.
        dtype: of the networks, or its name; "auto" is float32 on the CPU and for models of up to 2 GiB, else the half
            precision of the family (bfloat16; float16 for U-Nets). Coordinates are float32 or better in any case.

    Raises:
        RegistryError: a name that is neither bundled nor a folder.
        ModelError: a folder that is incomplete, damaged, unsafe or of an unsupported kind; a failed download.
        ConfigError: a dtype that networks do not run in.
        DeviceError: a device that this machine lacks.
    """
    if not isinstance(cast("object", model), str | Path):
        remedy = "Call from_pipeline with it" if is_pipeline(model) else "Give its name or folder"
        raise ConfigError(f"a model is loaded by its name; got a {type(model).__name__}. {remedy}")
    name, path = locate(model)
    network_device = existing_device(device)
    folder = open_folder(path)
    if dtype == "auto":
        dtype = folder.default_dtype(network_device)
    network_dtype = parse_dtype(dtype)
    warn_of_slow_dtype(network_dtype, network_device)
    with explaining(path, f"a {folder.pipeline}"):
        pipeline = folder.load(network_dtype)
        _freeze_networks(pipeline, network_device)
        backbone = _adapter_of(pipeline, name=name, settings=folder.settings, stored_as=folder.pipeline)
    backbone.revision = commit_of(path.resolve())
    return backbone


def _freeze_networks(pipeline: Any, device: torch.device) -> None:
    """Move the networks of a pipeline to a device, and freeze them in evaluation mode."""
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            part.eval().requires_grad_(False).to(device)


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
            (step caches), on other images of the batch, or not on its weights alone (replaced
            methods, skipped layers). Your own modules, attention processors and hooks in the
            denoiser count in the fingerprint.

    Cost:
        Three calls at about the smallest size, the first with four images, and again after a change of the denoiser's
        modules or of the code of its hooks, when they count as evaluations.
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
        backbone.check_velocity()
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


def locate(model: str | Path) -> tuple[str, Path]:
    """Name and folder of a model: bundled names first, then folders, then hub ids, downloaded.

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
            f"{path} is a file, and not a model folder. Give the folder that holds model_index.json, or "
            "a hub id; load a single file with diffusers, and give that pipeline as the model"
        )
    if isinstance(model, str) and HUB_ID.fullmatch(model):
        return model, download_model(model)
    raise unknown_model(model)
