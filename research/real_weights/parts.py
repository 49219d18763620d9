"""The parts of the page, each a function that measures something and returns what JSON holds, and writes images."""

import dataclasses
import time
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import latentedit as le
from latentedit import Backbone, EditResult, LatentEditError
from latentedit.calibration import GuardCalibration, calibrate, draw_images, losses_at
from latentedit.editing import draw_grid
from latentedit.numerics import peak_bytes, reset_peak
from research.real_weights import photographs
from research.real_weights.photographs import Photograph
from research.real_weights.stock import compared

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
CHANGED_LEVELS = 8  # a pixel counts as changed where a channel moves by more of 255 levels, as in `EditResult.effect`
MAGNIFIED = 16  # differences outside of the change are shown so many times as large
LEAST_IMAGES = 8  # a guard of fewer drawn images would be guesswork
CALIBRATION_STEPS = 20  # sampling steps of an image for the guard

Part = dict[str, Any]


class NoTimeError(LatentEditError):
    """The time that was given does not suffice for a part."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One model, and how it is tried.

    Args:
        pipeline: the stock pipeline of diffusers.
        model: the same for latentedit.
        images: folder for images, which exists.
        steps: sampling steps of the comparison with the pipeline.
        calibration_images: images drawn for the guard, at most; 0 leaves the guard out.
        seed: of starting noise and edits.
        seconds_left: how much of the given time is left.
        note: called with a line for the user.
    """

    pipeline: Any
    model: Backbone
    images: Path
    steps: int
    calibration_images: int
    seed: int
    seconds_left: Callable[[], float]
    note: Callable[[str], None]

    def progress(self, task: str, done: int, total: int) -> None:
        """A `Progress` of the library, which notes the end of each task."""
        if done == total:
            self.note(f"  {task}: {total} done")

    def save(self, image: Image.Image, name: str) -> str:
        """Write an image for the page, and return its name."""
        image.save(self.images / f"{name}.jpg", quality=92)
        return f"{name}.jpg"


def parity(trial: Trial) -> Part:
    """The stock pipeline against latentedit: the same noise, steps, guidance and text; see `stock`."""
    before, after = photographs.PHOTOGRAPHS[0].source_prompt, photographs.PHOTOGRAPHS[0].prompt
    found, seen = compared(
        trial.pipeline, trial.model, before, after, steps=trial.steps, seed=trial.seed, note=trial.note
    )
    stock, latents = seen["stock"], seen["ours"]
    assert isinstance(stock, Image.Image)
    assert isinstance(latents, torch.Tensor)
    with torch.no_grad():
        ours = _image(trial.model.decode(latents.to(trial.model.device, trial.model.dtype)))
    gap = np.abs(np.asarray(ours, dtype=np.int16) - np.asarray(stock, dtype=np.int16))
    magnified = Image.fromarray(np.minimum(MAGNIFIED * gap, 255).astype(np.uint8))
    shown = {"the stock pipeline": stock, "latentedit": ours, f"difference, {MAGNIFIED} times": magnified}
    files = {label: trial.save(image, f"parity-{index}") for index, (label, image) in enumerate(shown.items())}
    guidance = {"guidance": trial.model.capabilities.guidance, "kind": trial.model.capabilities.guidance_kind}
    return found | guidance | {"prompt": before, "image_levels": float(gap.mean()), "images": files}


def calibration(trial: Trial) -> Part:
    """A guard of as many drawn images as a third of the time that is left allows; stored in the report's folder."""
    if not trial.calibration_images:
        raise NoTimeError("no images were wanted for the guard. Leave out --calibration-images 0")
    seconds = list[float]()
    for steps in (1, 1, 4):  # the first call is slower
        started = time.perf_counter()
        draw_images(trial.model, [photographs.PHOTOGRAPHS[0].source_prompt], steps=steps)
        seconds.append(time.perf_counter() - started)
    # A fourth of the images is corrupted in 8 ways, and each of these is judged by 6 evaluations.
    each = seconds[1] + max(seconds[2] - seconds[1], 0.0) / 3 * (CALIBRATION_STEPS + 18)
    count = min(trial.calibration_images, int(trial.seconds_left() / 3 / each))
    if count < LEAST_IMAGES:
        raise NoTimeError(
            f"an image of the guard takes about {each:.1f} s, and {LEAST_IMAGES} do not fit into a third of what is "
            "left. Give more --minutes"
        )
    how = GuardCalibration(images=count, steps=CALIBRATION_STEPS, batch=4, harmed=1, seed=trial.seed)
    calibration = calibrate(trial.model, parts=["guard"], guard_sizes=how, progress=trial.progress)
    calibration.save()
    guard = calibration.guard
    assert guard is not None
    return {"drawn": count, "text": guard.text, "usual": guard.usual, "known": guard.known, "far": guard.far}


def edit(trial: Trial) -> Part:
    """One photograph by the model's default method, and by `flowedit` and `eim` where that is another one."""
    photograph = photographs.PHOTOGRAPHS[0]
    default = edited(trial, photograph, None, "edit-default")
    others = [name for name in ("flowedit", "eim") if name != default["method"]]
    rows = [default, *(edited(trial, photograph, name, f"edit-{name}") for name in others[: 2 if others[1:] else 1])]
    return {"photograph": photograph.name, "prompts": [photograph.source_prompt, photograph.prompt], "edits": rows}


def _options(trial: Trial, photograph: Photograph) -> dict[str, Any]:
    """Options of every edit of a photograph: its own caption, completed by nothing, and also where it is unknown."""
    how: dict[str, Any] = {"source_prompt": photograph.source_prompt, "seed": trial.seed, "progress": trial.progress}
    return how | {"force": True, "complete": False}


