"""Run an edit and say what it did and what it took."""

import importlib.metadata
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.backbones.base import Backbone
from latentedit.editing.result import EditResult, measure_effect
from latentedit.encoding.captioning import AttributeReader, captioner_for
from latentedit.encoding.joint import JointLatent
from latentedit.errors import ConfigError
from latentedit.types import Cost, RunRecord

if sys.platform != "win32":
    import resource

_RECORDED = ("latentedit", "torch", "diffusers", "transformers")


def measured(
    latent: JointLatent,
    run: Callable[[], Float[Tensor, "b *latent"]],
    *,
    strength: float,
    method: str,
    settings: Mapping[str, Any],
    seed: int,
    targets: Sequence[str],
) -> list[EditResult]:
    """Run an edit, put its change back into the pictures, and measure.

    Args:
        latent: encoded pictures with their frames.
        run: makes the edited latents.
        strength: as the results will say.
        method: likewise.
        settings: likewise.
        seed: likewise.
        targets: target captions, one a picture, or none at all.

    Raises:
        ConfigError: latents without pictures.
    """
    if not latent.frames:
        raise ConfigError("expected latents encoded from pictures; got bare ones. Use an Editor's edit instead")
    backbone = latent.backbone
    before, started = backbone.evaluations, time.perf_counter()
    reset_peak(backbone.device)
    z = run()
    decoded = backbone.decode(latent.z) if latent.decoded is None else latent.decoded
    change = torch.zeros_like(decoded) if z is latent.z else backbone.decode(z) - decoded
    images = [frame.restore(change[index]) for index, frame in enumerate(latent.frames)]
    cost = Cost(
        evaluations=(backbone.evaluations - before) / len(latent),
        seconds=(time.perf_counter() - started) / len(latent),
        peak_bytes=peak_bytes(backbone.device),
    )
    record = _record(backbone, method, settings, seed)
    readings = _read(latent, change)
    results: list[EditResult] = []
    for index, frame in enumerate(latent.frames):
        source, target = frame.picture.image, targets[index] if targets else ""
        read_before, read_after = readings[index]
        results.append(
            EditResult(
                image=images[index],
                source=source,
                strength=strength,
                method=method,
                caption=latent.captions[index],
                target_caption=target,
                effect=measure_effect(source, images[index], read_before=read_before, read_after=read_after),
                cost=cost,
                notes=tuple(backbone.caption_notes([text for text in (latent.captions[index], target) if text])),
                record=record,
            )
        )
    return results


def _record(backbone: Backbone, method: str, settings: Mapping[str, Any], seed: int) -> RunRecord:
    return RunRecord(
        method=method,
        settings=dict(settings),
        seed=seed,
        model={"name": backbone.name, "fingerprint": backbone.fingerprint},
        versions=versions(),
    )


def _read(
    latent: JointLatent, change: Float[Tensor, "b 3 h w"]
) -> list[tuple[dict[str, str] | None, dict[str, str] | None]]:
    """What the model's reader sees at the model's size, before and after."""
    reader = captioner_for(latent.backbone)
    if not isinstance(reader, AttributeReader):
        return [(None, None)] * len(latent)
    source = torch.stack([frame.pixels for frame in latent.frames]).to(change.device, change.dtype)
    return list(zip(reader.read(source), reader.read((source + change).clamp(-1, 1)), strict=True))


def reset_peak(device: torch.device) -> None:
    """Forget the highest allocation so far, on devices that keep one."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """Highest allocation since `reset_peak` (CUDA), or highest resident memory of the process since it started (CPU).

    0 where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else 1024 * highest


def versions() -> dict[str, str]:
    """Versions of what made a result; "unknown" for a package that is not installed."""
    found = {"python": platform.python_version()}
    for package in _RECORDED:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found
