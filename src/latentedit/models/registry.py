"""From a name to a model: bundled, a folder, or an id of the Hugging Face hub."""

import importlib.metadata
import pkgutil
import re
from pathlib import Path

import torch

from latentedit.core.errors import ModelError, RegistryError, nearest
from latentedit.models.base import Backbone
from latentedit.models.loading import download, open_folder

_PIXELS = "latentedit.models.ddpm:DDPMBackbone"
ADAPTERS = {
    "StableDiffusion3Pipeline": "latentedit.models.sd3:StableDiffusion3Backbone",
    "StableDiffusionPipeline": "latentedit.models.sd:StableDiffusionBackbone",
    "DDPMPipeline": _PIXELS,
    "DDIMPipeline": _PIXELS,
    "PNDMPipeline": _PIXELS,
}
"""Pipeline class of ``model_index.json`` to the adapter's ``from_folder``; imported when it is needed."""

ENTRY_POINTS = "latentedit.models"
"""Group of the entry points of models that packages carry: name to the path of a diffusers folder."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


def bundled_names() -> list[str]:
    """Names of the models that installed packages carry."""
    return sorted(_bundled())


def bundled_folder(name: str) -> Path:
    """The folder of a model that an installed package carries, as diffusers opens it.

    Raises:
        RegistryError: no such model.
    """
    bundled = _bundled()
    if name not in bundled:
        raise RegistryError(f"expected the name of a bundled model; got {name!r}: {nearest(name, sorted(bundled))}")
    return Path(bundled[name].load())


def load(
    model: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    t5: bool = True,
) -> Backbone:
    """Load a model.

    Args:
        model: a bundled name; or a diffusers folder (``./portraits`` where a bundled name is the same); or a hub id,
            ``org/name`` or ``org/name@revision``.
        device: None is CUDA where there is one, else the CPU.
        dtype: of the networks; None is float32. Coordinates are float32 or better in any case.
        t5: False leaves out SD3's third text encoder, by far its largest part.

    Raises:
        RegistryError: a name that is neither bundled nor a folder.
        ModelError: a folder that is incomplete, damaged, unsafe or of an unsupported kind; a failed download.
        DeviceError: a device that this machine lacks.
    """
    name, path = _locate(model, t5=t5)
    folder = open_folder(path, t5=t5)
    adapter = pkgutil.resolve_name(ADAPTERS[folder.pipeline])
    backbone: Backbone = adapter.from_folder(folder, name=name, device=device, dtype=dtype)
    return backbone


def _locate(model: str | Path, *, t5: bool) -> tuple[str, Path]:
    """Name and folder: bundled names first, then folders, then the hub."""
    if isinstance(model, str) and model in bundled_names():
        return model, bundled_folder(model)
    path = Path(model).expanduser()
    if path.is_dir():
        return path.resolve().name, path
    if path.exists():
        raise ModelError(f"expected a model folder; {path} is a file. Give the folder that holds model_index.json")
    if isinstance(model, str) and _HUB_ID.fullmatch(model):
        return model, download(model, t5=t5)
    if isinstance(model, str) and "/" not in model and path.name == model:
        known = nearest(model, bundled_names())
        raise RegistryError(f"expected a bundled model, a folder or a hub id (org/name); got {model!r}: {known}")
    raise ModelError(f"expected a model folder; there is none at {path}. Check the path")


def _bundled() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
