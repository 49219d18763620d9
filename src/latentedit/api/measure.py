"""Run an edit and say what it did and what it took."""

import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.api.record import DirectionRecord, ModelRecord, PictureRecord, RunRecord, versions
from latentedit.api.result import EditResult, measure_effect
from latentedit.core.condition import Condition
from latentedit.core.cost import Cost, Count
from latentedit.core.errors import ConfigError, ModelError
from latentedit.directions.composition import Mixing
from latentedit.editors.base import StrengthResult
from latentedit.editors.judge import Judge, Verdict
from latentedit.editors.local_change import local_change
from latentedit.latents.captions.base import AttributeReader, captioner_for
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone

if sys.platform != "win32":
    import resource


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for, as results say it.

    Args:
        method: the editor's name.
        settings: its settings, plain values.
        seed: of every random number.
        target: the text wanted, one a picture.
        target_captions: its words, one a picture; empty where there are none.
        local: keep the change to where it is strong.
        evaluations: what a strength costs a picture of which nothing is known yet.
        directions: what moves each picture, one list a picture; none for editors without directions.
        mixing: how directions are put together.
        cross_talk: between them, one matrix a picture or one for all.
    """

    method: str
    settings: Mapping[str, Any]
    seed: int
    target: Condition
    target_captions: Sequence[str]
    local: bool
    evaluations: Callable[[float], int]
    directions: Sequence[Sequence[DirectionRecord]] = ()
    mixing: Mixing = "sum"
    cross_talk: Float[Tensor, "b k k"] | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Meter:
    """Evaluations and seconds since it was started, see `metered`."""

    count: Count
    started: float

    def read(self) -> tuple[int, float]:
        """Evaluations and seconds so far."""
        return self.count.evaluations, time.perf_counter() - self.started


@contextlib.contextmanager
def metered(backbone: Backbone) -> Generator[Meter]:
    """Count evaluations and seconds, and take the peak of memory from here on."""
    reset_peak(backbone.device)
    with backbone.count() as count:
        yield Meter(count, time.perf_counter())


def measured(
    latent: JointLatent, request: Request, run: Callable[[], Sequence[StrengthResult]], *, meter: Meter | None = None
) -> list[list[EditResult]]:
    """Run an edit, put its change back into the pictures, judge and measure.

    Args:
        latent: encoded pictures with their frames.
        request: what was asked for.
        run: makes the edited latents, one batch a strength.
        meter: that runs already, where the edit began before.

    Returns:
        A list for each strength with one result a picture. The cost is shared among them equally.

    Raises:
        ConfigError: latents without pictures.
        ModelError: latents that are not finite.
    """
    if not latent.frames:
        raise ConfigError("expected latents encoded from pictures; got bare ones. Use an Editor's edit instead")
    backbone, judge = latent.backbone, Judge.of(latent.backbone)
    with contextlib.ExitStack() as stack:
        meter = stack.enter_context(metered(backbone)) if meter is None else meter
        found = run()
        if not all(bool(torch.isfinite(moved.z).all()) for moved in found):
            raise ModelError(f"expected finite latents; {backbone.name} gave others. Check its weights, or its dtype")
        changes = _changes(latent, found, local=request.local)
        images = [[frame.restore(row) for frame, row in zip(latent.frames, change, strict=True)] for change in changes]
        spent, seconds = meter.read()
    shares, peak = len(latent) * len(found), peak_bytes(backbone.device)
    with backbone.count() as judging:
        known = judge.losses(backbone, latent.z, (latent.condition, request.target), seed=request.seed)
        verdicts = [
            judge.judge(latent, request.target, m.z, strength=m.strength, seed=request.seed, before=known)
            for m in found
        ]
    cost = Cost(
        evaluations=spent / shares,
        seconds=seconds / shares,
        peak_bytes=peak,
        verdict_evaluations=judging.evaluations / shares,
    )
    readings = _read(latent, changes)
    return [
        [
            _result(latent, request, index, moved, cost, image=image, reading=reading, verdict=verdict)
            for index, (image, reading, verdict) in enumerate(zip(made, read, judged, strict=True))
        ]
        for moved, made, read, judged in zip(found, images, readings, verdicts, strict=True)
    ]


def _changes(latent: JointLatent, found: Sequence[StrengthResult], *, local: bool) -> list[Float[Tensor, "b 3 h w"]]:
    """What each strength changes in the frames' pixels; exactly nothing where the latents are the frames' own."""
    backbone = latent.backbone
    start = latent.z if latent.start is None else latent.start
    decoded = backbone.decode(start) if latent.decoded is None else latent.decoded
    changes = [torch.zeros_like(decoded) if m.z is start else backbone.decode(m.z) - decoded for m in found]
    return [local_change(change) for change in changes] if local else changes


def _result(
    latent: JointLatent,
    request: Request,
    index: int,
    moved: StrengthResult,
    cost: Cost,
    *,
    image: Image.Image,
    reading: "_Reading",
    verdict: Verdict,
) -> EditResult:
    picture, caption = latent.frames[index].picture, latent.captions[index]
    target = request.target_captions[index]
    measured_strength, (before, after) = float(moved.measured[index]), reading
    notes = latent.backbone.caption_notes([text for text in (caption, target) if text])
    talk, record = request.cross_talk, _record(latent, request, index, moved)
    return EditResult(
        image=image,
        source=picture.image,
        strength=moved.strength,
        method=request.method,
        caption=caption,
        target_caption=target,
        measured_strength=None if math.isnan(measured_strength) else measured_strength,
        verdict=verdict,
        effect=measure_effect(picture.image, image, read_before=before, read_after=after),
        cross_talk=None if talk is None else talk[index if len(talk) > 1 else 0],
        latent=_moved_latent(latent, request, index, moved, record),
        cost=cost,
        notes=(*notes, *moved.notes, *_clamped(moved.strength, float(moved.limit[index]))),
        record=record,
    )


def _moved_latent(
    latent: JointLatent, request: Request, index: int, moved: StrengthResult, record: RunRecord
) -> JointLatent:
    """The edited picture as a joint latent of its own, from which one can go on, and back."""
    one = slice(index, index + 1)
    text, target = request.target[one] - latent.condition[one], request.target_captions[index]
    return JointLatent(
        backbone=latent.backbone,
        z=moved.z[one],
        condition=latent.condition[one] + text * moved.strength,
        captions=(target if moved.strength and target else latent.captions[index],),
        frames=latent.frames[one],
        start=(latent.z if latent.start is None else latent.start)[one],
        decoded=None if latent.decoded is None else latent.decoded[one],
        made_by=record,
    )


def _record(latent: JointLatent, request: Request, index: int, moved: StrengthResult) -> RunRecord:
    frame = latent.frames[index]
    return RunRecord(
        method=request.method,
        settings=dict(request.settings),
        seed=request.seed,
        model=ModelRecord.of(latent.backbone),
        versions=versions(),
        picture=PictureRecord.of(frame.picture, frame.allowed),
        caption=latent.captions[index],
        target_caption=request.target_captions[index],
        strengths=(moved.strength,),
        directions=tuple(request.directions[index]) if request.directions else (),
        mixing=request.mixing,
        local=request.local,
        evaluations=request.evaluations(moved.strength),
        before=latent.made_by,
    )


def _clamped(strength: float, limit: float) -> list[str]:
    """A warning where the strength went beyond the limit; nan is none."""
    if abs(strength) <= abs(limit) or math.isnan(limit):
        return []
    return [f"strength {strength:g} was clamped to {limit:.2f}, the furthest this picture is known to go undamaged"]


_Reading = tuple[dict[str, str] | None, dict[str, str] | None]
"""What the model's reader sees before and after; None where there is no reader."""


def _read(latent: JointLatent, changes: Sequence[Float[Tensor, "b 3 h w"]]) -> list[list[_Reading]]:
    """Readings at the model's size, all in one batch."""
    reader = captioner_for(latent.backbone)
    if not isinstance(reader, AttributeReader):
        return [[(None, None)] * len(latent) for _ in changes]
    source = torch.stack([frame.pixels for frame in latent.frames]).to(changes[0].device, changes[0].dtype)
    read = reader.read(torch.cat([source, *((source + change).clamp(-1, 1) for change in changes)]))
    rows = [read[start : start + len(latent)] for start in range(0, len(read), len(latent))]
    return [list(zip(rows[0], row, strict=True)) for row in rows[1:]]


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