def edited(trial: Trial, photograph: Photograph, method: str | None, name: str) -> Part:
    """One edit of a photograph: numbers, and images of source, result and what differs outside of the change."""
    source = photograph.image()
    with collected() as notes:
        result = le.edit(trial.model, source, photograph.prompt, method=method, **_options(trial, photograph))
    path = trial.images / f"{name}.png"
    result.save(path, overwrite=True)
    row = measured(source, result) | {"undone": le.undo(path).tobytes() == source.tobytes(), "notes": notes}
    shown = {"photograph": source, result.method: result.image, "outside": outside(source, result.image)}
    return row | {"images": {label: trial.save(image, f"{name}-{label}") for label, image in shown.items()}}


def sweep(trial: Trial) -> Part:
    """Six strengths of one edit by the model's default method."""
    photograph = photographs.PHOTOGRAPHS[0]
    source = photograph.image()
    with collected() as notes:
        options = _options(trial, photograph)
        results = le.sweep(trial.model, source, photograph.prompt, strengths=STRENGTHS, **options)
    rows = list[Part]()
    for result in results:
        file = trial.save(result.image, f"sweep-{result.strength:.1f}")
        gap = np.asarray(result.image, dtype=np.int16) - np.asarray(source, dtype=np.int16)
        rows.append(measured(source, result) | {"mean_levels": float(np.abs(gap).mean()), "images": {"": file}})
    return {"photograph": photograph.name, "edits": rows, "notes": notes}


def contact_sheet(trial: Trial, rows: Mapping[str, Part]) -> str | None:
    """One image of all photographs and their edits, with the words of the verdicts; None without any."""
    if not rows:
        return None
    images, labels = list[Image.Image](), list[str]()
    for name, row in rows.items():
        for label, file in list(row["images"].items())[:2]:
            images.append(Image.open(trial.images / file))
            labels.append(name.replace("_", " ") if label == "photograph" else f"{label}: {row['word']}")
    return trial.save(draw_grid(images, labels, columns=4), "contact")


def memory(trial: Trial) -> Part:
    """Highest memory while one photograph is encoded, edited (with decoding) and judged."""
    photograph, device = photographs.PHOTOGRAPHS[0], trial.model.device
    peaks = dict[str, int]()
    reset_peak(device)
    with collected():
        latent = le.encode(trial.model, photograph.image(), source_prompt=photograph.source_prompt)
        peaks["encoding"] = peak_bytes(device)
        session = le.Session(latent)
        (result,) = session.edit(photograph.prompt, seed=trial.seed, progress=trial.progress)
    peaks["editing"] = max(result.cost.peak_bytes, peak_bytes(device))
    reset_peak(device)
    with torch.no_grad():  # the verdict's own evaluations: both captions, a noise and its opposite
        target = trial.model.embed([photograph.prompt])
        losses_at(latent, [latent.condition, target], result.latent.z, seed=trial.seed)
    peaks["judging"] = peak_bytes(device)
    return {"peaks": peaks, "peak_bytes": max(peaks.values()), "resettable": device.type == "cuda"}


def measured(source: Image.Image, result: EditResult) -> Part:
    """The numbers of one edit.

    "identical" is the share of the pixels outside of the change that are the original's bit for bit; "identical_kept"
    the same of the whole image after `latentedit.keep` put the change on the original, None where that fails.
    """
    before, after = (np.asarray(image.convert("RGB"), dtype=np.int16) for image in (source, result.image))
    gap = np.abs(after - before).max(axis=2)
    rest = gap[gap <= CHANGED_LEVELS]
    decibels, knowledge = result.effect.rest_psnr_db, result.knowledge
    try:
        kept = np.asarray(le.keep(source, result.image).image.convert("RGB"), dtype=np.int16)
        identical_kept = float((kept == before).all(axis=2).mean())
    except LatentEditError:
        identical_kept = None
    return {
        "method": result.method,
        "strength": result.strength,
        "word": result.verdict.word,
        "verdict": result.verdict.text,
        "share": result.verdict.share,
        "residual": result.verdict.residual,
        "state": None if knowledge is None else knowledge.state,
        "familiarity": None if knowledge is None else knowledge.text,
        "caption_fits": None if knowledge is None else knowledge.caption_fits,
        "changed": result.effect.changed_share,
        "identical": float((rest == 0).mean()) if rest.size else None,
        "identical_kept": identical_kept,
        "rest_psnr_db": None if decibels == float("inf") else decibels,
        "seconds": result.cost.seconds,
        "evaluations": result.cost.evaluations,
        "verdict_evaluations": result.cost.verdict_evaluations,
        "guard_evaluations": result.cost.guard_evaluations,
        "peak_bytes": result.cost.peak_bytes,
    }


def outside(source: Image.Image, image: Image.Image) -> Image.Image:
    """The difference outside of the change, `MAGNIFIED`, on white; the change itself is gray."""
    before, after = (np.asarray(one.convert("RGB"), dtype=np.int16) for one in (source, image))
    gap = np.abs(after - before)
    drawn = 255 - np.minimum(MAGNIFIED * gap, 255)
    drawn[gap.max(axis=2) > CHANGED_LEVELS] = 128
    return Image.fromarray(drawn.astype(np.uint8))


@contextmanager
def collected() -> Generator[list[str]]:
    """The warnings inside, as texts, once each."""
    texts = list[str]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", le.core.LatentEditWarning)
        yield texts
    texts += dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, le.core.LatentEditWarning))


def _image(pixels: torch.Tensor) -> Image.Image:
    """The first image of ``[b, 3, h, w]`` in [-1, 1]."""
    levels = pixels[0].float().clamp(-1, 1).add(1).mul(127.5).round().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(levels.astype(np.uint8))
