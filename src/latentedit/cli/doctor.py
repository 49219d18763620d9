"""``latentedit doctor``: check this installation, or one model. Heavy imports are inside the command."""

import dataclasses
import importlib.metadata
import itertools
import platform
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit._version import __version__
from latentedit.cli import options
from latentedit.cli.models import bundled, verification
from latentedit.cli.options import ModelChoice, chooses_model, refuse
from latentedit.core.errors import LatentEditError, to_install
from latentedit_keep.floor.console import echo, print_json, progress_bar

if TYPE_CHECKING:
    import torch

    from latentedit.models.known import KnownModel
    from latentedit.models.placement import ModelNeeds, Placement

_Row = dict[str, Any]
_PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "pillow", "numpy")
_ENOUGH_BYTES = 1e9  # free memory that the bundled models need twice over
_LABEL_WIDTH = 24


@chooses_model
def doctor(
    thorough: Annotated[
        bool | None,
        typer.Option(
            "--sample/--no-sample",
            help="Also sample from each model. Default: yes, except from a hub id whose needs are known offline.",
        ),
    ] = None,
    *,
    choice: ModelChoice,
    as_json: options.Json = False,
) -> None:
    """Check this installation: versions, devices, memory, models.

    With --model, check that model only: memory by placement and dtype, the command for this machine, and the cost of
    an edit, before it is downloaded (offline for the most used models), then whether it works. The exit code is 1 if a
    check fails.

    Examples:
        latentedit doctor
        latentedit doctor --no-sample --json
        latentedit doctor --model black-forest-labs/FLUX.2-klein-4B
    """
    about: dict[str, Any] = {}
    rows: list[_Row] = []
    if choice.model is None:
        refuse("use these with --model", dict.fromkeys(choice.arguments()[::2], True))
        results = itertools.chain(_software(), _hardware(), _models(thorough is not False))
    else:
        results = _examine(choice, about, load=thorough, quiet=as_json)
    for row in results:
        rows.append(row)
        if not as_json:
            cure = f". {row['cure']}" if row["cure"] else ""
            echo(f"{'ok ' if row['ok'] else 'BAD'}  {row['check']:<{_LABEL_WIDTH}}{row['found']}{cure}")
    failed = [row["check"] for row in rows if not row["ok"]]
    if as_json:
        print_json({"ok": not failed, **about, "checks": rows})
    else:
        echo()
        echo(f"problems: {', '.join(failed)}" if failed else "no problems found")
    if failed:
        raise typer.Exit(1)


def _row(check: str, text: str, *, ok: bool = True, cure: str = "", **facts: Any) -> _Row:
    return {"check": check, "found": text, "ok": ok, "cure": cure, **facts}


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


def _examine(choice: ModelChoice, about: dict[str, Any], *, load: bool | None, quiet: bool) -> Iterator[_Row]:
    """What a model needs and costs, then an edit if it fits.

    A model of `known_models` is answered for without its files, and loaded only if asked; of another hub id the
    configurations are downloaded first.
    """
    from latentedit.core.device import dtype_name, existing_device, parse_dtype
    from latentedit.models.known import known_models
    from latentedit.models.placement import free_bytes, gigabytes
    from latentedit.models.registry import look_up

    given = choice.given()
    needs = look_up(choice.name, **{name: given[name] for name in ("text_encoders", "revision") if name in given})
    known, device = known_models().get(choice.name), existing_device(choice.device)
    dtype = None if choice.dtype in (None, "auto") else parse_dtype(choice.dtype)
    preferred, suited = needs.suited(device, dtype=dtype)
    about |= {"model": choice.name, "device": str(device), "fits": None}
    yield from _part_rows(needs, preferred)
    yield from _placement_rows(needs)
    if known is not None:
        yield _cost_row(known)
    free = gigabytes(free_bytes(device))
    if suited is None:
        text = f"no: {gigabytes(needs.total_bytes(preferred))}, with {free} free on {device}"
        smaller = _smaller(needs, device)
        cure = f"Use a smaller model{', such as ' + ' or '.join(smaller) if smaller else ''}"
        yield _row("fits", text, ok=False, cure=cure, smaller=smaller)
        return
    storage = None if suited.storage is None else "fp8"
    chosen: dict[str, Any] = {"dtype": dtype_name(suited.dtype), "placement": suited.policy}
    chosen |= {} if storage is None else {"storage": storage}
    about["fits"] = chosen
    how = " and ".join(f"{name}={value!r}" for name, value in chosen.items())
    yield _row("fits", f"{suited.device} with {how}: {gigabytes(needs.total_bytes(suited))} of {free} free")
    fitting = dataclasses.replace(choice, dtype=None).or_else(ModelChoice(**chosen))
    change = ["--instruction", "add glasses"] if known and known.instructed else ["--add", "glasses"]
    words = ["latentedit", "edit", "photo.jpg", *change, *fitting.arguments()]
    yield _row("command", shlex.join(words))
    if load if load is not None else known is None:
        yield from _try_model(fitting, quiet=quiet)


