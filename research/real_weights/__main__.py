"""Try latentedit on real text-to-image weights, and write one page: `python -m research.real_weights MODEL [-o OUT]`.

MODEL is a folder of diffusers or a hub id (`org/name`). It takes about 15 minutes on a GPU, for one model. The page is
OUT/index.html, every number is in OUT/report.json. Beyond what latentedit needs: `pip install scikit-image` (BSD-3),
whose wheel carries the photographs; nothing else is downloaded.

**Plan.** Each part is stored when it is finished, and a second run with the same OUT goes on where the first stopped:

1. parity: the stock pipeline's call against latentedit's own sampling, with controls (`stock`);
2. calibration: a guard of up to 24 images that the model draws, fewer if time is short; stored in OUT alone;
3. edit: one photograph by the default method and by another, with undo;
4. sweep: six strengths;
5. photographs: ten, one edit each: familiarity, verdict, what stays, cost (`photographs`);
6. memory: while encoding, editing and judging.

Criteria and the rules of the summary are in `summary`, and were written before any run with real weights. A part that
fails is a line of the page and leaves the others alone. Miniatures with random weights have run; see the tests.
"""

import argparse
import contextlib
import dataclasses
import datetime as dt
import functools
import json
import math
import os
import platform
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

import latentedit as le
from latentedit import Backbone, LatentEditError
from latentedit.core import ConfigError, ModelError, make_folder, write_text
from latentedit.models import quiet_libraries, read_settings
from latentedit.numerics import dtype_name, existing_device, peak_bytes, reset_peak
from research.real_weights import parts, photographs, summary
from research.real_weights.page import page

GIB = 2**30
ROOM = 1.1  # memory that weights need, as a multiple of their size
PACKAGES = ("latentedit", "torch", "diffusers", "transformers", "scikit-image")

Measure = Callable[[parts.Trial], parts.Part]


def plan() -> dict[str, tuple[str, Measure]]:
    """The parts in their order: name, title on the page, function."""
    each: dict[str, tuple[str, Measure]] = {
        f"photograph-{one.name}": (f"photograph {one.name}", functools.partial(_photograph, one.name))
        for one in photographs.PHOTOGRAPHS
    }
    return {
        "parity": ("parity with the pipeline", parts.parity),
        "calibration": ("calibration of the guard", parts.calibration),
        "edit": ("edit of one photograph", parts.edit),
        "sweep": ("six strengths", parts.sweep),
        **each,
        "memory": ("memory", parts.memory),
    }


