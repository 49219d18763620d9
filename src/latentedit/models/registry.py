"""From a name to a model: bundled, a folder, or an id of the Hugging Face hub."""

import re
from pathlib import Path

import torch

from latentedit.core.errors import ModelError, RegistryError
from latentedit.core.files.reading import user_path
from latentedit.core.plugins import MODELS
from latentedit.models.base import Backbone
from latentedit.models.hub import download
from latentedit.models.loading import open_folder

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


def bundled_names() -> list[str]:
    """Names of the models that installed packages carry."""
    return MODELS.names()


def bundled_folder(name: str) -> Path:
    """The folder of a model that an installed package carries, as diffusers opens it.

    Raises:
        RegistryError: no such model, with the package to install where we know one.
    """
    return Path(MODELS.load(name))


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
    backbone: Backbone = folder.adapter.from_folder(folder, name=name, device=device, dtype=dtype)
    return backbone


def _locate(model: str | Path, *, t5: bool) -> tuple[str, Path]:
    """Name and folder: bundled names first, then folders, then the hub."""
    if isinstance(model, str) and model in bundled_names():
        return model, bundled_folder(model)
    path = user_path(model, error=ModelError)
    if path.is_dir():
        return path.resolve().name, path
    if path.exists():
        raise ModelError(f"{path} is a file, and no model folder. Give the folder that holds model_index.json")
    if isinstance(model, str) and _HUB_ID.fullmatch(model):
        return model, download(model, t5=t5)
    if isinstance(model, str) and path.name == model:
        raise RegistryError(f"{MODELS.unknown(model)}. A folder or a hub id (org/name) is taken too")
    raise ModelError(f"there is no model folder at {path}. Check the path")
