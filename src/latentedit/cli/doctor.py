"""``latentedit doctor``: check this installation. Heavy imports are inside the command."""

import importlib.metadata
import platform
from pathlib import Path
from typing import Annotated

import typer

from latentedit._version import __version__
from latentedit.cli import options
from latentedit.cli.doctor_model import examine
from latentedit.cli.edit_folder import refuse
from latentedit.cli.model_choice import ModelChoice, chooses_model
from latentedit.cli.models import bundled, verification
from latentedit.core.errors import LatentEditError, to_install
from latentedit_keep.console import print_json, say

_PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "pillow", "numpy")
_ENOUGH_BYTES = 1e9
"""Free memory that the bundled models need twice over."""

Row = tuple[str, str, bool]
"""Name of a check, its finding, and whether it passed."""


@chooses_model
def doctor(
    thorough: Annotated[bool, typer.Option("--sample/--no-sample", help="Also sample from each model.")] = True,
    *,
    choice: ModelChoice,
    as_json: options.Json = False,
) -> None:
    """Check this installation: versions, devices, memory, models.

    With --model, check that model only: the memory that it needs, before it is downloaded, then whether it works. The
    exit code is 1 if a check fails.

    Examples:
        latentedit doctor
        latentedit doctor --no-sample --json
        latentedit doctor --model black-forest-labs/FLUX.2-klein-4B --no-sample
    """
    if choice.model is not None:
        if not examine(choice, load=thorough, as_json=as_json):
            raise typer.Exit(1)
        return
    refuse("use these with --model", dict.fromkeys(choice.arguments()[::2], True))
    rows = [*_software(), *_hardware(), *_models(thorough)]
    failed = [label for label, _, ok in rows if not ok]
    if as_json:
        checks = [{"check": label, "found": found, "ok": ok} for label, found, ok in rows]
        print_json({"ok": not failed, "checks": checks})
    else:
        width = max(len(label) for label, _, _ in rows) + 2
        for label, found, ok in rows:
            say(f"{'ok ' if ok else 'BAD'}  {label:<{width}}{found}")
        say()
        say(f"problems: {', '.join(failed)}" if failed else "no problems found")
    if failed:
        raise typer.Exit(1)


def _software() -> list[Row]:
    rows = [
        ("latentedit", __version__, True),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", True),
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
    free = f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"
    return [
        ("devices", ", ".join(devices), True),
        ("threads", f"{torch.get_num_threads()} of {psutil.cpu_count()} cores", True),
        ("memory", free, memory.available > _ENOUGH_BYTES),
    ]


def _models(thorough: bool) -> list[Row]:
    found = bundled()
    if not found:
        return [("models", f"none is installed. {to_install('latentedit-portraits')}", False)]
    return [_checked(f"model {name}", folder, thorough) for name, folder in found.items()]


def _checked(label: str, folder: Path, thorough: bool) -> Row:
    from latentedit.models.loading import open_folder

    try:
        if thorough:
            return label, f"verified; {verification(folder)[-1]}", True
        return label, f"complete, {len(open_folder(folder).parts)} parts", True
    except LatentEditError as error:
        return label, " ".join(str(error).split()), False