def _photograph(name: str, trial: parts.Trial) -> parts.Part:
    (one,) = (one for one in photographs.PHOTOGRAPHS if one.name == name)
    return parts.edited(trial, one, None, f"photograph-{name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and write the page; 0 if every part finished, 1 if not, 2 on an error, 130 on Ctrl-C."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", help="folder of diffusers, or hub id")
    options.add_argument("-o", "--output", type=Path, default=Path("out/real-weights"), help="folder of the page")
    options.add_argument("--device", help="by default CUDA where there is one")
    options.add_argument("--dtype", choices=("auto", *summary.BOUNDS), default="auto")
    options.add_argument("--offload", action="store_true", help="keep only the network in use on the GPU (accelerate)")
    options.add_argument("--steps", type=int, default=20, help="sampling steps of the comparison with the pipeline")
    options.add_argument("--minutes", type=float, default=15, help="after which no new part begins")
    options.add_argument("--calibration-images", type=int, default=24, help="images drawn for the guard, at most")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args(arguments)
    try:
        with quiet_libraries():
            return _run(chosen, " ".join(["python -m research.real_weights", *(arguments or sys.argv[1:])]))
    except (LatentEditError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except torch.OutOfMemoryError:
        sys.stderr.write("error: too little memory for the weights. Give --offload, or --dtype bfloat16\n")
        return 2
    except KeyboardInterrupt:
        _say("stopped. Run the same command again to go on: finished parts are kept")
        return 130


def _run(chosen: argparse.Namespace, command: str) -> int:
    started = time.perf_counter()
    folder: Path = chosen.output
    for one in (folder, folder / "parts", folder / "images"):
        make_folder(one)
    photographs.PHOTOGRAPHS[0].image()  # refuses to load a model where scikit-image is missing
    os.environ["LATENTEDIT_DATA"] = str((folder / "calibration").resolve())  # the user's own calibrations stay
    pipeline, device = _load(chosen)
    model = le.from_pipeline(pipeline, settings=_settings(chosen.model))
    about = _described(chosen, pipeline, model, device) | {"command": command}
    about["load_seconds"] = time.perf_counter() - started
    _check_same(folder, about)
    trial = parts.Trial(
        pipeline=pipeline,
        model=model,
        images=folder / "images",
        steps=chosen.steps,
        calibration_images=chosen.calibration_images,
        seed=chosen.seed,
        seconds_left=lambda: 60 * chosen.minutes - (time.perf_counter() - started),
        note=lambda line: _say(f"    {line.strip()}"),
    )
    stored = dict[str, parts.Part]()
    for name, (title, measure) in plan().items():
        stored[name] = _part(folder / "parts" / f"{name}.json", title, measure, trial)
        _write(folder, about, stored)
    _write(folder, about, stored, parts.contact_sheet(trial, summary.photograph_rows(stored)))
    failed = [part["title"] for part in stored.values() if part["status"] != "finished"]
    _say(f"{folder / 'index.html'}" + (f" (not finished: {', '.join(failed)})" if failed else ""))
    return 1 if failed else 0


def _load(chosen: argparse.Namespace) -> tuple[Any, torch.device]:
    """The stock pipeline on its device.

    Raises:
        ModelError: no folder of diffusers, or too little memory, with the remedy.
    """
    device, path = existing_device(chosen.device), Path(chosen.model)
    if not (path / "model_index.json").is_file() and (path.exists() or chosen.model.count("/") != 1):
        raise ModelError(
            f"{path} is no model: it has no model_index.json. Give a folder that diffusers saved, or a hub id, org/name"
        )
    stored = sum(file.stat().st_size for file in path.glob("*/*.safetensors"))
    if stored / 2 > (free := _free_bytes()):  # float32 that is loaded in half precision needs half of its files
        raise ModelError(
            f"the weights need {stored / 2 / GIB:.1f} GiB of memory or more, and {free / GIB:.1f} are free. Use a "
            "machine with more memory, or a smaller model"
        )
    _say(f"loading {chosen.model}")
    index: Any = DiffusionPipeline.load_config(chosen.model)
    half = torch.float16 if "unet" in index else torch.bfloat16
    auto = torch.float32 if device.type == "cpu" else half
    dtype = auto if chosen.dtype == "auto" else getattr(torch, chosen.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the name torch_dtype, which older versions of diffusers need
        pipeline: Any = DiffusionPipeline.from_pretrained(chosen.model, torch_dtype=dtype, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    needed = [_bytes(part) for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    if device.type == "cuda":
        free, most = torch.cuda.mem_get_info(device)[0], max(needed) if chosen.offload else sum(needed)
        if ROOM * most > free:
            remedy = "Use a larger GPU" if chosen.offload else "Give --offload, which keeps one network at a time on it"
            raise ModelError(
                f"the weights need {most / GIB:.1f} GiB of GPU memory, and {free / GIB:.1f} are free. {remedy}"
            )
    if chosen.offload:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline, device


def _free_bytes() -> float:
    """Memory that is free or can be freed, on Linux; infinite elsewhere."""
    file = Path("/proc/meminfo")
    lines = file.read_text("ascii").splitlines() if file.is_file() else []
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), math.inf)


def _bytes(network: torch.nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in (*network.parameters(), *network.buffers()))


def _settings(model: str) -> dict[str, Any]:
    """The settings of latentedit in the folder of a model; empty for a hub id."""
    return read_settings(Path(model)) if Path(model).is_dir() else {}


def _described(chosen: argparse.Namespace, pipeline: Any, model: Backbone, device: torch.device) -> dict[str, Any]:
    """The model and the machine."""
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU"
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "model": Path(chosen.model).resolve().name if Path(chosen.model).is_dir() else chosen.model,
        "pipeline": type(pipeline).__name__,
        "network": type(networks[model.denoiser]).__name__,
        "denoiser": model.denoiser,
        "adapter": type(model).__name__,
        "parts": {
            name: {"class": type(part).__name__, "millions": sum(tensor.numel() for tensor in part.parameters()) / 1e6}
            for name, part in networks.items()
        },
        "dtype": dtype_name(model.network_dtype),
        "device": f"{named} ({device})" + (", offloaded" if chosen.offload else ""),
        "resettable": device.type == "cuda",
        "size_px": model.capabilities.sizes[1],
        "guidance": model.capabilities.guidance,
        "guidance_kind": model.capabilities.guidance_kind,
        "fingerprint": model.fingerprint,
        "steps": chosen.steps,
        "seed": chosen.seed,
        "versions": versions,
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
    }


def _check_same(folder: Path, about: Mapping[str, Any]) -> None:
    """Refuse to go on with the parts of another model, precision or seed."""
    file = folder / "parts" / "about.json"
    same = {key: about[key] for key in ("fingerprint", "dtype", "steps", "seed")}
    if not file.is_file():
        write_text(file, json.dumps(same) + "\n")
    elif (before := json.loads(file.read_text("utf-8"))) != same:
        changed = ", ".join(f"{key} {before.get(key)}, now {same[key]}" for key in same if before.get(key) != same[key])
        raise ConfigError(f"{folder} has a report on something else: {changed}. Give another folder as -o")


def _part(file: Path, title: str, measure: Measure, trial: parts.Trial) -> parts.Part:
    """A part: as stored if it was finished, else measured and stored. Whatever fails is reported, but for Ctrl-C."""
    if file.is_file() and (known := json.loads(file.read_text("utf-8")))["status"] == "finished":
        _say(f"{title}: finished before")
        return known
    left, device = trial.seconds_left(), trial.model.device
    if left <= 0:
        _say(f"{title}: no time left")
        return {"title": title, "status": "no time", "error": "no time was left. Run the command again to add it"}
    _say(f"{title} ({left / 60:.1f} minutes left)")
    started, part = time.perf_counter(), dict[str, Any]()
    reset_peak(device)
    try:
        with parts.collected() as notes:
            result = measure(trial)
        part |= {"title": title, "status": "finished", "result": result, "notes": notes}
    except LatentEditError as error:
        part |= _failed(title, error, str(error))
    except torch.OutOfMemoryError as error:
        part |= _failed(title, error, "too little memory. Give --offload, or --dtype bfloat16")
    except Exception as error:  # noqa: BLE001 (a part that fails must not lose the others)
        part |= _failed(title, error, f"{type(error).__name__}: {' '.join(str(error).split())[:600]}")
    part["seconds"] = time.perf_counter() - started
    part["peak_bytes"] = max(peak_bytes(device), _highest(part))  # edits inside reset the count
    write_text(file, json.dumps(_finite(part), indent=1) + "\n")
    return _finite(part)


def _failed(title: str, error: BaseException, text: str) -> parts.Part:
    _say(f"  failed: {text}")
    return {"title": title, "status": "failed", "error": text, "traceback": traceback.format_exception(error)}


def _highest(value: Any) -> int:
    """The largest "peak_bytes" anywhere in a part."""
    if isinstance(value, dict):
        return max([value.get("peak_bytes", 0), *map(_highest, value.values())])
    return max(map(_highest, value), default=0) if isinstance(value, list) else 0


def _finite(value: Any) -> Any:
    """The same with None where a number is infinite or none, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(
    folder: Path, about: Mapping[str, Any], stored: Mapping[str, parts.Part], contact: str | None = None
) -> None:
    """Write the page and the report from the parts so far, and the name of the contact sheet."""
    found = summary.findings(about, stored)
    report = {"about": about, "criteria": summary.__doc__, "contact": contact, "parts": stored}
    write_text(folder / "index.html", page(report, found))
    listed = [dataclasses.asdict(one) for one in found]
    write_text(folder / "report.json", json.dumps(report | {"findings": listed}, indent=1) + "\n")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
