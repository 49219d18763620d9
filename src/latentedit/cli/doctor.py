"""``latentedit doctor``: what works on this machine. What is heavy is imported when the command runs."""

import importlib.metadata
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit._version import __version__
from latentedit.cli.console import Json, print_json, say
from latentedit.cli.models import bundled, verification
from latentedit.core.errors import LatentEditError

_PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "pillow", "numpy")


def doctor(
    thorough: Annotated[bool, typer.Option("--sample/--no-sample", help="Also sample from each bundled model.")] = True,
    as_json: Json = False,
) -> None:
    """Say what works on this machine: versions, devices, memory, bundled models. Exit 1 where something does not."""
    rows = [*_software(), *_hardware(), *_models(thorough)]
    if as_json:
        print_json({"ok": all(ok for _, _, ok in rows), "checks": [_check_as_json(*row) for row in rows]})
    else:
        _print_table(rows)
    if not all(ok for _, _, ok in rows):
        raise typer.Exit(1)


Row = tuple[str, str, bool]
"""What was looked at, what was found, and whether it will do."""


def _software() -> list[Row]:
    python_ok = sys.version_info >= (3, 11)
    rows = [
        ("latentedit", __version__, True),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", python_ok),
    ]
    for package in _PACKAGES:
        try:
            rows.append((package, importlib.metadata.version(package), True))
        except importlib.metadata.PackageNotFoundError:
            rows.append((package, f"not installed; run: pip install {package}", False))
    return rows


def _hardware() -> list[Row]:
    import psutil
    import torch

    memory = psutil.virtual_memory()
    devices = ["cpu"]
    for index in range(torch.cuda.device_count()):
        name, total = torch.cuda.get_device_name(index), torch.cuda.get_device_properties(index).total_memory
        devices.append(f"cuda:{index} ({name}, {total / 1e9:.0f} GB)")
    if torch.backends.mps.is_available():
        devices.append("mps")
    enough = memory.available > 1e9
    return [
        ("devices", ", ".join(devices), True),
        ("threads", f"{torch.get_num_threads()} of {psutil.cpu_count()} cores", True),
        ("memory", f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB", enough),
    ]


def _models(thorough: bool) -> list[Row]:
    found = bundled()
    if not found:
        return [("models", "none bundled; install the package again, or: latentedit models train portraits", False)]
    return [
        _attempt(f"model {name}", lambda folder=folder: _verified(folder, thorough)) for name, folder in found.items()
    ]


def _verified(folder: Path, thorough: bool) -> str:
    from latentedit.models.loading import open_folder

    if not thorough:
        return f"{len(open_folder(folder).parts)} parts, all there"
    return f"verified; {verification(folder)[-1]}"


def _attempt(label: str, check: Callable[[], str]) -> Row:
    try:
        return label, check(), True
    except LatentEditError as error:
        return label, " ".join(str(error).split()), False


def _check_as_json(label: str, found: str, ok: bool) -> dict[str, Any]:
    return {"check": label, "found": found, "ok": ok}


def _print_table(rows: list[Row]) -> None:
    width = max(len(label) for label, _, _ in rows) + 2
    for label, found, ok in rows:
        say(f"{'ok ' if ok else 'BAD'}  {label:<{width}}{found}")
    failed = [label for label, _, ok in rows if not ok]
    say()
    say(f"{'all well' if not failed else 'to be mended: ' + ', '.join(failed)}")
