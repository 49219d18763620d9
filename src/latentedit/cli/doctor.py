"""``latentedit doctor``: check this installation. Heavy imports are inside the command."""

import importlib.metadata
import itertools
import platform
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from latentedit._version import __version__
from latentedit.cli import options
from latentedit.cli.models import bundled, verification
from latentedit.core.console import echo, print_json
from latentedit.core.errors import LatentEditError, to_install

_Row = dict[str, Any]
_PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "pillow", "numpy")
_ENOUGH_BYTES = 1e9  # free memory that the bundled models need twice over
_LABEL_WIDTH = 24


def doctor(
    thorough: Annotated[
        bool,
        typer.Option(
            "--sample/--no-sample",
            help="Also sample from each bundled model.",
        ),
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Check this installation: versions, devices, memory, models.

    The exit code is 1 if a check fails.

    Examples:
        latentedit doctor
        latentedit doctor --no-sample --json
    """
    rows: list[_Row] = []
    for row in itertools.chain(_software(), _hardware(), _models(thorough)):
        rows.append(row)
        if not as_json:
            echo(f"{'ok ' if row['ok'] else 'BAD'}  {row['check']:<{_LABEL_WIDTH}}{row['found']}")
    failed = [row["check"] for row in rows if not row["ok"]]
    if as_json:
        print_json({"ok": not failed, "checks": rows})
    else:
        echo()
        echo(f"problems: {', '.join(failed)}" if failed else "no problems found")
    if failed:
        raise typer.Exit(1)


def _row(check: str, text: str, *, ok: bool = True) -> _Row:
    return {"check": check, "found": text, "ok": ok}


def _software() -> Iterator[_Row]:
    yield _row("latentedit", __version__)
    yield _row("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in _PACKAGES:
        try:
            yield _row(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield _row(package, f"not installed; run: pip install {package}", ok=False)


def _hardware() -> Iterator[_Row]:
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
    yield _row("devices", ", ".join(devices))
    yield _row("threads", f"{torch.get_num_threads()} of {psutil.cpu_count()} cores")
    yield _row("memory", free, ok=memory.available > _ENOUGH_BYTES)


def _models(thorough: bool) -> Iterator[_Row]:
    from latentedit.models.loading import open_folder

    folders = bundled()
    for name, folder in folders.items():
        try:
            verified = f"verified; {verification(folder)[-1]}" if thorough else ""
            yield _row(f"model {name}", verified or f"complete, {len(open_folder(folder).parts)} parts")
        except LatentEditError as error:
            yield _row(f"model {name}", " ".join(str(error).split()), ok=False)
    if not folders:
        yield _row("models", f"none is installed. {to_install('latentedit-portraits')}", ok=False)
