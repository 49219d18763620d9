"""From edited latents to results: the change is put into the images, judged and measured."""

import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.cost import Cost, Meter, peak_bytes
from latentedit.core.errors import ModelError
from latentedit.editing.result import EditResult, measure_effect
from latentedit.editors.base import StrengthResult
from latentedit.editors.judge import Judge, Verdict
from latentedit.editors.local_change import local_change
from latentedit.latents.captions.base import AttributeReader, captioner_for
from latentedit.latents.joint import JointLatent
from latentedit.latents.record import RunRecord

_Reading = dict[str, str] | None
"""What the model's reader sees in an image; None where there is no reader."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moved:
    """Edited latents of a batch of images.

    Args:
        steps: one for each strength.
        records: one per image, but for strength and evaluations.
        target: the text wanted, one per image.
        evaluations: network evaluations of each strength per image, from nothing.
        cross_talk: between directions, one matrix per image or one for all.
    """

    steps: Sequence[StrengthResult]
    records: Sequence[RunRecord]
    target: Condition
    evaluations: Sequence[int]
    cross_talk: Float[Tensor, "b k k"] | None = None


def measured(latent: JointLatent, moved: Moved, meter: Meter) -> list[list[EditResult]]:
    """Put the changes into the images, judge and measure them: per strength one result per image.

    The images share the cost equally; the meter runs until they are made.
    """
    backbone, judge, seed = latent.backbone, Judge.of(latent.backbone), moved.records[0].seed
    if not all(bool(torch.isfinite(step.z).all()) for step in moved.steps):
        raise ModelError(f"{backbone.name} gave latents that are not finite. Check its weights, or its dtype")
    changes = _changes(latent, moved.steps, local=moved.records[0].local)
    images = [[frame.restore(row) for frame, row in zip(latent.frames, change, strict=True)] for change in changes]
    (spent, seconds), peak = meter.read(), peak_bytes(backbone.device)
    with backbone.count() as judging:
        before = judge.losses(backbone, latent.z, (latent.condition, moved.target), seed=seed)
        verdicts = [
            judge.judge(latent, moved.target, step.z, strength=step.strength, seed=seed, before=before)
            for step in moved.steps
        ]
    shares = len(latent) * len(moved.steps)
    cost = Cost(
        evaluations=spent / shares,
        seconds=seconds / shares,
        peak_bytes=peak,
        verdict_evaluations=judging.evaluations / shares,
        guard_evaluations=sum(one.evaluations for one in latent.knowledge) / shares,
    )
    source, *edited = _readings(latent, changes)
    results: list[list[EditResult]] = []
    for at, step in enumerate(moved.steps):
        about = {"strengths": (step.strength,), "evaluations": moved.evaluations[at]}
        results.append(
            [
                _result(
                    latent,
                    moved,
                    step,
                    index,
                    record=record.model_copy(update=about),
                    image=images[at][index],
                    read=(source[index], edited[at][index]),
                    verdict=verdicts[at][index],
                    cost=cost,
                )
                for index, record in enumerate(moved.records)
            ]
        )
    return results


def _changes(latent: JointLatent, steps: Sequence[StrengthResult], *, local: bool) -> list[Float[Tensor, "b 3 h w"]]:
    """The change of the frames' pixels by each strength; exactly nothing where the latents are the frames' own."""
    backbone = latent.backbone
    start = latent.z if latent.start is None else latent.start
    decoded = backbone.decode(start) if latent.decoded is None else latent.decoded
    changes = [torch.zeros_like(decoded) if s.z is start else backbone.decode(s.z) - decoded for s in steps]
    return [local_change(change) for change in changes] if local else changes


def _readings(latent: JointLatent, changes: Sequence[Float[Tensor, "b 3 h w"]]) -> list[list[_Reading]]:
    """What the model's reader sees in the images, and after each change, at the model's size in one batch."""
    reader = captioner_for(latent.backbone)
    if not isinstance(reader, AttributeReader):
        return [[None] * len(latent)] * (1 + len(changes))
    source = torch.stack([frame.pixels for frame in latent.frames]).to(changes[0].device, changes[0].dtype)
    read = reader.read(torch.cat([source, *((source + change).clamp(-1, 1) for change in changes)]))
    return [list(read[start : start + len(latent)]) for start in range(0, len(read), len(latent))]


def _result(
    latent: JointLatent,
    moved: Moved,
    step: StrengthResult,
    index: int,
    *,
    record: RunRecord,
    image: Image.Image,
    read: tuple[_Reading, _Reading],
    verdict: Verdict,
    cost: Cost,
) -> EditResult:
    picture = latent.frames[index].picture
    familiarity = latent.knowledge[index] if latent.knowledge else None
    cross_talk = moved.cross_talk
    return EditResult(
        image=image,
        source=picture.image,
        strength=step.strength,
        method=record.method,
        caption=record.caption,
        target_caption=record.target_caption,
        verdict=verdict if familiarity is None else verdict.on(familiarity),
        knowledge=familiarity,
        effect=measure_effect(picture.image, image, read_before=read[0], read_after=read[1]),
        cross_talk=None if cross_talk is None else cross_talk[index if len(cross_talk) > 1 else 0],
        latent=_following(latent, moved, step, index, record),
        cost=cost,
        notes=(
            *picture.notes,
            *(() if familiarity is None else familiarity.doubts),
            *latent.backbone.caption_notes([words for words in (record.caption, record.target_caption) if words]),
            *step.notes,
            *_clamped(step, index),
        ),
        record=record,
    )


def _following(latent: JointLatent, moved: Moved, step: StrengthResult, index: int, record: RunRecord) -> JointLatent:
    """The latent of an edited image, to go on from there or back."""
    one, caption = slice(index, index + 1), record.caption
    condition = latent.condition[one] + (moved.target[one] - latent.condition[one]) * step.strength
    if condition.reference is not None:  # what comes next starts from no change of the image as it is now
        condition = dataclasses.replace(latent.condition[one], reference=(step.z[one], *condition.reference[1:]))
    elif step.strength > 0 and record.target_caption:  # away from the target the image does not show it
        caption = record.target_caption
    return JointLatent(
        backbone=latent.backbone,
        z=step.z[one],
        condition=condition,
        captions=(caption,),
        frames=latent.frames[one],
        start=(latent.z if latent.start is None else latent.start)[one],
        decoded=None if latent.decoded is None else latent.decoded[one],
        knowledge=tuple(dataclasses.replace(familiarity, evaluations=0) for familiarity in latent.knowledge[one]),
        provenance=record,
        beside=latent.beside,
    )


def _clamped(step: StrengthResult, index: int) -> list[str]:
    """A warning where the strength went beyond the limit of an image; nan is none."""
    limit = math.nan if step.limit is None else float(step.limit[index])
    if math.isnan(limit) or abs(step.strength) <= abs(limit):
        return []
    return [f"strength {step.strength:g} was clamped to {limit:.2f}, the largest that is predicted to do no damage"]