def _placement_rows(needs: "ModelNeeds") -> Iterator[_Row]:
    """Weights and activations on the device by placement and dtype, whatever this machine has."""
    import torch

    from latentedit.core.device import dtype_name
    from latentedit.models.placement import POLICIES, Placement, gigabytes

    half, fp8 = dtype_name(needs.half), torch.float8_e4m3fn
    for device, policy in (*(("cuda", policy) for policy in POLICIES), ("cpu", "resident")):
        own: dict[str, Any] = {"device": torch.device(device), "policy": policy}
        sizes = {
            "float32": needs.total_bytes(Placement(dtype=torch.float32, **own)),
            half: needs.total_bytes(Placement(dtype=needs.half, **own)),
            "fp8 storage": needs.total_bytes(Placement(dtype=needs.half, storage=fp8, **own)),
        }
        where = "CPU" if device == "cpu" else "GPU" if policy == "resident" else f"GPU, --placement {policy}"
        yield _row(where, ", ".join(f"{gigabytes(size)} in {label}" for label, size in sizes.items()), bytes=sizes)


def _cost_row(known: "KnownModel") -> _Row:
    """Network evaluations of an edit, compared with those of a generation."""
    from latentedit.editing.checkup import edit_costs

    counts = edit_costs(known)
    listed = ", ".join(
        f"{count} evaluations by {method} ({count / known.generation:.2g} generations of {known.steps} steps)"
        for method, count in counts.items()
    )
    return _row("cost of an edit", listed, evaluations=counts, generation=known.generation)


def _smaller(needs: "ModelNeeds", device: "torch.device") -> list[str]:
    """Known models that fit, the largest first, at most three."""
    from latentedit.models.known import known_models

    fitting = [
        model
        for name, model in known_models().items()
        if name == model.name and model.needs.parameters < needs.parameters and model.needs.suited(device)[1]
    ]
    return [model.name for model in sorted(fitting, key=lambda model: -model.needs.parameters)][:3]


def _part_rows(needs: "ModelNeeds", placement: "Placement") -> Iterator[_Row]:
    """Each network with its parameters and bytes by dtype, and the activations."""
    import torch

    from latentedit.core.device import dtype_name
    from latentedit.models.placement import gigabytes

    in_half = dataclasses.replace(placement, dtype=needs.half)
    stored = {
        "float32": dataclasses.replace(placement, dtype=torch.float32),
        dtype_name(needs.half): in_half,
        "fp8 storage": dataclasses.replace(in_half, storage=torch.float8_e4m3fn),
    }
    for part, network in needs.parts.items():
        sizes = {label: needs.part_bytes(part, dtype) for label, dtype in stored.items()}
        if part != needs.denoiser:
            del sizes["fp8 storage"]
        listed = ", ".join(f"{gigabytes(size)} in {label}" for label, size in sizes.items())
        million = network.parameters / 1e6
        count = f"{million:.4g} M" if million < 1000 else f"{million / 1000:.4g} B"
        text = f"{network.kind}, {count} parameters: {listed}"
        yield _row(part, text, parameters=network.parameters, bytes=sizes)
    size = needs.activation_bytes(placement)
    text = f"about {gigabytes(size)} in {dtype_name(placement.dtype)} for an image of {needs.side_px} px"
    yield _row("activations", text, activation_bytes=size)


def _try_model(choice: ModelChoice, *, quiet: bool) -> Iterator[_Row]:
    from latentedit.editing.checkup import check_live_model
    from latentedit.models.placement import gigabytes

    with progress_bar(quiet=quiet) as progress:
        try:
            model = choice.load()
        except LatentEditError as error:
            yield _row("load", " ".join(str(error).split()), ok=False)
            return
        for check in check_live_model(model, progress=progress):
            spent = f"{check.seconds:.1f} s, peak {gigabytes(check.peak_bytes)}"
            cost = {"seconds": check.seconds, "peak_bytes": check.peak_bytes}
            yield _row(check.name, f"{check.text} ({spent})", ok=check.ok, cure=check.cure, **cost)
