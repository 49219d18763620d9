"""The common parts of all nodes: schemas that load on every generation of ComfyUI, progress and cancel."""

import dataclasses
import importlib.metadata
import re
from collections.abc import Callable, Sized
from typing import Any

import comfy.model_management
import comfy.utils
from comfy_api.latest import io

CATEGORY = "image/latentedit"


def _version(package: str) -> tuple[int, ...]:
    """Version of an installed package; empty without it."""
    try:
        text = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


FRONTEND = _version("comfyui-frontend-package")
_KNOWN = {field.name for field in dataclasses.fields(io.Schema)}


def schema(**fields: Any) -> Any:
    """An `io.Schema` of the fields that this ComfyUI knows: an unknown one would prevent all nodes from loading."""
    return io.Schema(**{name: value for name, value in fields.items() if name in _KNOWN})


def progress_bar(*batches: Sized) -> Callable[[str, int, int], None]:
    """A progress callback of latentedit that fills the node's bar, and ends the node if the user cancels."""
    images = max(map(len, batches), default=1)
    shown, finished = comfy.utils.ProgressBar(1000), 0

    def report(_task: str, done: int, total: int) -> None:
        nonlocal finished
        comfy.model_management.throw_exception_if_processing_interrupted()
        shown.update_absolute(round(1000 * (finished + done / total) / images))
        finished += done == total

    return report
